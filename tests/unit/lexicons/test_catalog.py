"""The catalog: complete or not at all, and the same in every namespace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import lexicons
from lexicons.catalog import REQUIRED, BadLexicon, Catalog, MissingLexicon

HOME = Path(lexicons.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Our schema files, to be broken."""
    root = tmp_path / "lexicons"
    shutil.copytree(HOME, root, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return root


def file_of(root: Path, nsid: str) -> Path:
    return root / (nsid.replace(".", "/") + ".json")


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_our_own_schemas_load() -> None:
    catalog = Catalog.load()
    assert catalog.collections.own == {
        "fm.plyr.track",
        "fm.plyr.like",
        "fm.plyr.comment",
        "fm.plyr.list",
        "fm.plyr.actor.profile",
    }
    assert set(catalog.definitions) >= REQUIRED - {"com.atproto.label.defs"}


@pytest.mark.parametrize("nsid", sorted(REQUIRED))
def test_t30_a_missing_schema_ends_the_start(copy: Path, nsid: str) -> None:
    file_of(copy, nsid).unlink()
    with pytest.raises(MissingLexicon, match=nsid):
        Catalog.load(root=copy)


def test_t30_an_empty_folder_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(MissingLexicon):
        Catalog.load(root=tmp_path)


def test_t30_a_folder_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(MissingLexicon):
        Catalog.load(root=tmp_path / "gone")


def test_a_ref_to_nothing_ends_the_start(copy: Path) -> None:
    rewrite(file_of(copy, "fm.plyr.like"), "com.atproto.repo.strongRef", "com.atproto.repo.weakRef")
    with pytest.raises(MissingLexicon, match=r"com\.atproto\.repo\.weakRef"):
        Catalog.load(root=copy)


def test_a_mistake_in_a_file_ends_the_start_and_names_the_file(copy: Path) -> None:
    rewrite(file_of(copy, "fm.plyr.like"), '"format": "datetime"', '"format": "date"')
    with pytest.raises(BadLexicon, match=r"fm/plyr/like\.json: defs/main/record/properties/createdAt/format"):
        Catalog.load(root=copy)


def test_a_file_that_is_no_json_ends_the_start(copy: Path) -> None:
    file_of(copy, "fm.plyr.like").write_text("{")
    with pytest.raises(BadLexicon, match=r"fm/plyr/like\.json"):
        Catalog.load(root=copy)


def test_a_file_under_another_name_than_its_id_ends_the_start(copy: Path) -> None:
    file_of(copy, "fm.plyr.like").rename(copy / "fm/plyr/love.json")
    with pytest.raises(BadLexicon, match=r"fm/plyr/love\.json"):
        Catalog.load(root=copy)


@pytest.mark.parametrize("namespace", ["fm.plyr.dev", "fm.plyr.stg", "com.example"])
def test_t29_another_namespace_has_its_own_names_and_none_of_the_public_ones(namespace: str) -> None:
    catalog = Catalog.load(namespace)
    public = [ref for ref in catalog.definitions if ref.startswith("fm.plyr.")]
    assert [ref for ref in public if not ref.startswith(f"{namespace}.")] == []
    assert all(nsid.startswith(f"{namespace}.") for nsid in catalog.collections.own)
    assert len(catalog.definitions) == len(Catalog.load().definitions)
    for definition in catalog.definitions.values():
        names = json.dumps({key: value for key, value in definition.items() if key != "description"})
        assert '"fm.plyr.track"' not in names


def test_t29_members_of_a_union_move_with_their_namespace(copy: Path) -> None:
    rewrite(file_of(copy, "fm.plyr.track"), "com.atproto.label.defs#selfLabels", "fm.plyr.list#item")
    track = Catalog.load("fm.plyr.dev", copy).definition("fm.plyr.dev.track")
    assert track["record"]["properties"]["labels"]["refs"] == ["fm.plyr.dev.list#item"]


def test_a_permission_set_names_the_collections_of_its_namespace() -> None:
    catalog = Catalog.load("fm.plyr.dev")
    (permission,) = catalog.definition("fm.plyr.dev.authFullApp")["permissions"]
    assert set(permission["collection"]) == catalog.collections.own
    assert permission["action"] == ["create", "update", "delete"]


@pytest.mark.parametrize("namespace", ["", "fm", "fm.plyr.", ".fm", "fm plyr", "fm.plyr\n"])
def test_a_namespace_that_cannot_start_a_name_is_refused(namespace: str) -> None:
    with pytest.raises(BadLexicon):
        Catalog.load(namespace)


def test_a_definition_is_found_by_its_name() -> None:
    catalog = Catalog.load()
    assert catalog.definition("fm.plyr.track")["key"] == "tid"
    assert catalog.definition("fm.plyr.track#main") == catalog.definition("fm.plyr.track")
    assert catalog.definition("fm.plyr.track#featuredArtist")["required"] == ["did"]
    with pytest.raises(MissingLexicon):
        catalog.definition("fm.plyr.video")


def test_queries_are_described_as_their_documents_say(shared: Path) -> None:
    folder = shared / "data/interop/lexicon/catalog"
    documents = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    catalog = Catalog.of(documents, "fm.plyr", complete=False)
    (query,) = catalog.queries().values()
    assert (query.nsid, query.kind, query.input, query.output) == (
        "example.lexicon.query",
        "query",
        None,
        "application/json",
    )
    assert query.errors == ("DemoError", "AnotherDemoError")
    kinds = {nsid.rpartition(".")[2]: method.kind for nsid, method in catalog.methods.items()}
    assert kinds == {"query": "query", "procedure": "procedure", "subscription": "subscription"}


def test_the_records_have_the_constraints_of_the_published_ones() -> None:
    """What `fm.plyr.*` records may hold, field by field: (constraints, is required)."""
    catalog = Catalog.load()
    found: dict[str, dict[str, object]] = {}
    for nsid in sorted(catalog.collections.own):
        definition = catalog.definition(nsid)
        record = definition["record"]
        found[f"{nsid} {definition['key']}"] = {
            name + ("!" if name in record["required"] else ""): {
                key: value for key, value in field.items() if key not in ("description", "type", "items")
            }
            | {"type": field["type"]}
            for name, field in record["properties"].items()
        }
    datetime = {"type": "string", "format": "datetime"}
    uri = {"type": "string", "format": "uri"}
    subject = {"type": "ref", "ref": "com.atproto.repo.strongRef"}
    assert found == {
        "fm.plyr.track tid": {
            "title!": {"type": "string", "minLength": 1, "maxLength": 256},
            "artist!": {"type": "string", "minLength": 1, "maxLength": 256},
            "fileType!": {"type": "string", "minLength": 1, "maxLength": 16},
            "createdAt!": datetime,
            "audioUrl": uri,
            "audioBlob": {"type": "blob", "accept": ["audio/*"], "maxSize": 104_857_600},
            "album": {"type": "string", "maxLength": 256},
            "duration": {"type": "integer", "minimum": 0},
            "features": {"type": "array", "maxLength": 10},
            "imageUrl": uri,
            "supportGate": {"type": "ref", "ref": "#supportGate"},
            "description": {"type": "string", "maxLength": 5000},
            "labels": {"type": "union", "refs": ["com.atproto.label.defs#selfLabels"]},
        },
        "fm.plyr.like tid": {"subject!": subject, "createdAt!": datetime},
        "fm.plyr.comment tid": {
            "subject!": subject,
            "text!": {"type": "string", "minLength": 1, "maxLength": 1000},
            "timestampMs!": {"type": "integer", "minimum": 0},
            "createdAt!": datetime,
            "updatedAt": datetime,
        },
        "fm.plyr.list tid": {
            "items!": {"type": "array", "maxLength": 500},
            "createdAt!": datetime,
            "name": {"type": "string", "maxLength": 256, "maxGraphemes": 64},
            "listType": {"type": "string", "knownValues": ["album", "playlist", "liked"]},
            "updatedAt": datetime,
        },
        "fm.plyr.actor.profile literal:self": {
            "createdAt!": datetime,
            "avatar": uri,
            "bio": {"type": "string", "maxLength": 2560, "maxGraphemes": 256},
            "updatedAt": datetime,
        },
    }
