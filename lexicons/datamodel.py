"""The data model of the network: values, their one DAG-CBOR form, their JSON form, their CIDs.

The door to `values` (what there is), `dagcbor` (bytes) and the JSON form, which is here.
Every failure is an `InvalidData` (/specs/data-model).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any, cast

from lexicons.dagcbor import decode, encode
from lexicons.syntax import Cid
from lexicons.values import (
    MAX_INT,
    MAX_KEY_BYTES,
    MIN_INT,
    InvalidData,
    Link,
    check_container,
    check_reserved,
    cid_bytes,
    cid_of,
    cid_str,
    is_blessed,
    link_bytes,
    raw_cid,
    utf8,
)

__all__ = [
    "MAX_INT",
    "MIN_INT",
    "InvalidData",
    "Link",
    "cid_bytes",
    "cid_of",
    "cid_str",
    "decode",
    "encode",
    "from_json",
    "is_blessed",
    "raw_cid",
    "to_json",
]

_SAFE_FLOAT = float(1 << 53)


def to_json(value: object) -> Any:
    """The JSON form, with `$link` and `$bytes`; orjson can dump what `decode` or `from_json` gave."""
    kind = type(value)
    if kind is dict:
        return {key: to_json(item) for key, item in cast("dict[str, object]", value).items()}
    if kind is list:
        return [to_json(item) for item in cast("list[object]", value)]
    if kind is Link:
        return {"$link": cast("Link", value).cid}
    if kind is bytes:
        return {"$bytes": b64encode(cast("bytes", value)).rstrip(b"=").decode()}
    return value


def from_json(value: object) -> dict[str, Any]:
    """The value of a JSON object, as orjson gives it; raises InvalidData.

    Whole floats become integers, as JSON does not tell 1.0 from 1. Lone surrogates, NaN
    and integers beyond 64 bits, which a JSON parser may let through, are refused here.
    """
    if type(value) is not dict:
        raise InvalidData("not an object")
    return _from_json(cast("object", value), 1)


def _from_json(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        utf8(cast("str", value))
        return value
    if kind is dict:
        return _from_json_object(cast("dict[object, object]", value), depth)
    if kind is list:
        items = cast("list[object]", value)
        check_container(len(items), depth)
        return [_from_json(item, depth + 1) for item in items]
    if kind is int:
        if not MIN_INT <= cast("int", value) <= MAX_INT:
            raise InvalidData("integer beyond 64 bits")
        return value
    if value is None or kind is bool:
        return value
    if kind is float:
        number = cast("float", value)
        if not -_SAFE_FLOAT <= number <= _SAFE_FLOAT or not number.is_integer():
            raise InvalidData("not an integer")
        return int(number)
    raise InvalidData(f"no place for {kind.__name__} in JSON")


def _from_json_object(value: dict[object, object], depth: int) -> Any:
    check_container(len(value), depth)
    if "$link" in value:
        return _link_from_json(value)
    if "$bytes" in value:
        return _bytes_from_json(value)
    entries: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidData("a key is not text")
        if len(utf8(key)) > MAX_KEY_BYTES:
            raise InvalidData("key too long")
        entries[key] = _from_json(item, depth + 1)
    check_reserved(entries)
    return entries


def _link_from_json(value: dict[object, object]) -> Link:
    cid = value["$link"]
    if len(value) != 1 or type(cid) is not str:
        raise InvalidData("$link is not one CID alone")
    link_bytes(cid)
    return Link(Cid(cid))


def _bytes_from_json(value: dict[object, object]) -> bytes:
    text = value["$bytes"]
    if len(value) != 1 or type(text) is not str:
        raise InvalidData("$bytes is not one base64 text alone")
    try:
        return b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidData("$bytes is not base64") from None
