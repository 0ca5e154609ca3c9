"""DAG-CBOR, strictly: one value has one encoding (/specs/data-model, DRISL).

`encode(decode(block)) == block` for whatever `decode` lets through. Links come from CBOR
tag 42 and bytes from byte strings, never by guess. libipld renders both alike and accepts
floats, padded integers and any depth, so it is not enough for records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import libipld

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
    is_cid_v1,
    link_bytes,
    utf8,
)


def decode(block: bytes) -> Any:
    """The value of one DAG-CBOR block; raises InvalidData unless it is the only encoding of that value.

    Links may have a codec or hash that we do not know, as records may hold them
    (/specs/data-model#link-and-cid-formats). `cid_bytes` refuses those where they must not be.
    """
    try:
        value, end = _item(block, 0, 0)
    except IndexError:
        raise InvalidData("cut short") from None
    except UnicodeDecodeError:
        raise InvalidData("text is not UTF-8") from None
    if end != len(block):
        raise InvalidData("bytes after the value")
    return value


def encode(value: object) -> bytes:
    """The DAG-CBOR bytes of a value; raises InvalidData for what the data model has no place for."""
    out = bytearray()
    _write(value, out, 0)
    return bytes(out)


def _item(b: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Decode the item at an offset: the value and the offset after it."""
    head = b[at]
    major = head >> 5
    if major == 7:
        if head in _SIMPLE:
            return _SIMPLE[head], at + 1
        raise InvalidData("a float or a simple value other than false, true, null")
    size, at = _argument(b, at)
    if major == 3:
        end = at + size
        _fits(b, end)
        return b[at:end].decode(), end
    if major == 0:
        if size > MAX_INT:
            raise InvalidData("integer beyond 64 bits")
        return size, at
    if major == 5:
        return _map(b, at, size, depth + 1)
    if major == 4:
        if depth >= MAX_DEPTH:
            raise InvalidData("nested too deep")
        if size > MAX_ITEMS:
            raise InvalidData("too many items")
        items: list[Any] = []
        for _ in range(size):
            item, at = _item(b, at, depth + 1)
            items.append(item)
        return items, at
    if major == 2:
        end = at + size
        _fits(b, end)
        return b[at:end], end
    if major == 1:
        if size > MAX_INT:
            raise InvalidData("integer beyond 64 bits")
        return -1 - size, at
    return _link(b, at, size)


def _map(b: bytes, at: int, size: int, depth: int) -> tuple[dict[str, Any], int]:
    """Decode the entries of a map. Keys must rise in encoded form, which is shorter first, then by bytes."""
    if depth > MAX_DEPTH:
        raise InvalidData("nested too deep")
    if size > MAX_ITEMS:
        raise InvalidData("too many items")
    entries: dict[str, Any] = {}
    previous = b""
    for _ in range(size):
        head = b[at]
        if 0x60 <= head < 0x78:
            end = at + head - 0x5F
            encoded = b[at:end]
            key = encoded[1:].decode()
        else:
            if head >> 5 != 3:
                raise InvalidData("a key is not text")
            length, start = _argument(b, at)
            if length > MAX_KEY_BYTES:
                raise InvalidData("key too long")
            end = start + length
            encoded = b[at:end]
            key = b[start:end].decode()
        if encoded <= previous:
            raise InvalidData("keys repeated or out of order")
        previous = encoded
        head = b[end]
        if 0x60 <= head < 0x78:  # short text, the commonest value by far
            at = end + head - 0x5F
            _fits(b, at)
            entries[key] = b[end + 1 : at].decode()
        else:
            entries[key], at = _item(b, end, depth)
    check_reserved(entries)
    return entries, at


def _link(b: bytes, at: int, tag: int) -> tuple[Link, int]:
    if tag != 42:
        raise InvalidData("a tag other than 42")
    if b[at] >> 5 != 2:
        raise InvalidData("a link is not a byte string")
    size, at = _argument(b, at)
    end = at + size
    _fits(b, end)
    if size < 2 or b[at] != 0:
        raise InvalidData("a link does not start with the identity multibase")
    raw = b[at + 1 : end]
    if not is_cid_v1(raw):
        raise InvalidData("a link that is not a CID of version 1")
    return Link(Cid(libipld.encode_multibase("b", raw))), end


def _argument(b: bytes, at: int) -> tuple[int, int]:
    """The argument of a head, and the offset after it; it must be in its shortest form."""
    info = b[at] & 31
    if info < 24:
        return info, at + 1
    if info > 27:
        raise InvalidData("indefinite length or reserved head")
    end = at + 1 + (1 << info - 24)
    _fits(b, end)
    value = int.from_bytes(b[at + 1 : end])
    if value < _SHORTEST[info - 24]:
        raise InvalidData("integer or length not in its shortest form")
    return value, end


def _fits(b: bytes, end: int) -> None:
    if end > len(b):
        raise InvalidData("cut short")


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


_SIMPLE: dict[int, bool | None] = {0xF4: False, 0xF5: True, 0xF6: None}
_SHORTEST = (24, 1 << 8, 1 << 16, 1 << 32)
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
