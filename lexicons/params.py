"""The query string of a method, read by its schema (/specs/xrpc#lexicon-http-endpoints).

Repeated names are arrays, booleans are `true` or `false` and nothing else, integers have
one spelling, defaults are filled in, names that the schema does not know are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lexicons.checks import Compiler
from lexicons.datamodel import MAX_INT, MIN_INT
from lexicons.scalars import Check, Invalid, Schema

RawParams = Mapping[str, list[str]]
ReadParams = Callable[[RawParams], dict[str, Any]]

_integer_text = re.compile(r"0|-?[1-9][0-9]{0,18}").fullmatch


def compile_params(schema: Schema | None, compiler: Compiler, ref: str) -> ReadParams:
    """The reader of a method's parameters; a method without any takes, and ignores, all."""
    if schema is None:
        return lambda raw: {}
    readers: dict[str, Callable[[list[str]], Any]] = {}
    defaults: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        check = compiler.schema(field, ref)
        if field["type"] == "array":
            readers[name] = _array(_PARSERS[field["items"]["type"]], check)
        else:
            readers[name] = _single(_PARSERS[field["type"]], check)
        if "default" in field:
            defaults[name] = field["default"]
    required = tuple(schema.get("required", ()))

    def read(raw: RawParams) -> dict[str, Any]:
        params = dict(defaults)
        for name, reader in readers.items():
            texts = raw.get(name)
            if texts:
                try:
                    params[name] = reader(texts)
                except Invalid as error:
                    raise error.within(name) from None
        for name in required:
            if name not in params:
                raise Invalid(name, "is missing")
        return params

    return read


def _single(parse: Callable[[str], Any], check: Check) -> Callable[[list[str]], Any]:
    def read(texts: list[str]) -> Any:
        if len(texts) > 1:
            raise Invalid("", "given more than once")
        value = parse(texts[0])
        check(value)
        return value

    return read


def _array(parse: Callable[[str], Any], check: Check) -> Callable[[list[str]], Any]:
    def read(texts: list[str]) -> Any:
        values = [parse(text) for text in texts]
        check(values)
        return values

    return read


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise Invalid("", "expected true or false")
    return text == "true"


def _integer(text: str) -> int:
    if _integer_text(text) is None or not MIN_INT <= int(text) <= MAX_INT:
        raise Invalid("", "expected an integer")
    return int(text)


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("", "expected UTF-8") from None
    return text


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "string": _string,
    "unknown": _string,
}
