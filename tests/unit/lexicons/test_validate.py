"""Values against schemas: the published cases, and each rule of the language once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lexicons.catalog import Catalog
from lexicons.datamodel import InvalidData, Link, cid_of, decode, from_json
from lexicons.schema import check_document
from lexicons.syntax import Nsid
from lexicons.validate import Invalid, validate_input, validate_output, validate_record, validate_rkey

THING = Nsid("com.example.thing")
AUDIO = Link(cid_of(b"audio", "raw"))


def cases(shared: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((shared / "data/interop/lexicon" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def published(shared: Path) -> Catalog:
    folder = shared / "data/interop/lexicon/catalog"
    documents = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    return Catalog.of(documents, "fm.plyr", complete=False)


def check(catalog: Catalog, case: dict[str, Any]) -> None:
    nsid = Nsid(case["data"]["$type"])
    validate_rkey(catalog, nsid, case["rkey"])
    validate_record(catalog, nsid, from_json(case["data"]))


def catalog_of(field: dict[str, Any], **others: dict[str, Any]) -> Catalog:
    """A catalog with one record, `com.example.thing`, that has one field, `x`."""
    record = {"type": "record", "key": "any", "record": {"type": "object", "properties": {"x": field}}}
    document: dict[str, Any] = {"lexicon": 1, "id": THING, "defs": {"main": record, **others}}
    check_document(document)
    return Catalog.of([document], "fm.plyr")


def accepts(field: dict[str, Any], value: object, **others: dict[str, Any]) -> bool:
    try:
        validate_record(catalog_of(field, **others), THING, {"$type": THING, "x": value})
    except Invalid:
        return False
    return True


def test_published_valid_records_are_valid(shared: Path, published: Catalog) -> None:
    valid = cases(shared, "record-data-valid")
    assert len(valid) == 3
    for case in valid:
        check(published, case)


def test_published_invalid_records_are_refused(shared: Path, published: Catalog) -> None:
    invalid = cases(shared, "record-data-invalid")
    assert len(invalid) == 50
    for case in invalid:
        with pytest.raises((Invalid, InvalidData)):
            check(published, case)


def test_published_invalid_records_are_refused_for_what_they_are_named_after(
    shared: Path, published: Catalog
) -> None:
    """Some of them lack the required field as well, which would hide a validator that misses the rest."""
    for case in cases(shared, "record-data-invalid"):
        if case["name"] == "missing required field":
            continue
        data = {"integer": 1} | case["data"]
        with pytest.raises((Invalid, InvalidData)):
            check(published, case | {"data": data})
        (wrong,) = data.keys() - {"$type", "integer"} or {"integer"}
        rest = {key: value for key, value in data.items() if key != wrong} | {"integer": 1}
        check(published, case | {"data": rest})


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ({"type": "string", "maxLength": 4}, ["", "abcd", "éé"], ["abcde", "ééé", 4, None]),
        ({"type": "string", "minLength": 2}, ["é", "ab"], ["a", ""]),
        (
            {"type": "string", "maxGraphemes": 2},
            ["ab", "👨‍👩‍👧‍👧👨‍👩‍👧‍👧", "\r\n\r\n", "e\u0301e\u0301"],
            ["abc"],
        ),
        ({"type": "string", "minGraphemes": 2}, ["ab", "👨‍👩‍👧‍👧a"], ["a", "👨‍👩‍👧‍👧", "\r\n"]),
        ({"type": "string", "const": "a"}, ["a"], ["b", ""]),
        ({"type": "string", "enum": ["a", "b"]}, ["a", "b"], ["c"]),
        ({"type": "string", "knownValues": ["a"]}, ["a", "something new"], [1]),
        ({"type": "string", "format": "did"}, ["did:plc:abc"], ["did:plc:abc\n", "abc"]),
        ({"type": "string", "format": "datetime", "maxLength": 20}, ["2026-01-01T00:00:00Z"], ["2026-01-01"]),
        ({"type": "integer"}, [0, -1, 1 << 62], [True, 1.0, "1", None]),
        ({"type": "integer", "minimum": 0, "maximum": 2}, [0, 2], [-1, 3]),
        ({"type": "integer", "const": 1}, [1], [0, True]),
        ({"type": "integer", "enum": [1, 2]}, [2], [3, True]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "boolean", "const": True}, [True], [False]),
        ({"type": "bytes", "minLength": 1, "maxLength": 2}, [b"a", b"ab"], [b"", b"abc", "ab"]),
        ({"type": "cid-link"}, [AUDIO], [AUDIO.cid, {"$link": AUDIO.cid}, b"x"]),
        ({"type": "null"}, [None], [0, False, ""]),
        ({"type": "unknown"}, [{}, {"a": 1}, {"$type": "a.b.c"}], [1, None, [], b"", AUDIO, True]),
        ({"type": "array", "items": {"type": "integer"}}, [[], [1, 2]], [[None], ["1"], {}, 1]),
        (
            {"type": "array", "items": {"type": "integer"}, "minLength": 1, "maxLength": 2},
            [[1]],
            [[], [1, 2, 3]],
        ),
    ],
    ids=repr,
)
def test_each_type_takes_what_fits_and_nothing_else(
    field: dict[str, Any], good: list[object], bad: list[object]
) -> None:
    assert [value for value in good if not accepts(field, value)] == []
    assert [value for value in bad if accepts(field, value)] == []


def blob(**changes: object) -> dict[str, object]:
    return {"$type": "blob", "ref": AUDIO, "mimeType": "audio/mpeg", "size": 10} | changes


def test_a_blob_is_checked_by_type_size_and_hash() -> None:
    field = {"type": "blob", "accept": ["audio/*", "image/png"], "maxSize": 10}
    assert accepts(field, blob())
    assert accepts(field, blob(mimeType="image/png"))
    for changes in (
        {"mimeType": "image/jpeg"},
        {"mimeType": "audio"},
        {"mimeType": "audiobook/x"},
        {"mimeType": 1},
        {"size": 11},
        {"size": -1},
        {"size": "10"},
        {"ref": AUDIO.cid},
        {"$type": "Blob"},
    ):
        assert not accepts(field, blob(**changes)), changes
    assert accepts({"type": "blob", "accept": ["*/*"]}, blob())


def test_t19_a_blob_by_another_hash_is_refused() -> None:
    sha_512 = decode(b"\xd8\x2a\x58\x45\x00\x01\x55\x13\x40" + bytes(64))
    identity = decode(b"\xd8\x2a\x48\x00\x01\x55\x00\x03abc")
    assert accepts({"type": "cid-link"}, sha_512)
    for link in (sha_512, identity):
        assert not accepts({"type": "blob"}, blob(ref=link))


def test_a_blob_of_the_old_form_is_still_read() -> None:
    field = {"type": "blob", "accept": ["image/*"], "maxSize": 10}
    assert accepts(field, {"cid": AUDIO.cid, "mimeType": "image/png"})
    assert not accepts(field, {"cid": AUDIO.cid, "mimeType": "audio/mpeg"})
    assert not accepts(field, {"cid": "x", "mimeType": "image/png"})
    assert not accepts(field, {"cid": AUDIO.cid, "mimeType": "image/png", "size": 1})


A = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def test_an_open_union_takes_what_it_does_not_know() -> None:
    field = {"type": "union", "refs": ["#a"]}
    assert accepts(field, {"$type": "com.example.thing#a", "n": 1}, a=A)
    assert accepts(field, {"$type": "com.example.other"}, a=A)
    assert not accepts(field, {"$type": "com.example.thing#a", "n": "1"}, a=A)
    assert not accepts(field, {"n": 1}, a=A)
    assert not accepts(field, "com.example.thing#a", a=A)


def test_a_closed_union_takes_its_members_alone() -> None:
    field = {"type": "union", "refs": ["#a"], "closed": True}
    assert accepts(field, {"$type": "com.example.thing#a", "n": 1}, a=A)
    assert not accepts(field, {"$type": "com.example.other"}, a=A)
    assert not accepts(field, {"$type": "#a", "n": 1}, a=A)


def test_a_token_is_its_own_name() -> None:
    field = {"type": "ref", "ref": "#sold"}
    assert accepts(field, "com.example.thing#sold", sold={"type": "token"})
    assert not accepts(field, "#sold", sold={"type": "token"})
    assert not accepts(field, {"$type": "com.example.thing#sold"}, sold={"type": "token"})


def test_a_definition_may_contain_itself() -> None:
    tree = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"type": "ref", "ref": "#tree"}}},
    }
    field = {"type": "ref", "ref": "#tree"}
    assert accepts(field, {"children": [{"children": []}, {}]}, tree=tree)
    assert not accepts(field, {"children": [{"children": [1]}]}, tree=tree)


def test_null_is_a_value_only_where_it_is_allowed() -> None:
    field = {
        "type": "object",
        "required": ["a", "b"],
        "nullable": ["a"],
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    }
    assert accepts(field, {"a": None, "b": 1})
    assert not accepts(field, {"a": 1, "b": None})
    assert not accepts(field, {"b": 1})


def test_fields_that_the_schema_does_not_know_pass() -> None:
    assert accepts({"type": "object", "properties": {}}, {"new": [1, {"a": b"b"}]})


def test_a_complaint_names_the_path_to_what_is_wrong() -> None:
    catalog = Catalog.load()
    like = {"subject": {"uri": "at://did:plc:abc/a.b.c/d", "cid": "?"}}
    record = {"$type": "fm.plyr.list", "createdAt": "2026-01-01T00:00:00Z", "items": [like]}
    with pytest.raises(Invalid) as error:
        validate_record(catalog, catalog.collections.list, record)
    assert error.value.path == "items/0/subject/cid"
    assert str(error.value) == "items/0/subject/cid: is no cid"


@pytest.mark.parametrize("kind", [None, "fm.plyr.like#main", "fm.plyr.dev.like", "fm.plyr.track", 1])
def test_t29_a_record_of_another_type_than_its_collection_is_refused(kind: object) -> None:
    catalog = Catalog.load()
    subject = {"uri": "at://did:plc:abc/fm.plyr.track/3jzfcijpj2z2a", "cid": AUDIO.cid}
    record = {"$type": "fm.plyr.like", "subject": subject, "createdAt": "2026-01-01T00:00:00Z"}
    validate_record(catalog, catalog.collections.like, record)
    with pytest.raises(Invalid):
        validate_record(catalog, catalog.collections.like, record | {"$type": kind})


@pytest.mark.parametrize("value", [None, [], "record", 1])
def test_a_record_is_an_object(value: object) -> None:
    catalog = Catalog.load()
    with pytest.raises(Invalid):
        validate_record(catalog, catalog.collections.like, value)


def test_t30_a_record_without_a_schema_is_refused() -> None:
    with pytest.raises(Invalid, match="no record schema"):
        validate_record(Catalog.load(), Nsid("fm.plyr.video"), {"$type": "fm.plyr.video"})


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("tid", ["3jzfcijpj2z2a", "azzzzzzzzzzzz"], ["self", "zzzzzzzzzzzzz", "3jzfcijpj2z2a\n", ""]),
        ("any", ["self", "a:b"], ["", ".", "..", "a/b", "a\n"]),
        ("nsid", ["com.example.thing"], ["self", ""]),
        ("literal:self", ["self"], ["Self", "self\n", "literal:self", ""]),
    ],
)
def test_a_record_key_follows_the_policy_of_its_collection(key: str, good: list[str], bad: list[str]) -> None:
    record = {"type": "record", "key": key, "record": {"type": "object"}}
    catalog = Catalog.of([{"lexicon": 1, "id": THING, "defs": {"main": record}}], "fm.plyr")
    for rkey in good:
        validate_rkey(catalog, THING, rkey)
    for rkey in bad:
        with pytest.raises(Invalid):
            validate_rkey(catalog, THING, rkey)


def method_catalog() -> Catalog:
    body = {
        "encoding": "application/json",
        "schema": {"type": "object", "required": ["ref"], "properties": {"ref": {"type": "cid-link"}}},
    }
    document = {
        "lexicon": 1,
        "id": THING,
        "defs": {"main": {"type": "procedure", "input": body, "output": body}},
    }
    check_document(document)
    return Catalog.of([document], "fm.plyr")


@pytest.mark.parametrize("validate", [validate_input, validate_output])
def test_bodies_are_checked_in_their_json_form(validate: Any) -> None:
    catalog = method_catalog()
    validate(catalog, THING, {"ref": {"$link": AUDIO.cid}})
    for wrong in (
        {},
        [],
        None,
        {"ref": AUDIO.cid},
        {"ref": {"$link": "?"}},
        {"ref": {"$link": AUDIO.cid}, "x": 1.5},
    ):
        with pytest.raises(Invalid):
            validate(catalog, THING, wrong)
