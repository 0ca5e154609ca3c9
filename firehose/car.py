"""A CAR v1 file in memory becomes its blocks, each one proven by its hash.

libipld's reader does not check hashes and stops quietly at a bad length; ours refuses both. What it
cannot see is a file cut between two blocks: whoever then needs a block finds it missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, cast

import libipld
import msgspec

from lexicons.dagcbor import encode
from lexicons.values import Link, cid_str

DAG_CBOR = b"\x01\x71\x12\x20"
RAW = b"\x01\x55\x12\x20"

# {"roots": [CID], "version": 1}, as every known writer encodes it
_HEADER_START = b"\x3a\xa2eroots\x81\xd8\x2a\x58\x25\x00"
_HEADER_END = b"gversion\x01"
_HEADER = re.compile(
    re.escape(_HEADER_START) + b"(" + re.escape(DAG_CBOR) + b".{32})" + re.escape(_HEADER_END), re.DOTALL
).match


class BadCar(ValueError):
    """The bytes are no whole CAR v1 file, or a block is not what its CID says."""


class Car(msgspec.Struct, frozen=True, gc=False):
    """Roots and blocks by CID (36 bytes: CIDv1, dag-cbor or raw, sha-256).

    Blocks stand in any order, may repeat, and may be more than anybody needs.
    """

    roots: tuple[bytes, ...]
    blocks: dict[bytes, bytes]


def block_cid(block: bytes) -> bytes:
    """The 36 bytes of the dag-cbor CID of `block`."""
    return DAG_CBOR + sha256(block).digest()


def read_car(data: bytes) -> Car:
    """Splits `data` and checks every block against its CID; raises `BadCar` (CAR v1 spec; rule B3)."""
    roots, offset = read_header(data)
    blocks: dict[bytes, bytes] = {}
    sha, dag_cbor = sha256, DAG_CBOR
    end = len(data)
    while offset < end:
        # nearly all lengths have one or two bytes
        size = data[offset]
        offset += 1
        if size > 127:
            high = data[offset] if offset < end else 0
            if 0 < high < 128:
                size += (high - 1) << 7
                offset += 1
            else:
                size, offset = read_varint(data, offset - 1)
        elif size < 36:
            raise BadCar("a section is too short for a CID and a block")
        start = offset + 36
        cid = data[offset:start]
        offset += size
        block = data[start:offset]
        found = dag_cbor + sha(block).digest()
        if found != cid and RAW + found[4:] != cid:
            raise BadCar("cut inside a block" if offset > end else _complaint(cid))
        blocks[cid] = block
    if offset > end:
        raise BadCar("cut inside a block")
    return Car(roots, blocks)


def read_header(data: bytes) -> tuple[tuple[bytes, ...], int]:
    """The roots, and the offset of the first section; raises `BadCar`. `data` may go on or stop there."""
    usual = _HEADER(data)
    if usual is not None:
        return (usual[1],), usual.end()
    size, start = read_varint(data, 0)
    if start + size > len(data):
        raise BadCar("cut inside the header")
    return _roots(data[start : start + size]), start + size


def write_car(root: bytes, blocks: dict[bytes, bytes]) -> bytes:
    """A CAR v1 file with one root and the blocks in the order of the dict."""
    parts = [_HEADER_START, root, _HEADER_END]
    for cid, block in blocks.items():
        parts.append(write_section(cid, block))
    return b"".join(parts)


def write_header(roots: Sequence[bytes]) -> bytes:
    """The start of a CAR v1 file with these roots, at least one; sections go behind it."""
    header = encode({"roots": [Link(cid_str(cid)) for cid in roots], "version": 1})
    return _to_varint(len(header)) + header


def write_section(cid: bytes, block: bytes) -> bytes:
    return _to_varint(36 + len(block)) + cid + block


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """An unsigned, minimal LEB128 number of at most 9 bytes, and the offset behind it."""
    value = shift = 0
    for position in range(offset, min(offset + 9, len(data))):
        byte = data[position]
        value |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 and shift:
                raise BadCar("a length is not minimal")
            return value, position + 1
        shift += 7
    raise BadCar("a length is cut or too long")


def _roots(header: bytes) -> tuple[bytes, ...]:
    try:
        value = libipld.decode_dag_cbor(header)
    except (ValueError, RecursionError) as error:
        raise BadCar(f"header is not DAG-CBOR: {error}") from None
    if type(value) is not dict or cast("dict[str, Any]", value).get("version") != 1:
        raise BadCar("not a CAR of version 1")
    roots = cast("dict[str, Any]", value).get("roots")
    if type(roots) is not list or not roots:
        raise BadCar("header without roots")
    listed = cast("list[Any]", roots)
    if not all(type(root) is bytes and len(root) == 36 and root[:4] == DAG_CBOR for root in listed):
        raise BadCar("a root is no dag-cbor sha-256 CID")
    return tuple(listed)


def _complaint(cid: bytes) -> str:
    if cid[:4] not in (DAG_CBOR, RAW):
        return "a block's CID is not CIDv1, dag-cbor or raw, sha-256"
    return "a block does not hash to its CID"


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
