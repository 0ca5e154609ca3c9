"""Schema documents themselves: is this JSON a Lexicon (/specs/lexicon)?

`check_document` answers before anything is compiled, so that a mistake in a file ends the
start with the place of the mistake, and not a request much later. Fields that we don't
know pass: the language grows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from lexicons.syntax import FORMATS, is_language, is_nsid

PRIMARY = frozenset({"record", "query", "procedure", "subscription", "permission-set"})
NAMED = frozenset(
    {"null", "boolean", "integer", "string", "bytes", "cid-link", "blob", "array", "object", "token"}
)
FIELDS = (NAMED - {"token"}) | {"ref", "union", "unknown"}
PARAMS = frozenset({"boolean", "integer", "string", "unknown"})

_name = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,127}").fullmatch
_mime_pattern = re.compile(r"\*/\*|[a-z]+/(?:\*|[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]*)").fullmatch
_key = re.compile(r"any|nsid|tid|literal:[a-zA-Z0-9._:~-]{1,512}").fullmatch
_error_name = re.compile(r"[a-zA-Z][a-zA-Z0-9]*").fullmatch


class InvalidLexicon(ValueError):
    """A schema document breaks a rule of the Lexicon language."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def check_document(document: object) -> None:
    """Raise InvalidLexicon, with the path of the first mistake, unless this is a schema document."""
    root = _object(document, "document")
    if type(root.get("lexicon")) is not int or root["lexicon"] != 1:
        raise InvalidLexicon("lexicon", "expected 1")
    nsid = root.get("id")
    if type(nsid) is not str or not is_nsid(nsid):
        raise InvalidLexicon("id", "expected an NSID")
    if "revision" in root:
        _integer(root["revision"], "revision")
    _maybe_text(root, "description", "")
    definitions = _object(root.get("defs"), "defs")
    if not definitions:
        raise InvalidLexicon("defs", "is empty")
    for name, definition in definitions.items():
        path = f"defs/{name}"
        if _name(name) is None:
            raise InvalidLexicon(path, "no name for a definition")
        kind = _type(definition, path)
        if kind in PRIMARY:
            if name != "main":
                raise InvalidLexicon(path, f"a {kind} is only ever main")
        elif kind not in NAMED:
            raise InvalidLexicon(path, f"{kind!r} cannot be defined by itself")
        _CHECKS[kind](cast("Mapping[str, Any]", definition), path)


def _field(value: object, path: str, allowed: frozenset[str] = FIELDS) -> None:
    kind = _type(value, path)
    if kind not in allowed:
        raise InvalidLexicon(path, f"{kind!r} is not possible here")
    _CHECKS[kind](cast("Mapping[str, Any]", value), path)


def _simple(schema: Mapping[str, Any], path: str) -> None:
    """Types without constraints."""


def _boolean(schema: Mapping[str, Any], path: str) -> None:
    _exclusive(schema, "const", "default", path)
    for name in ("const", "default"):
        if name in schema and type(schema[name]) is not bool:
            raise InvalidLexicon(f"{path}/{name}", "expected true or false")


def _integer_schema(schema: Mapping[str, Any], path: str) -> None:
    _exclusive(schema, "const", "default", path)
    _range(schema, "minimum", "maximum", path, least=None)
    for name in ("const", "default"):
        if name in schema:
            _integer(schema[name], f"{path}/{name}")
    _list_of(schema, "enum", int, path)
    _default_fits(schema, path)


def _string(schema: Mapping[str, Any], path: str) -> None:
    _exclusive(schema, "const", "default", path)
    _range(schema, "minLength", "maxLength", path)
    _range(schema, "minGraphemes", "maxGraphemes", path)
    for name in ("const", "default"):
        _maybe_text(schema, name, path)
    _list_of(schema, "enum", str, path)
    _list_of(schema, "knownValues", str, path)
    if "format" in schema and (type(schema["format"]) is not str or schema["format"] not in FORMATS):
        raise InvalidLexicon(f"{path}/format", "unknown format")
    _default_fits(schema, path)


def _sized(schema: Mapping[str, Any], path: str) -> None:
    _range(schema, "minLength", "maxLength", path)


def _blob(schema: Mapping[str, Any], path: str) -> None:
    _list_of(schema, "accept", str, path)
    for pattern in schema.get("accept", ()):
        if _mime_pattern(pattern) is None:
            raise InvalidLexicon(f"{path}/accept", f"{pattern!r} is no media type")
    if "maxSize" in schema and _integer(schema["maxSize"], f"{path}/maxSize") < 0:
        raise InvalidLexicon(f"{path}/maxSize", "is negative")


def _array(schema: Mapping[str, Any], path: str) -> None:
    _range(schema, "minLength", "maxLength", path)
    _field(schema.get("items"), f"{path}/items")


def _properties(schema: Mapping[str, Any], path: str) -> None:
    properties = _object(schema.get("properties", {}), f"{path}/properties")
    for name, field in properties.items():
        _field(field, f"{path}/properties/{name}")
    for list_name in ("required", "nullable"):
        _list_of(schema, list_name, str, path)
        for name in schema.get(list_name, ()):
            if name not in properties:
                raise InvalidLexicon(f"{path}/{list_name}", f"there is no property {name!r}")


def _params(schema: Mapping[str, Any], path: str) -> None:
    if _type(schema, path) != "params":
        raise InvalidLexicon(path, "expected params")
    properties = _object(schema.get("properties", {}), f"{path}/properties")
    for name, field in properties.items():
        at = f"{path}/properties/{name}"
        if _type(field, at) == "array":
            _range(field, "minLength", "maxLength", at)
            _field(field.get("items"), f"{at}/items", PARAMS)
        else:
            _field(field, at, PARAMS)
    _list_of(schema, "required", str, path)
    for name in schema.get("required", ()):
        if name not in properties:
            raise InvalidLexicon(f"{path}/required", f"there is no property {name!r}")


def _ref(schema: Mapping[str, Any], path: str) -> None:
    _reference(schema.get("ref"), f"{path}/ref")


def _union(schema: Mapping[str, Any], path: str) -> None:
    refs = schema.get("refs")
    if type(refs) is not list:
        raise InvalidLexicon(f"{path}/refs", "expected a list")
    closed = schema.get("closed", False)
    if type(closed) is not bool:
        raise InvalidLexicon(f"{path}/closed", "expected true or false")
    for member in cast("list[object]", refs):
        _reference(member, f"{path}/refs")
    if closed and not refs:
        raise InvalidLexicon(f"{path}/refs", "a closed union of nothing")


def _record(schema: Mapping[str, Any], path: str) -> None:
    key = schema.get("key")
    if type(key) is not str or _key(key) is None:
        raise InvalidLexicon(f"{path}/key", "expected any, nsid, tid or literal:…")
    if _type(schema.get("record"), f"{path}/record") != "object":
        raise InvalidLexicon(f"{path}/record", "expected an object")
    _properties(schema["record"], f"{path}/record")


def _method(schema: Mapping[str, Any], path: str) -> None:
    if "parameters" in schema:
        _params(schema["parameters"], f"{path}/parameters")
    for name in ("input", "output"):
        if name in schema:
            _body(schema[name], f"{path}/{name}")
    _errors(schema, path)


def _query(schema: Mapping[str, Any], path: str) -> None:
    if "input" in schema:
        raise InvalidLexicon(f"{path}/input", "a query takes no body")
    _method(schema, path)


def _subscription(schema: Mapping[str, Any], path: str) -> None:
    if "parameters" in schema:
        _params(schema["parameters"], f"{path}/parameters")
    if "message" in schema:
        message = _object(schema["message"], f"{path}/message")
        _field(message.get("schema"), f"{path}/message/schema", frozenset({"union"}))
    _errors(schema, path)


def _body(value: object, path: str) -> None:
    body = _object(value, path)
    if type(body.get("encoding")) is not str:
        raise InvalidLexicon(f"{path}/encoding", "expected a media type")
    if "schema" in body:
        _field(body["schema"], f"{path}/schema", frozenset({"object", "ref", "union"}))


def _errors(schema: Mapping[str, Any], path: str) -> None:
    _list_of(schema, "errors", dict, path)
    for error in schema.get("errors", ()):
        name = error.get("name")
        if type(name) is not str or _error_name(name) is None:
            raise InvalidLexicon(f"{path}/errors", "an error without a name")


def _permission_set(schema: Mapping[str, Any], path: str) -> None:
    for name in ("title", "detail"):
        _maybe_text(schema, name, path)
        for language in _object(schema.get(f"{name}:lang", {}), f"{path}/{name}:lang"):
            if not is_language(language):
                raise InvalidLexicon(f"{path}/{name}:lang", f"{language!r} is no language")
    permissions = schema.get("permissions")
    if type(permissions) is not list:
        raise InvalidLexicon(f"{path}/permissions", "expected a list")
    for index, permission in enumerate(cast("list[object]", permissions)):
        at = f"{path}/permissions/{index}"
        if _type(permission, at) != "permission":
            raise InvalidLexicon(at, "expected a permission")
        fields = cast("Mapping[str, Any]", permission)
        if type(fields.get("resource")) is not str:
            raise InvalidLexicon(f"{at}/resource", "expected a name")
        for name in ("collection", "lxm", "action"):
            _list_of(fields, name, str, at)
        for name in (*fields.get("collection", ()), *fields.get("lxm", ())):
            if name != "*" and not is_nsid(name):
                raise InvalidLexicon(at, f"{name!r} is no NSID")


def _reference(value: object, path: str) -> None:
    if type(value) is not str:
        raise InvalidLexicon(path, "expected a reference")
    nsid, hash_sign, name = value.partition("#")
    if (nsid and not is_nsid(nsid)) or (hash_sign and _name(name) is None) or not value:
        raise InvalidLexicon(path, f"{value!r} is no reference")


def _type(value: object, path: str) -> str:
    kind = _object(value, path).get("type")
    if type(kind) is not str:
        raise InvalidLexicon(f"{path}/type", "expected the name of a type")
    return kind


def _object(value: object, path: str) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise InvalidLexicon(path, "expected an object")
    return cast("Mapping[str, Any]", value)


def _integer(value: object, path: str) -> int:
    if type(value) is not int:
        raise InvalidLexicon(path, "expected an integer")
    return value


def _maybe_text(schema: Mapping[str, Any], name: str, path: str) -> None:
    if name in schema and type(schema[name]) is not str:
        raise InvalidLexicon(f"{path}/{name}", "expected a string")


def _range(schema: Mapping[str, Any], low: str, high: str, path: str, least: int | None = 0) -> None:
    for name in (low, high):
        if name in schema:
            bound = _integer(schema[name], f"{path}/{name}")
            if least is not None and bound < least:
                raise InvalidLexicon(f"{path}/{name}", f"is below {least}")
    if low in schema and high in schema and schema[low] > schema[high]:
        raise InvalidLexicon(f"{path}/{low}", f"is above {high}")


def _list_of(schema: Mapping[str, Any], name: str, kind: type, path: str) -> None:
    if name not in schema:
        return
    values = schema[name]
    if type(values) is not list or any(type(item) is not kind for item in cast("list[object]", values)):
        raise InvalidLexicon(f"{path}/{name}", f"expected a list of {kind.__name__}")


def _exclusive(schema: Mapping[str, Any], one: str, other: str, path: str) -> None:
    if one in schema and other in schema:
        raise InvalidLexicon(path, f"{one} and {other} exclude each other")


def _default_fits(schema: Mapping[str, Any], path: str) -> None:
    if "default" in schema and "enum" in schema and schema["default"] not in schema["enum"]:
        raise InvalidLexicon(f"{path}/default", "is not in enum")


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "null": _simple,
    "boolean": _boolean,
    "integer": _integer_schema,
    "string": _string,
    "bytes": _sized,
    "cid-link": _simple,
    "blob": _blob,
    "array": _array,
    "object": _properties,
    "token": _simple,
    "ref": _ref,
    "union": _union,
    "unknown": _simple,
    "record": _record,
    "query": _query,
    "procedure": _method,
    "subscription": _subscription,
    "permission-set": _permission_set,
}
