"""Repos too large to hold: their CAR is written record by record, the tree built from below on the way.

    with path.open("w+b") as file:
        write_repo(file, did, key, rev, ((path, block) for …sorted by path…))

The tree is the same that inserting the keys one by one would give.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, BinaryIO

from firehose.car import DAG_CBOR, write_car
from firehose.node import EMPTY, EMPTY_NODE, Node, key_height, node_bytes
from tests.fakenet.repo import SigningKey, signed_block


class _Writer:
    """Appends blocks to the file; knows nothing of them afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.blocks = 0

    def put(self, raw: bytes) -> bytes:
        cid = DAG_CBOR + sha256(raw).digest()
        size = 36 + len(raw)
        head = bytearray()
        while size > 127:
            head.append(size & 127 | 128)
            size >>= 7
        self._file.write(b"".join((head, bytes((size,)), cid, raw)))
        self.blocks += 1
        return cid


def write_repo(
    file: BinaryIO, did: str, key: SigningKey, rev: str, records: Iterable[tuple[str, bytes]]
) -> tuple[bytes, int]:
    """Writes the CAR, commit first; returns the commit's CID and how many blocks there are."""
    start = file.tell()
    file.write(_head(did, key, rev, EMPTY)[1])
    writer = _Writer(file)
    layers: list[Node] = []
    for path, block in records:
        name = path.encode()
        height = key_height(name)
        while len(layers) <= height:
            layers.append(_empty(len(layers)))
        below = _close(layers, height, writer)
        layers[height].subs[-1] = below
        layers[height].keys.append(name)
        layers[height].vals.append(writer.put(block))
        layers[height].subs.append(None)
    root = _close(layers, len(layers), writer) or writer.put(EMPTY_NODE)
    cid, head = _head(did, key, rev, root)
    end = file.tell()
    file.seek(start)
    file.write(head)
    file.seek(end)
    return cid, writer.blocks + 1


def _empty(layer: int) -> Node:
    return Node(layer, [], [], [None])


def _close(layers: list[Node], height: int, writer: _Writer) -> bytes | None:
    """Writes the open nodes below `height`, each under the one above it; gives the highest."""
    below: bytes | None = None
    for layer in range(height):
        node = layers[layer]
        node.subs[-1] = below
        if node.keys or below is not None:
            below = writer.put(node_bytes(node))
            layers[layer] = _empty(layer)
    return below


def _head(did: str, key: SigningKey, rev: str, data: bytes) -> tuple[bytes, bytes]:
    """The commit's CID, and the bytes of the header and the commit's section: always as many."""
    unsigned: dict[str, Any] = {"did": did, "version": 3, "data": data, "rev": rev, "prev": None}
    commit = signed_block(unsigned, key)
    cid = DAG_CBOR + sha256(commit).digest()
    return cid, write_car(cid, {cid: commit})
