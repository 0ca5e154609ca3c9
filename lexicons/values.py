"""What a value may be: links, limits, reserved names, and the CIDs that name blocks.

    None · bool · int (64 bits) · str · bytes · Link · list · dict with str keys

A CID is text (`bafy…`, `bafk…`) everywhere but inside CAR, MST and commit, where it is its
36 bytes. Nothing here knows an encoding: `dagcbor` and `datamodel` do.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

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


class InvalidData(ValueError):
    """A value, or the bytes or JSON that should be one, is outside of the data model."""


class Link(msgspec.Struct, frozen=True):
    """A CID inside a value (`$link` in JSON); a CID in a string is just a string."""

    cid: Cid


def cid_of(block: bytes, codec: Literal["dag-cbor", "raw"] = "dag-cbor") -> Cid:
    """The CID of these bytes: version 1, sha-256."""
    prefix = DAG_CBOR if codec == "dag-cbor" else RAW
    return Cid(libipld.encode_cid(prefix + hashlib.sha256(block).digest()))


def raw_cid(sha256: str) -> Cid:
    """The CID of bytes whose sha-256 is this, in hex: of a blob."""
    return Cid(libipld.encode_cid(RAW + bytes.fromhex(sha256)))


def cid_str(raw: bytes) -> Cid:
    """The text of a CID given as the 36 bytes that the network uses; raises InvalidData for any other."""
    if not is_blessed_bytes(raw):
        raise InvalidData("not a CID of version 1, dag-cbor or raw, sha-256")
    return Cid(libipld.encode_cid(raw))


def cid_bytes(cid: Cid | str) -> bytes:
    """The 36 bytes of a CID in base32; raises InvalidData for other bases, versions, codecs and hashes."""
    raw = _base32(cid)
    if not is_blessed_bytes(raw):
        raise InvalidData("not a CID of version 1, dag-cbor or raw, sha-256")
    return raw


def link_bytes(cid: str) -> bytes:
    """The bytes of a CID in base32, of any codec and hash; raises InvalidData."""
    raw = _base32(cid)
    if not is_cid_v1(raw):
        raise InvalidData("not a CID of version 1")
    return raw


def is_blessed(cid: Cid) -> bool:
    """True for the text of a CID as the network uses it; the caller knows that it is the text of some CID."""
    return len(cid) == 59 and cid.startswith(("bafyrei", "bafkrei"))


def check_reserved(entries: dict[str, Any]) -> None:
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


def check_container(items: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidData("nested too deep")
    if items > MAX_ITEMS:
        raise InvalidData("too many items")


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidData("text with a lone surrogate") from None


def is_blessed_bytes(raw: bytes) -> bool:
    """True for the 36 bytes of a CID as the network uses it: version 1, dag-cbor or raw, sha-256."""
    return len(raw) == 36 and raw.startswith((DAG_CBOR, RAW))


def is_cid_v1(raw: bytes) -> bool:
    """True for a whole CID of version 1, whatever its codec and hash, in at most 100 bytes."""
    if is_blessed_bytes(raw):
        return True
    if len(raw) > MAX_CID_BYTES or raw[:1] != b"\x01":
        return False
    codec_end = _varint_end(raw, 1)
    hash_end = _varint_end(raw, codec_end)
    length_end = _varint_end(raw, hash_end)
    if length_end == 0:
        return False
    # A digest longer than 127 bytes does not fit, so its length is one byte.
    return length_end - hash_end == 1 and length_end + raw[hash_end] == len(raw)


def _varint_end(raw: bytes, start: int) -> int:
    """The offset after a varint in its shortest form; 0 where there is none, or none before it."""
    if start == 0:
        return 0
    for at in range(start, min(start + 9, len(raw))):
        if raw[at] < 128:
            return 0 if raw[at] == 0 and at > start else at + 1
    return 0


def _base32(cid: str) -> bytes:
    """The bytes of a multibase text in base32, lower case, without padding: the one form that links have."""
    if not cid.startswith("b") or not cid.isascii():
        raise InvalidData("not a CID in base32")
    try:
        _, raw = libipld.decode_multibase(cid)
    except ValueError:
        raise InvalidData("not a CID in base32") from None
    if libipld.encode_multibase("b", raw) != cid:
        raise InvalidData("not a CID in base32")
    return raw
