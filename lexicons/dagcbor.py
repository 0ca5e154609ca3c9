"""DAG-CBOR, strictly: one value has one encoding (/specs/data-model, DRISL).

`encode(decode(block)) == block` for whatever `decode` lets through. Links come from CBOR
tag 42 and bytes from byte strings, never by guess. libipld alone is not enough: it renders
both alike, and accepts floats, padded integers and any depth.

There are two ways to the same answer. The short one lets libipld decode and encode again:
equal bytes prove that nothing was padded, and that what looks like a CID was a link, as
libipld would have written one. Whatever that leaves open goes the long way, `strictcbor`,
which decides, and names the mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import libipld

from lexicons import strictcbor
from lexicons.syntax import Cid
from lexicons.values import (
    MAX_DEPTH,
    MAX_INT,
    MAX_ITEMS,
    MAX_KEY_BYTES,
    MIN_INT,
    InvalidData,
    Link,
    check_container,
    check_reserved,
    is_blessed_bytes,
    link_bytes,
    utf8,
)


class _OpenQuestion(Exception):
    """The short way cannot tell."""


def decode(block: bytes) -> Any:
    """The value of one DAG-CBOR block; raises InvalidData unless it is the only encoding of that value.

    Links may have a codec or hash that we do not know, as records may hold them
    (/specs/data-model#link-and-cid-formats). `cid_bytes` refuses those where they must not be.
    """
    try:
        value = libipld.decode_dag_cbor(block)
        if libipld.encode_dag_cbor(value) == block:
            return _settled(value, 0)
    except (ValueError, RecursionError, _OpenQuestion):
        pass  # the long way says why
    return strictcbor.read(block)


def encode(value: object) -> bytes:
    """The DAG-CBOR bytes of a value; raises InvalidData for what the data model has no place for."""
    out = bytearray()
    _write(value, out, 0)
    return bytes(out)


def _settled(value: Any, depth: int) -> Any:
    """A value of libipld's, checked, its links told from bytes in place; raises _OpenQuestion."""
    kind = type(cast("object", value))
    if kind is str or value is None or kind is bool:
        return value
    if kind is int and MIN_INT <= value <= MAX_INT:
        return value
    if kind is bytes and is_blessed_bytes(value):
        return Link(Cid(libipld.encode_cid(value)))
    if (kind is dict or kind is list) and depth < MAX_DEPTH and len(value) <= MAX_ITEMS:
        if kind is dict:
            return _settled_map(cast("dict[str, Any]", value), depth + 1)
        return [_settled(item, depth + 1) for item in value]
    raise _OpenQuestion


def _settled_map(entries: dict[str, Any], depth: int) -> dict[str, Any]:
    for key, item in entries.items():
        if len(key) > MAX_KEY_BYTES // 4:
            raise _OpenQuestion
        if type(item) is not str:
            entries[key] = _settled(item, depth)
    check_reserved(entries)
    return entries


def _write(value: object, out: bytearray, depth: int) -> None:
    kind = type(value)
    writer = _WRITERS.get(kind)
    if writer is None:
        raise InvalidData(f"no place for {kind.__name__} in the data model")
    writer(value, out, depth)


def _write_null(value: None, out: bytearray, depth: int) -> None:
    out.append(0xF6)


def _write_bool(value: bool, out: bytearray, depth: int) -> None:
    out.append(0xF5 if value else 0xF4)


def _write_int(value: int, out: bytearray, depth: int) -> None:
    if not MIN_INT <= value <= MAX_INT:
        raise InvalidData("integer beyond 64 bits")
    if value < 0:
        _write_head(0x20, -1 - value, out)
    else:
        _write_head(0, value, out)


def _write_text(value: str, out: bytearray, depth: int) -> None:
    encoded = utf8(value)
    _write_head(0x60, len(encoded), out)
    out += encoded


def _write_bytes(value: bytes, out: bytearray, depth: int) -> None:
    _write_head(0x40, len(value), out)
    out += value


def _write_link(value: Link, out: bytearray, depth: int) -> None:
    raw = link_bytes(value.cid)
    out += b"\xd8\x2a"
    _write_bytes(b"\x00" + raw, out, depth)


def _write_list(value: list[object], out: bytearray, depth: int) -> None:
    check_container(len(value), depth + 1)
    _write_head(0x80, len(value), out)
    for item in value:
        _write(item, out, depth + 1)


def _write_dict(value: dict[object, object], out: bytearray, depth: int) -> None:
    check_container(len(value), depth + 1)
    entries: list[tuple[bytes, object]] = []
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidData("a key is not text")
        entries.append((utf8(key), item))
    check_reserved(cast("dict[str, object]", value))
    entries.sort(key=lambda entry: (len(entry[0]), entry[0]))
    _write_head(0xA0, len(entries), out)
    for key, item in entries:
        if len(key) > MAX_KEY_BYTES:
            raise InvalidData("key too long")
        _write_head(0x60, len(key), out)
        out += key
        _write(item, out, depth + 1)


def _write_head(major: int, argument: int, out: bytearray) -> None:
    if argument < 24:
        out.append(major | argument)
        return
    for power in range(4):
        if argument < 1 << (8 << power):
            out.append(major | 24 + power)
            out += argument.to_bytes(1 << power)
            return
    raise InvalidData("integer beyond 64 bits")


_WRITERS: dict[type, Callable[[Any, bytearray, int], None]] = {
    type(None): _write_null,
    bool: _write_bool,
    int: _write_int,
    str: _write_text,
    bytes: _write_bytes,
    Link: _write_link,
    list: _write_list,
    dict: _write_dict,
}
