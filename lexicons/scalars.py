"""Checks for single values: strings, numbers, bytes, links, blobs, tokens.

Each function takes a schema and returns a closure that raises `Invalid`; what can be
decided from the schema alone is decided when the catalog is loaded.
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


def string(schema: Schema) -> Check:
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
        within(len(value) if value.isascii() else len(value.encode()), shortest, longest, "bytes of UTF-8")

    return check


def _grapheme_count(fewest: int, most: int | None) -> Check:
    def check(value: str) -> None:
        if not fewest and most is not None and len(value) <= most:
            return
        within(len(_graphemes(value)), fewest, most, "graphemes")

    return check


def _format(name: str) -> Check:
    is_format = FORMATS[name]

    def check(value: str) -> None:
        if not is_format(value):
            raise Invalid("", f"is no {name}")

    return check


def integer(schema: Schema) -> Check:
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


def boolean(schema: Schema) -> Check:
    choices = _choices(schema)

    def check(value: Any) -> None:
        if type(value) is not bool:
            raise Invalid("", "expected true or false")
        for choice in choices:
            choice(value)

    return check


def byte_string(schema: Schema) -> Check:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")

    def check(value: Any) -> None:
        if type(value) is not bytes:
            raise Invalid("", "expected bytes")
        within(len(value), shortest, longest, "bytes")

    return check


def blob(schema: Schema) -> Check:
    """Blobs, and their old `{cid, mimeType}` form, which tells no size (/specs/data-model#blob-type)."""
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


def token(ref: str) -> Check:
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


def refuse(reason: str) -> Check:
    def check(value: Any) -> None:
        raise Invalid("", reason)

    return check


def null(value: Any) -> None:
    if value is not None:
        raise Invalid("", "expected null")


def _text(value: Any) -> None:
    if type(value) is not str:
        raise Invalid("", "expected a string")


def link(value: Any) -> None:
    if type(value) is not Link:
        raise Invalid("", "expected a link")


def unknown(value: Any) -> None:
    """Any object, but no blob: a blob that no schema names would be lost to the counting of references."""
    if type(value) is not dict or cast("dict[str, Any]", value).get("$type") == "blob":
        raise Invalid("", "expected an object")


def within(count: int, least: int, most: int | None, unit: str) -> None:
    if count < least:
        raise Invalid("", f"fewer than {least} {unit}")
    if most is not None and count > most:
        raise Invalid("", f"more than {most} {unit}")
