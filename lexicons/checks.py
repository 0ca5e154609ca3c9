"""A schema becomes a function: `Compiler.of(ref)` gives the check for a definition.

Schemas are read once, when the catalog is loaded; what runs for each record is a few nested
closures. A check takes a value of the data model, returns nothing, and raises `Invalid`
with the path to what is wrong. Unknown fields pass, and so do unknown types in open unions:
both are how the network grows (/specs/lexicon#lexicon-evolution).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from lexicons import scalars
from lexicons.scalars import Check, Invalid, Schema


class DanglingRef(LookupError):
    """A schema refers to a definition that no document has."""


def absolute(ref: str, nsid: str) -> str:
    """A ref as the catalog names it: `#x` gets its document's NSID, `#main` is left out."""
    return (nsid + ref if ref.startswith("#") else ref).removesuffix("#main")


class Compiler:
    """Makes checks out of definitions, each once; recursive ones find themselves by name."""

    def __init__(self, definitions: Mapping[str, Schema], *, complete: bool) -> None:
        self._definitions = definitions
        self._complete = complete
        self._checks: dict[str, Check | None] = {}

    def of(self, ref: str) -> Check:
        """The check of an absolute ref; where it is absent, DanglingRef, or if incomplete one that fails."""
        if ref in self._checks:
            return self._checks[ref] or self._later(ref)
        definition = self._definitions.get(ref)
        if definition is None:
            if self._complete:
                raise DanglingRef(ref)
            return scalars.refuse(f"there is no schema for {ref}")
        self._checks[ref] = None
        check = self.schema(definition, ref)
        self._checks[ref] = check
        return check

    def schema(self, schema: Schema, ref: str) -> Check:
        """The check of a schema that stands in the definition `ref`."""
        nsid = ref.partition("#")[0]
        match schema["type"]:
            case "null":
                return scalars.null
            case "boolean":
                return scalars.boolean(schema)
            case "integer":
                return scalars.integer(schema)
            case "string":
                return scalars.string(schema)
            case "bytes":
                return scalars.byte_string(schema)
            case "cid-link":
                return scalars.link
            case "blob":
                return scalars.blob(schema)
            case "unknown":
                return scalars.unknown
            case "token":
                return scalars.token(ref)
            case "array":
                return _array(schema, self.schema(schema["items"], ref))
            case "object":
                return self._object(schema, ref)
            case "record":
                return self._object(schema["record"], ref)
            case "ref":
                return self.of(absolute(schema["ref"], nsid))
            case "union":
                refs = [absolute(member, nsid) for member in schema["refs"]]
                return _union({member: self.of(member) for member in refs}, bool(schema.get("closed")))
            case kind:
                return scalars.refuse(f"a value cannot be a {kind}")

    def _object(self, schema: Schema, ref: str) -> Check:
        fields: dict[str, Check] = {}
        nullable = schema.get("nullable", ())
        for name, field in schema.get("properties", {}).items():
            check = self.schema(field, ref)
            fields[name] = _or_null(check) if name in nullable else check
        return _object(tuple(schema.get("required", ())), fields)

    def _later(self, ref: str) -> Check:
        def check(value: Any) -> None:
            cast("Check", self._checks[ref])(value)

        return check


def _object(required: tuple[str, ...], fields: Mapping[str, Check]) -> Check:
    get = fields.get

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Invalid("", "expected an object")
        entries = cast("dict[str, Any]", value)
        for name in required:
            if name not in entries:
                raise Invalid(name, "is missing")
        for name, item in entries.items():
            field = get(name)
            if field is not None:
                try:
                    field(item)
                except Invalid as error:
                    raise error.within(name) from None

    return check


def _array(schema: Schema, item_check: Check) -> Check:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")

    def check(value: Any) -> None:
        if type(value) is not list:
            raise Invalid("", "expected an array")
        items = cast("list[Any]", value)
        scalars.within(len(items), shortest, longest, "items")
        for index, item in enumerate(items):
            try:
                item_check(item)
            except Invalid as error:
                raise error.within(index) from None

    return check


def _union(members: Mapping[str, Check], closed: bool) -> Check:
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Invalid("", "expected an object")
        kind = cast("dict[str, Any]", value).get("$type")
        if type(kind) is not str:
            raise Invalid("$type", "is missing")
        member = members.get(kind.removesuffix("#main"))
        if member is not None:
            member(value)
        elif closed:
            raise Invalid("$type", f"expected one of {', '.join(members)}")

    return check


def _or_null(other: Check) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            other(value)

    return check
