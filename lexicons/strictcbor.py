"""A reader of DAG-CBOR that says what is wrong: the long way of `dagcbor.decode`.

It checks each head as it goes, so its answer needs no second look: shortest integers and
lengths, keys that rise, no floats, no tags but 42, limits of depth and size.
"""

from __future__ import annotations

from typing import Any

import libipld

from lexicons.syntax import Cid
from lexicons.values import (
    MAX_DEPTH,
    MAX_INT,
    MAX_ITEMS,
    MAX_KEY_BYTES,
    InvalidData,
    Link,
    check_reserved,
    is_cid_v1,
)


def read(block: bytes) -> Any:
    """The value of one DAG-CBOR block; raises InvalidData."""
    try:
        value, end = _item(block, 0, 0)
    except IndexError:
        raise InvalidData("cut short") from None
    except UnicodeDecodeError:
        raise InvalidData("text is not UTF-8") from None
    if end != len(block):
        raise InvalidData("bytes after the value")
    return value


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
        if b[at] >> 5 != 3:
            raise InvalidData("a key is not text")
        length, start = _argument(b, at)
        if length > MAX_KEY_BYTES:
            raise InvalidData("key too long")
        end = start + length
        encoded = b[at:end]
        if encoded <= previous:
            raise InvalidData("keys repeated or out of order")
        previous = encoded
        key = b[start:end].decode()
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


_SIMPLE: dict[int, bool | None] = {0xF4: False, 0xF5: True, 0xF6: None}
_SHORTEST = (24, 1 << 8, 1 << 16, 1 << 32)
