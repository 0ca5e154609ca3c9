"""The data model of the network: values, their one DAG-CBOR form, their JSON form, their CIDs.

    None · bool · int (64 bits) · str · bytes · Link · list · dict with str keys

`decode` is strict (/specs/data-model, DRISL): one value has one encoding, so
`encode(decode(block)) == block` for whatever it lets through. Links come from CBOR tag 42
and bytes from byte strings, never by guess. libipld renders both alike and accepts floats,
padded integers and any depth, which is why records are not read with it.

Every failure is an `InvalidData`.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Literal, cast

import libipld
import msgspec

from lexicons.syntax import Cid

MAX_DEPTH = 32
MAX_ITEMS = 131_072
MAX_KEY_BYTES = 8192
MAX_CID_BYTES = 100
MIN_INT = -(1 << 63)
MAX_INT = (1 << 63) - 1

DAG_CBOR = b"\x01\x71\x12\x20"
RAW = b"\x01\x55\x12\x20"
_SAFE_FLOAT = float(1 << 53)


class InvalidData(ValueError):
    """A value, or the bytes or JSON that should be one, is outside of the data model."""


class Link(msgspec.Struct, frozen=True):
    """A CID inside a value (`$link` in JSON); a CID in a string is just a string."""

    cid: Cid


def cid_of(block: bytes, codec: Literal["dag-cbor", "raw"] = "dag-cbor") -> Cid:
    """The CID of these bytes: version 1, sha-256."""
    prefix = DAG_CBOR if codec == "dag-cbor" else RAW
    return Cid(libipld.encode_cid(prefix + hashlib.sha256(block).digest()))


def cid_str(raw: bytes) -> Cid:
    """The text of a CID given as the 36 bytes that the network uses; raises InvalidData for any other."""
    if not _is_blessed(raw):
        raise InvalidData("not a CID of version 1, dag-cbor or raw, sha-256")
    return Cid(libipld.encode_cid(raw))


def cid_bytes(cid: Cid | str) -> bytes:
    """The 36 bytes of a CID in base32; raises InvalidData for other bases, versions, codecs and hashes."""
    raw = _base32(cid)
    if not _is_blessed(raw):
        raise InvalidData("not a CID of version 1, dag-cbor or raw, sha-256")
    return raw


def is_blessed(cid: Cid) -> bool:
    """True for the text of a CID as the network uses it; the caller knows that it is the text of some CID."""
    return len(cid) == 59 and cid.startswith(("bafyrei", "bafkrei"))


def decode(block: bytes, *, any_cid: bool = False) -> Any:
    """The value of one DAG-CBOR block; raises InvalidData unless it is the only encoding of that value.

    `any_cid` lets links through whose codec or hash we do not know, as records may hold
    them (/specs/data-model#link-and-cid-formats); commits and trees may not.
    """
    try:
        value, end = _item(block, 0, 0, any_cid)
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


def to_json(value: object) -> Any:
    """The JSON form: links as `$link`, bytes as `$bytes`; orjson can dump whatever came from `decode` or `from_json`."""
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


def _item(b: bytes, at: int, depth: int, any_cid: bool) -> tuple[Any, int]:
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
        return _map(b, at, size, depth + 1, any_cid)
    if major == 4:
        if depth >= MAX_DEPTH:
            raise InvalidData("nested too deep")
        if size > MAX_ITEMS:
            raise InvalidData("too many items")
        items: list[Any] = []
        for _ in range(size):
            item, at = _item(b, at, depth + 1, any_cid)
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
    return _link(b, at, size, any_cid)


def _map(b: bytes, at: int, size: int, depth: int, any_cid: bool) -> tuple[dict[str, Any], int]:
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
            entries[key], at = _item(b, end, depth, any_cid)
    _check_reserved(entries)
    return entries, at


def _link(b: bytes, at: int, tag: int, any_cid: bool) -> tuple[Link, int]:
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
    if not (_is_blessed(raw) or (any_cid and _is_tolerable(raw))):
        raise InvalidData("a link that is not a CID of version 1, dag-cbor or raw, sha-256")
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
    encoded = _utf8(value)
    _write_head(0x60, len(encoded), out)
    out += encoded


def _write_bytes(value: bytes, out: bytearray, depth: int) -> None:
    _write_head(0x40, len(value), out)
    out += value


def _write_link(value: Link, out: bytearray, depth: int) -> None:
    raw = _base32(value.cid)
    if not (_is_blessed(raw) or _is_tolerable(raw)):
        raise InvalidData("not a CID of version 1")
    out += b"\xd8\x2a"
    _write_bytes(b"\x00" + raw, out, depth)


def _write_list(value: list[object], out: bytearray, depth: int) -> None:
    _check_container(len(value), depth + 1)
    _write_head(0x80, len(value), out)
    for item in value:
        _write(item, out, depth + 1)


def _write_dict(value: dict[object, object], out: bytearray, depth: int) -> None:
    _check_container(len(value), depth + 1)
    entries: list[tuple[bytes, object]] = []
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidData("a key is not text")
        entries.append((_utf8(key), item))
    _check_reserved(cast("dict[str, object]", value))
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


def _from_json(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        _utf8(cast("str", value))
        return value
    if kind is dict:
        return _from_json_object(cast("dict[object, object]", value), depth)
    if kind is list:
        items = cast("list[object]", value)
        _check_container(len(items), depth)
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
    _check_container(len(value), depth)
    if "$link" in value:
        return _link_from_json(value)
    if "$bytes" in value:
        return _bytes_from_json(value)
    entries: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidData("a key is not text")
        if len(_utf8(key)) > MAX_KEY_BYTES:
            raise InvalidData("key too long")
        entries[key] = _from_json(item, depth + 1)
    _check_reserved(entries)
    return entries


def _link_from_json(value: dict[object, object]) -> Link:
    cid = value["$link"]
    if len(value) != 1 or type(cid) is not str:
        raise InvalidData("$link is not one CID alone")
    raw = _base32(cid)
    if not (_is_blessed(raw) or _is_tolerable(raw)):
        raise InvalidData("$link is not a CID of version 1")
    return Link(Cid(cid))


def _bytes_from_json(value: dict[object, object]) -> bytes:
    text = value["$bytes"]
    if len(value) != 1 or type(text) is not str:
        raise InvalidData("$bytes is not one base64 text alone")
    try:
        return b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidData("$bytes is not base64") from None


def _check_reserved(entries: dict[str, Any]) -> None:
    """Refuse maps that use the reserved `$` names otherwise than the data model does (/specs/data-model)."""
    if "$link" in entries or "$bytes" in entries:
        raise InvalidData("a map that JSON could not tell from a link or bytes")
    if "$type" in entries:
        kind = entries["$type"]
        if type(kind) is not str or not kind:
            raise InvalidData("$type is not a name")
        if kind == "blob":
            _check_blob(entries)


def _check_blob(entries: dict[str, Any]) -> None:
    size = entries.get("size")
    if (
        type(entries.get("ref")) is not Link
        or type(entries.get("mimeType")) is not str
        or type(size) is not int
        or size < 0
    ):
        raise InvalidData("a blob without ref, mimeType and size")


def _check_container(items: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidData("nested too deep")
    if items > MAX_ITEMS:
        raise InvalidData("too many items")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidData("text with a lone surrogate") from None


def _is_blessed(raw: bytes) -> bool:
    return len(raw) == 36 and (raw.startswith(DAG_CBOR) or raw.startswith(RAW))


def _is_tolerable(raw: bytes) -> bool:
    """True for a whole CID of version 1, whatever its codec and hash, in at most 100 bytes."""
    if len(raw) > MAX_CID_BYTES or raw[:1] != b"\x01":
        return False
    at = 1
    numbers: list[int] = []
    for _ in range(3):  # codec, hash function, digest length: varints in shortest form
        number = shift = 0
        while True:
            if at >= len(raw) or shift > 56:
                return False
            byte = raw[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if byte == 0 and shift:
            return False
        numbers.append(number)
    return at + numbers[2] == len(raw)


def _base32(cid: str) -> bytes:
    """The bytes of a CID in base32, lower case, without padding: the one text form that links have."""
    if not cid.startswith("b") or not cid.isascii() or cid != cid.lower():
        raise InvalidData("not a CID in base32")
    try:
        _, raw = libipld.decode_multibase(cid)
    except ValueError:
        raise InvalidData("not a CID in base32") from None
    if libipld.encode_multibase("b", raw) != cid:
        raise InvalidData("not a CID in base32")
    return raw


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
