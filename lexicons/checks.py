"""A schema becomes a function: `Compiler.of(ref)` gives the check for a definition.

Schemas are read once, when the catalog is loaded; what runs for each record is a few nested
closures. A check takes a value of the data model, returns nothing, and raises `Invalid`
with the path to what is wrong. Unknown fields pass, and so do unknown types in open unions:
both are how the network grows (/specs/lexicon#lexicon-evolution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import regex

from lexicons.datamodel import Link, is_blessed
from lexicons.syntax import FORMATS

Check = Callable[[Any], None]
Schema = Mapping[str, Any]

_graphemes = regex.compile(r"\X").findall


class Invalid(ValueError):
    """A value does not have the shape that its schema asks for."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason

    def within(self, name: str | int) -> Invalid:
        """The same complaint, seen from the container that holds the value under this name."""
        return Invalid(f"{name}/{self.path}" if self.path else str(name), self.reason)


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
        """The check of an absolute ref; raises DanglingRef where there is none, or lets the check fail if incomplete."""
        if ref in self._checks:
            return self._checks[ref] or self._later(ref)
        definition = self._definitions.get(ref)
        if definition is None:
            if self._complete:
                raise DanglingRef(ref)
            return _refuse(f"there is no schema for {ref}")
        self._checks[ref] = None
        check = self.schema(definition, ref)
        self._checks[ref] = check
        return check

    def schema(self, schema: Schema, ref: str) -> Check:
        """The check of a schema that stands in the definition `ref`."""
        nsid = ref.partition("#")[0]
        match schema["type"]:
            case "null":
                return _null
            case "boolean":
                return _boolean(schema)
            case "integer":
                return _integer(schema)
            case "string":
                return _string(schema)
            case "bytes":
                return _bytes(schema)
            case "cid-link":
                return _link
            case "blob":
                return _blob(schema)
            case "unknown":
                return _unknown
            case "token":
                return _token(ref)
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
                return _refuse(f"a value cannot be a {kind}")

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
        _within(len(items), shortest, longest, "items")
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


def _string(schema: Schema) -> Check:
    """Lengths count UTF-8 bytes, graphemes are counted only where the code points don't settle it."""
    steps: list[Check] = []
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    if shortest or longest is not None:
        steps.append(_byte_length(shortest, longest))
    fewest, most = schema.get("minGraphemes", 0), schema.get("maxGraphemes")
    if fewest or most is not None:
        steps.append(_grapheme_count(fewest, most))
    if "format" in schema:
        steps.append(_format(schema["format"]))
    steps.extend(_choices(schema))
    if not steps:
        return _text
    if len(steps) == 1:
        only = steps[0]

        def check_one(value: Any) -> None:
            if type(value) is not str:
                raise Invalid("", "expected a string")
            only(value)

        return check_one

    def check(value: Any) -> None:
        if type(value) is not str:
            raise Invalid("", "expected a string")
        for step in steps:
            step(value)

    return check


def _byte_length(shortest: int, longest: int | None) -> Check:
    def check(value: str) -> None:
        _within(len(value) if value.isascii() else len(value.encode()), shortest, longest, "bytes of UTF-8")

    return check


def _grapheme_count(fewest: int, most: int | None) -> Check:
    def check(value: str) -> None:
        if not fewest and most is not None and len(value) <= most:
            return
        _within(len(_graphemes(value)), fewest, most, "graphemes")

    return check


def _format(name: str) -> Check:
    is_format = FORMATS[name]

    def check(value: str) -> None:
        if not is_format(value):
            raise Invalid("", f"is no {name}")

    return check


def _integer(schema: Schema) -> Check:
    least, most = schema.get("minimum"), schema.get("maximum")
    choices = _choices(schema)

    def check(value: Any) -> None:
        if type(value) is not int:
            raise Invalid("", "expected an integer")
        if least is not None and value < least:
            raise Invalid("", f"less than {least}")
        if most is not None and value > most:
            raise Invalid("", f"more than {most}")
        for choice in choices:
            choice(value)

    return check


def _boolean(schema: Schema) -> Check:
    choices = _choices(schema)

    def check(value: Any) -> None:
        if type(value) is not bool:
            raise Invalid("", "expected true or false")
        for choice in choices:
            choice(value)

    return check


def _bytes(schema: Schema) -> Check:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")

    def check(value: Any) -> None:
        if type(value) is not bytes:
            raise Invalid("", "expected bytes")
        _within(len(value), shortest, longest, "bytes")

    return check


def _blob(schema: Schema) -> Check:
    """Blobs as they are now, and the old `{cid, mimeType}` form, which tells no size (/specs/data-model#blob-type)."""
    accept = cast("list[str] | None", schema.get("accept"))
    largest = schema.get("maxSize")

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Invalid("", "expected a blob")
        blob = cast("dict[str, Any]", value)
        if blob.get("$type") == "blob":
            ref = blob.get("ref")
            if type(ref) is not Link or not is_blessed(ref.cid):
                raise Invalid("ref", "expected a link to bytes by their sha-256")
            size = blob.get("size")
            if type(size) is not int or size < 0:
                raise Invalid("size", "expected a size in bytes")
            if largest is not None and size > largest:
                raise Invalid("size", f"more than {largest} bytes")
        elif blob.keys() != {"cid", "mimeType"} or not _is_cid_text(blob["cid"]):
            raise Invalid("", "expected a blob")
        mime_type = blob.get("mimeType")
        if type(mime_type) is not str:
            raise Invalid("mimeType", "expected a media type")
        if accept is not None and not any(_accepts(pattern, mime_type) for pattern in accept):
            raise Invalid("mimeType", f"expected {', '.join(accept)}")

    return check


def _is_cid_text(value: object) -> bool:
    return type(value) is str and FORMATS["cid"](value)


def _accepts(pattern: str, mime_type: str) -> bool:
    return (
        pattern == "*/*"
        or mime_type == pattern
        or (pattern.endswith("/*") and mime_type.startswith(pattern[:-1]))
    )


def _token(ref: str) -> Check:
    def check(value: Any) -> None:
        if value != ref:
            raise Invalid("", f"expected {ref}")

    return check


def _choices(schema: Schema) -> tuple[Check, ...]:
    """`const` and `enum`; the caller has checked the type, so True never passes for 1."""
    checks: list[Check] = []
    if "const" in schema:
        checks.append(_one_of((schema["const"],)))
    if "enum" in schema:
        checks.append(_one_of(schema["enum"]))
    return tuple(checks)


def _one_of(choices: Iterable[Any]) -> Check:
    allowed = frozenset(choices)
    names = ", ".join(str(choice) for choice in choices)

    def check(value: Any) -> None:
        if value not in allowed:
            raise Invalid("", f"expected {names}")

    return check


def _or_null(other: Check) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            other(value)

    return check


def _refuse(reason: str) -> Check:
    def check(value: Any) -> None:
        raise Invalid("", reason)

    return check


def _null(value: Any) -> None:
    if value is not None:
        raise Invalid("", "expected null")


def _text(value: Any) -> None:
    if type(value) is not str:
        raise Invalid("", "expected a string")


def _link(value: Any) -> None:
    if type(value) is not Link:
        raise Invalid("", "expected a link")


def _unknown(value: Any) -> None:
    """Any object, but no blob: a blob that no schema names would be lost to the counting of references."""
    if type(value) is not dict or cast("dict[str, Any]", value).get("$type") == "blob":
        raise Invalid("", "expected an object")


def _within(count: int, least: int, most: int | None, unit: str) -> None:
    if count < least:
        raise Invalid("", f"fewer than {least} {unit}")
    if most is not None and count > most:
        raise Invalid("", f"more than {most} {unit}")
