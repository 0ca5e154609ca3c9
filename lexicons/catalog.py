"""All schemas that we know: read from the files beside this module, checked, compiled.

A catalog is loaded once, at the start, and whatever is wrong with it ends the start: a
service without its schemas would take every record for valid. It never looks a schema up
on the network.

    CatalogError
    ├── MissingLexicon      a schema that we need, or that another refers to, is not there
    └── BadLexicon          a file is no JSON, no schema document, or stands under a wrong name
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import orjson

from lexicons.checks import Compiler, DanglingRef
from lexicons.params import ReadParams, compile_params
from lexicons.scalars import Check
from lexicons.schema import InvalidLexicon, check_document
from lexicons.syntax import Nsid, is_nsid

PUBLIC_NAMESPACE = "fm.plyr"
RECORDS = ("track", "like", "comment", "list", "actor.profile")
QUERIES = (
    "actor.getProfile",
    "actor.getProfiles",
    "actor.searchActors",
    "audio.getJob",
    "audio.getLimits",
    "feed.getActorLikes",
    "feed.getActorTracks",
    "feed.getComments",
    "feed.getLatest",
    "feed.getLikes",
    "feed.getTop",
    "feed.getTrack",
    "feed.getTracks",
    "feed.searchTracks",
    "graph.getActorLists",
    "graph.getList",
    "server.describe",
    "server.getStats",
    "sync.getRecordProof",
    "sync.getRepoState",
)
PROCEDURES = ("audio.uploadAudio",)
SUBSCRIPTIONS = ("sync.subscribe",)
REQUIRED = frozenset(
    {
        f"{PUBLIC_NAMESPACE}.{name}"
        for name in (*RECORDS, *QUERIES, *PROCEDURES, *SUBSCRIPTIONS, "authFullApp")
    }
    | {"app.bsky.actor.profile", "com.atproto.label.defs", "com.atproto.repo.strongRef"}
)
_PROSE = frozenset({"description", "title", "detail"})


class CatalogError(Exception):
    """The schemas cannot be used."""


class MissingLexicon(CatalogError):
    """A schema is missing."""


class BadLexicon(CatalogError):
    """A file is not the schema document that its place promises."""


@dataclass(frozen=True, slots=True)
class Collections:
    """The exact NSIDs that this service reads, in its namespace; nothing matches by prefix."""

    track: Nsid
    like: Nsid
    comment: Nsid
    list: Nsid
    profile: Nsid
    bsky_profile: Nsid
    own: frozenset[Nsid]


@dataclass(frozen=True, slots=True)
class MethodDef:
    """A query, procedure or subscription, as its document describes it.

    `input` and `output` are the media types of its bodies, None where it has none.
    """

    nsid: Nsid
    kind: str
    description: str
    parameters: Mapping[str, Any] | None
    input: str | None
    output: str | None
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Schemas by name, and what they compile to. Build it with `load`, or with `of` from documents."""

    namespace: str
    collections: Collections
    definitions: Mapping[str, Mapping[str, Any]]
    records: Mapping[str, Check]
    methods: Mapping[Nsid, MethodDef]
    params: Mapping[Nsid, ReadParams]
    inputs: Mapping[Nsid, Check]
    outputs: Mapping[Nsid, Check]
    messages: Mapping[Nsid, Check]

    @classmethod
    def load(cls, namespace: str = PUBLIC_NAMESPACE, root: Path = Path(__file__).parent) -> Catalog:
        """Read every JSON file under `root`; raises CatalogError.

        Files say `fm.plyr.…`. In another namespace each such name is moved: the records of
        `fm.plyr.dev` have the same schemas under their own NSIDs.
        """
        found = [_read(path, root) for path in sorted(root.rglob("*.json"))]
        missing = REQUIRED - {document["id"] for document in found}
        if missing:
            raise MissingLexicon(f"no schema for {', '.join(sorted(missing))} under {root}")
        return cls.of((_renamed(document, namespace) for document in found), namespace)

    @classmethod
    def of(cls, documents: Iterable[Mapping[str, Any]], namespace: str, *, complete: bool = True) -> Catalog:
        """Compile checked documents; unless `complete`, refs to absent schemas stand, and match nothing."""
        if not is_nsid(f"{namespace}.track"):
            raise BadLexicon(f"{namespace!r} cannot start an NSID")
        definitions: dict[str, Mapping[str, Any]] = {}
        for document in documents:
            for name, definition in document["defs"].items():
                definitions[_ref(document["id"], name)] = definition
        compiler = Compiler(definitions, complete=complete)
        try:
            return cls._compiled(definitions, compiler, namespace)
        except DanglingRef as error:
            raise MissingLexicon(f"a schema refers to {error}, which is not there") from None

    @classmethod
    def _compiled(
        cls, definitions: Mapping[str, Mapping[str, Any]], compiler: Compiler, namespace: str
    ) -> Catalog:
        records: dict[str, Check] = {}
        methods: dict[Nsid, MethodDef] = {}
        params: dict[Nsid, ReadParams] = {}
        messages: dict[Nsid, Check] = {}
        bodies: dict[str, dict[Nsid, Check]] = {"input": {}, "output": {}}
        for ref, definition in definitions.items():
            nsid = Nsid(ref)
            match definition["type"]:
                case "record":
                    records[ref] = compiler.of(ref)
                case "query" | "procedure" | "subscription":
                    methods[nsid] = _method(nsid, definition)
                    params[nsid] = compile_params(definition.get("parameters"), compiler, ref)
                    for side, checks in bodies.items():
                        if "schema" in definition.get(side, {}):
                            checks[nsid] = compiler.schema(definition[side]["schema"], ref)
                    if "message" in definition:
                        messages[nsid] = compiler.schema(definition["message"]["schema"], ref)
                case "permission-set":
                    pass
                case _:
                    compiler.of(ref)
        return cls(
            namespace,
            _collections(namespace),
            MappingProxyType(dict(definitions)),
            MappingProxyType(records),
            MappingProxyType(methods),
            MappingProxyType(params),
            MappingProxyType(bodies["input"]),
            MappingProxyType(bodies["output"]),
            MappingProxyType(messages),
        )

    def definition(self, ref: str) -> Mapping[str, Any]:
        """The schema of `nsid`, `nsid#name`; raises MissingLexicon."""
        try:
            return self.definitions[ref.removesuffix("#main")]
        except KeyError:
            raise MissingLexicon(f"no schema for {ref}") from None

    def queries(self) -> Mapping[Nsid, MethodDef]:
        """The methods that are asked with GET."""
        return {nsid: method for nsid, method in self.methods.items() if method.kind == "query"}

    def procedures(self) -> Mapping[Nsid, MethodDef]:
        """The methods that change something, and are called with POST."""
        return {nsid: method for nsid, method in self.methods.items() if method.kind == "procedure"}

    def subscriptions(self) -> Mapping[Nsid, MethodDef]:
        """The methods that are followed over a WebSocket."""
        return {nsid: method for nsid, method in self.methods.items() if method.kind == "subscription"}


def documents(
    namespace: str = PUBLIC_NAMESPACE, root: Path = Path(__file__).parent
) -> dict[Nsid, Mapping[str, Any]]:
    """Our own schema documents by their names, those of others left out; raises BadLexicon."""
    found = [_read(path, root) for path in sorted(root.rglob("*.json"))]
    own = [one for one in found if one["id"].startswith(f"{PUBLIC_NAMESPACE}.")]
    return {Nsid(one["id"]): one for one in (_renamed(one, namespace) for one in own)}


def _read(path: Path, root: Path) -> Mapping[str, Any]:
    place = path.relative_to(root)
    try:
        document = orjson.loads(path.read_bytes())
        check_document(document)
    except (orjson.JSONDecodeError, InvalidLexicon) as error:
        raise BadLexicon(f"{place}: {error}") from error
    if document["id"] != ".".join(place.with_suffix("").parts):
        raise BadLexicon(f"{place}: its id is {document['id']}")
    return document


def _renamed(document: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    if namespace == PUBLIC_NAMESPACE:
        return document
    return cast("Mapping[str, Any]", _rename(document, namespace))


def _rename(value: object, namespace: str) -> object:
    """Move every name of the public namespace in a JSON value, prose left alone."""
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {key: item if key in _PROSE else _rename(item, namespace) for key, item in entries.items()}
    if isinstance(value, list):
        return [_rename(item, namespace) for item in cast("list[object]", value)]
    if isinstance(value, str) and value.startswith(f"{PUBLIC_NAMESPACE}."):
        return namespace + value[len(PUBLIC_NAMESPACE) :]
    return value


def _ref(nsid: str, name: str) -> str:
    return nsid if name == "main" else f"{nsid}#{name}"


def _method(nsid: Nsid, definition: Mapping[str, Any]) -> MethodDef:
    return MethodDef(
        nsid,
        definition["type"],
        definition.get("description", ""),
        definition.get("parameters"),
        definition["input"]["encoding"] if "input" in definition else None,
        definition["output"]["encoding"] if "output" in definition else None,
        tuple(error["name"] for error in definition.get("errors", ())),
    )


def _collections(namespace: str) -> Collections:
    track, like, comment, items, profile = own = [Nsid(f"{namespace}.{name}") for name in RECORDS]
    return Collections(track, like, comment, items, profile, Nsid("app.bsky.actor.profile"), frozenset(own))
