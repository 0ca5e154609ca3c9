"""One node of a repo's search tree: its bytes, its rules, and how it looks without a key.

A sound tree has canonical nodes, keys in order, shared prefixes used up, every key on the layer of
its leading zero bits, no subtree under layer 0, no empty node that carries nothing (repository
spec, "MST structure"; rule B10).
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, NamedTuple

import libipld
import msgspec

from firehose.car import DAG_CBOR, RAW, block_cid

MAX_KEY = 1024
MAX_ENTRIES = 1000  # a node of more is not chance: (3/4)^1000

EMPTY_NODE = b"\xa2ae\x80al\xf6"
EMPTY = block_cid(EMPTY_NODE)  # the root of a repo without records
LINK = b"\xd8\x2a\x58\x25\x00"  # stands before a CID
NULL = b"\xf6"  # stands for no subtree

_VALUE_PREFIXES = (DAG_CBOR, RAW)
# saves decoding a node for its first key; any other form of node is decoded
_FIRST_KEY = re.compile(rb"\xa2ae[\x81-\x97]\xa4ak(?:[\x41-\x57]|X[\x18-\xff])([!-~]+)ap\x00").match
_decode = libipld.decode_dag_cbor
_encode = libipld.encode_dag_cbor


class BadTree(ValueError):
    """A node breaks a rule of the tree's shape."""


class Node(NamedTuple):
    """A checked node: `subs[i]` lies left of `keys[i]`, the last one right of them all."""

    layer: int
    keys: list[bytes]
    vals: list[bytes]
    subs: list[bytes | None]


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a key is or would be in a node of which nothing else is known.

    `before` is the key before that place, empty for none; `near` the entry there and the next one, as
    far as they exist; `here` the key of the first of them, if there is one; `left` the subtree
    between the two keys.
    """

    raw: bytes
    body: dict[str, Any]
    at: int
    before: bytes
    here: bytes
    near: list[dict[str, Any]]
    left: Any


def key_height(key: bytes) -> int:
    """The layer of a key: leading zero bits of its sha-256, counted in pairs."""
    digest = sha256(key).digest()
    return (256 - int.from_bytes(digest, "big").bit_length()) >> 1 if digest[0] < 64 else 0


def common_prefix(a: bytes, b: bytes) -> int:
    """How many leading bytes two keys share."""
    size = min(len(a), len(b))
    if a[:size] == b[:size]:
        return size
    differing = int.from_bytes(a[:size], "big") ^ int.from_bytes(b[:size], "big")
    return size - ((differing.bit_length() + 7) >> 3)


def top_layer(raw: bytes) -> int:
    """The layer of a top node, which its first key tells."""
    found = _FIRST_KEY(raw)
    if found is not None:
        return key_height(found[1])
    try:
        entries = _decode(raw)["e"]
        if entries:
            return key_height(entries[0]["k"])
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise BadTree(f"not a node: {error}") from None
    raise BadTree("an empty node on top")


def read_node(raw: bytes, layer: int, *, heights: bool = True) -> Node:
    """The node in `raw`, which lies on `layer`, every rule checked (the height of its keys on request)."""
    try:
        node = _read(raw, layer)
    except BadTree:
        raise
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise BadTree(f"not a node: {error}") from None
    for sub in node.subs:
        check_sub(sub, layer)
    for key in node.keys:
        if heights and key_height(key) != layer:
            raise BadTree(f"key on layer {layer} belongs on {key_height(key)}")
        if len(key) > MAX_KEY:
            raise BadTree("a key is too long")
    if not node.keys and node.subs[0] is None:
        raise BadTree("an empty node that is not the root of an empty repo")
    return node


def _read(raw: bytes, layer: int) -> Node:
    keys: list[bytes] = []
    vals: list[bytes] = []
    body = _decode(raw)
    entries = body["e"]
    if len(entries) > MAX_ENTRIES:
        raise BadTree(f"a node of {len(entries)} entries")
    subs: list[bytes | None] = [body["l"]]
    key = b""
    for entry in entries:
        prefix, suffix, val = entry["p"], entry["k"], entry["v"]
        # the byte behind the shared prefix must differ, and upwards: order and compression at once
        if key[prefix : prefix + 1] >= suffix[:1] or not 0 <= prefix <= len(key) or prefix is True:
            raise BadTree("keys out of order, or their shared prefix not used up")
        if len(entry) != 4 or not _is_value(val):
            raise BadTree("an entry with other fields, or a value that is no link")
        key = key[:prefix] + suffix
        keys.append(key)
        vals.append(val)
        subs.append(entry["t"])
    if len(body) != 2 or _encode(body) != raw:
        raise BadTree("not a canonical node")
    return Node(layer, keys, vals, subs)


def node_bytes(node: Node) -> bytes:
    """The canonical bytes of a node."""
    entries: list[dict[str, bytes | int | None]] = []
    before = b""
    for key, val, sub in zip(node.keys, node.vals, node.subs[1:], strict=True):
        prefix = common_prefix(before, key)
        entries.append({"k": key[prefix:], "p": prefix, "t": sub, "v": val})
        before = key
    return _encode({"e": entries, "l": node.subs[0]})


def locate(raw: bytes, key: bytes) -> Place:
    """The place of `key` in the node in `raw`; of the node itself only the size is checked."""
    try:
        body = _decode(raw)
        entries = body["e"]
        at = 0
        before = here = b""
        for entry in entries:
            here = before[: entry["p"]] + entry["k"]
            if here >= key:
                break
            before = here
            at += 1
        left = entries[at - 1]["t"] if at else body["l"]
        place = Place(raw, body, at, before, here, entries[at : at + 2], left)
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise BadTree(f"not a node: {error}") from None
    if len(entries) > MAX_ENTRIES:  # each operation of a commit may come by here
        raise BadTree(f"a node of {len(entries)} entries")
    return place


def holds(place: Place, key: bytes, layer: int) -> bool:
    """True if `key` is in its place. Then all is checked that would not be seen without the key:
    its entry, how the next one follows on it, and that the bytes are canonical."""
    if place.here != key:
        return False
    before, body, near = place.before, place.body, place.near
    try:
        right, val = near[0]["t"], near[0]["v"]
        for entry in near:
            prefix = entry["p"]
            if (
                before[prefix : prefix + 1] >= entry["k"][:1]
                or not 0 <= prefix <= len(before)
                or prefix is True
            ):
                raise BadTree("keys out of order, or their shared prefix not used up")
            before = key
        if len(near[0]) != 4 or not _is_value(val) or len(key) > MAX_KEY:
            raise BadTree("an entry with other fields, or a value that is no link")
        if len(body) != 2 or _encode(body) != place.raw:
            raise BadTree("not a canonical node")
    except (TypeError, KeyError) as error:
        raise BadTree(f"not a node: {error}") from None
    if place.left is not None or right is not None:
        check_sub(place.left, layer)
        check_sub(right, layer)
    return True


def with_value(place: Place, value: bytes) -> bytes:
    """The node's bytes with another value for the key that it `holds`."""
    place.near[0]["v"] = value
    return _encode(place.body)


def without(place: Place, key: bytes, below: bytes | None) -> bytes:
    """The node's bytes without the key that it `holds`, `below` in place of the subtrees around it.

    A node may be left that has one subtree and no key, or nothing at all.
    """
    body, at = place.body, place.at
    entries = body["e"]
    gone = entries.pop(at)
    if at:
        entries[at - 1]["t"] = below
    else:
        body["l"] = below
    if at < len(entries) and entries[at]["p"] > gone["p"]:
        # the next key shares less with the one before the gone key
        after = entries[at]
        after["k"] = key[gone["p"] : after["p"]] + after["k"]
        after["p"] = gone["p"]
    return _encode(body)


def check_beside(low: Place, high: Place, layer: int) -> None:
    """Checks what would not be seen any more when the nodes on both sides of a key become one:
    that they lie there, where they meet, that each carries something, and canonical bytes."""
    try:
        if low.near or high.at:
            raise BadTree("a subtree's keys lie outside its place")
        first = high.near[0]["p"] if high.near else 0
    except (TypeError, KeyError) as error:
        raise BadTree(f"not a node: {error}") from None
    if first != 0:
        raise BadTree("a first key that shares a prefix")
    for place in (low, high):
        check_sub(place.left, layer)
        if len(place.body) != 2 or _encode(place.body) != place.raw:
            raise BadTree("not a canonical node")
        if not place.body["e"] and place.left is None:
            raise BadTree("an empty node that is not the root of an empty repo")


def joined_bytes(low: Place, high: Place, middle: bytes | None) -> bytes:
    """The bytes of the node that the two become, with `middle` where they meet."""
    entries: list[dict[str, Any]] = [*low.body["e"], *high.body["e"]]
    left = low.body["l"]
    if low.body["e"]:
        low.body["e"][-1]["t"] = middle
    else:
        left = middle
    if low.body["e"] and high.near:
        first = high.near[0]
        first["p"] = prefix = common_prefix(low.before, first["k"])
        first["k"] = first["k"][prefix:]
    return _encode({"e": entries, "l": left})


def _is_value(val: bytes) -> bool:
    return len(val) == 36 and val[:4] in _VALUE_PREFIXES


def check_sub(sub: object, layer: int) -> None:
    """Checks that a subtree of a node on `layer` is None or a link, and that there may be one."""
    if sub is not None:
        if type(sub) is not bytes or len(sub) != 36 or sub[:4] != DAG_CBOR:
            raise BadTree("a subtree that is no link")
        if layer == 0:
            raise BadTree("a node of layer 0 has a subtree")
