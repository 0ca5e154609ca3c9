"""The Merkle search tree of a repo, over blocks that may be only a part of it.

A commit proves itself by inversion: undo its operations on the part of the new tree that came with
it, and the root must become the one before (sync spec, "Inductive validation"; rules B9, B10):

    invert(blocks, commit.data, operations) == prevData

A change never touches a node in place: it adds new nodes to `Tree.fresh`, up to a new root.

Nodes are checked in two ways. A node whose entries are read or changed is checked whole: canonical
bytes, keys in order, shared prefixes used up, every key on the layer of its leading zero bits, no
subtree under layer 0, no empty node that carries nothing. A node that an operation only passes
through, on its way down to a key, changes in nothing but the CID of that one subtree. If it were
malformed, so would be the tree before: it is enough that the whole tree was sound once (`walk`)
and that each operation is, and that is where the time goes that we do not have.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import libipld

from firehose.car import DAG_CBOR, RAW, block_cid

MAX_KEY = 1024
MAX_ENTRIES = 1000  # a node of more is not chance: (3/4)^1000

EMPTY_NODE = b"\xa2ae\x80al\xf6"
EMPTY = block_cid(EMPTY_NODE)  # the root of a repo without records

_decode = libipld.decode_dag_cbor
_encode = libipld.encode_dag_cbor


class BadTree(ValueError):
    """A node breaks a rule of the tree's shape (repository spec, "MST structure")."""


class Missing(Exception):
    """A node that is needed is not among the blocks."""

    def __init__(self, cid: bytes) -> None:
        super().__init__(f"no block for node {cid.hex()}")
        self.cid = cid


class NotInvertible(ValueError):
    """An operation does not fit the tree: its key is not there, is there already, or has another value."""


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


class Node(NamedTuple):
    """A checked node: `subs[i]` lies left of `keys[i]`, the last one right of them all."""

    layer: int
    keys: list[bytes]
    vals: list[bytes]
    subs: list[bytes | None]


class _Way(NamedTuple):
    """The way down to a key's layer, or to where it ends: the nodes passed with the subtree taken
    in each, then the last node and the place in it where the key is or would be."""

    passed: list[tuple[bytes, int, bytes]]  # bytes, place and CID of the subtree taken
    raw: bytes
    body: dict[str, Any]
    at: int
    layer: int


class Tree:
    """A tree that changes by getting a new `root`. Raises `BadTree`, `Missing` and `NotInvertible`.

    `fresh` holds the nodes that the changes made, those of intermediate states included.
    """

    def __init__(self, blocks: Mapping[bytes, bytes], root: bytes) -> None:
        self._blocks = blocks
        self.fresh: dict[bytes, bytes] = {}
        self.root = root

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, None where the tree proves that there is none."""
        for node in self.path(key):
            at = bisect_left(node.keys, key)
            if key in node.keys[at : at + 1]:
                return node.vals[at]
        return None

    def path(self, key: bytes) -> Iterator[Node]:
        """The nodes from the root to where `key` is or would be."""
        cid: bytes | None = None if self.root == EMPTY else self.root
        layer: int | None = None
        while cid is not None:
            node = self.node(cid, layer)
            yield node
            at = bisect_left(node.keys, key)
            cid = None if key in node.keys[at : at + 1] else node.subs[at]
            layer = node.layer - 1

    def node(self, cid: bytes, layer: int | None) -> Node:
        """The node under `cid`, checked whole; layer None is that of a top node's first key."""
        raw = self._raw(cid)
        body = _read(raw)
        node = _open(raw, body, _top_layer(body) if layer is None else layer)
        for key in node.keys:
            if key_height(key) != node.layer:
                raise BadTree(f"key on layer {node.layer} belongs on {key_height(key)}")
        return node

    def replace(self, key: bytes, value: bytes) -> bytes:
        """Puts `value` under a key that is there; returns the value before."""
        way, _ = self._find(key)
        entry = way.body["e"][way.at]
        before = entry["v"]
        entry["v"] = value
        self.root = self._climb(way, self._put(_encode(way.body)))
        return before

    def remove(self, key: bytes) -> bytes:
        """Takes a key out; returns its value."""
        way, node = self._find(key)
        body, at = way.body, way.at
        entries = body["e"]
        left, right = node.subs[at], node.subs[at + 1]
        below = left or right
        if left is not None and right is not None:
            below = self._merge(left, right, key, way.layer - 1)
        gone = entries.pop(at)
        if at:
            entries[at - 1]["t"] = below
        else:
            body["l"] = below
        if at < len(entries):
            # what the next key shares with the one before the gone key
            after = entries[at]
            after["p"] = prefix = min(gone["p"], after["p"])
            after["k"] = node.keys[at + 1][prefix:]
        if entries or (way.passed and below is not None):
            self.root = self._climb(way, self._put(_encode(body)))
        elif way.passed:
            self.root = self._climb(way, None)
        else:
            self.root = self._trim(below, way.layer - 1)
        return gone["v"]

    def insert(self, key: bytes, value: bytes) -> None:
        """Puts in a key that is not there."""
        height = key_height(key)
        if self.root == EMPTY:
            self.root = self._put(_node_bytes(Node(height, [key], [value], [None, None])))
            return
        top = _top_layer(_read(self._raw(self.root)))
        if height > top:
            left, right = self._split(self.root, key, top)
            for layer in range(top + 1, height):
                left = left and self._put(_node_bytes(Node(layer, [], [], [left])))
                right = right and self._put(_node_bytes(Node(layer, [], [], [right])))
            self.root = self._put(_node_bytes(Node(height, [key], [value], [left, right])))
            return
        way = self._way(key, height)
        node = _open(way.raw, way.body, way.layer)
        at = way.at
        if key in node.keys[at : at + 1]:
            raise NotInvertible(f"{key.decode('ascii', 'replace')} is in the tree already")
        if way.layer > height:
            new = self._put(_node_bytes(Node(height, [key], [value], [None, None])))
            for layer in range(height + 1, way.layer):
                new = self._put(_node_bytes(Node(layer, [], [], [new])))
            node.subs[at] = new
        else:
            node.subs[at : at + 1] = self._split(node.subs[at], key, height - 1)
            node.keys.insert(at, key)
            node.vals.insert(at, value)
        self.root = self._climb(way, self._put(_node_bytes(node)))

    def _raw(self, cid: bytes) -> bytes:
        raw = self._blocks.get(cid) or self.fresh.get(cid)
        if raw is None:
            raise Missing(cid)
        return raw

    def _put(self, raw: bytes) -> bytes:
        cid = block_cid(raw)
        self.fresh[cid] = raw
        return cid

    def _find(self, key: bytes) -> tuple[_Way, Node]:
        """The way to a key that is in the tree, and its node."""
        if self.root != EMPTY:
            height = key_height(key)
            way = self._way(key, height)
            if way.layer == height:
                node = _open(way.raw, way.body, way.layer)
                if key in node.keys[way.at : way.at + 1]:
                    return way, node
        raise NotInvertible(f"{key.decode('ascii', 'replace')} is not in the tree")

    def _way(self, key: bytes, height: int) -> _Way:
        """Down from the root to layer `height`, or to a node above it without a subtree on the way."""
        blocks = self._blocks
        passed: list[tuple[bytes, int, bytes]] = []
        cid = self.root
        layer = -1
        try:
            while True:
                raw = blocks.get(cid) or self._raw(cid)
                body = _decode(raw)
                if layer < 0:
                    layer = _top_layer(body)
                at = 0
                before = b""
                child = body["l"]
                for entry in body["e"]:
                    before = before[: entry["p"]] + entry["k"]
                    if before >= key:
                        break
                    child = entry["t"]
                    at += 1
                if layer <= height or child is None:
                    return _Way(passed, raw, body, at, layer)
                passed.append((raw, at, child))
                cid = child
                layer -= 1
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise BadTree(f"not a node: {error}") from None

    def _climb(self, way: _Way, new: bytes | None) -> bytes:
        """The root after the last node of the way became `new`."""
        layer, fresh = way.layer, self.fresh
        for raw, at, child in reversed(way.passed):
            layer += 1
            if new is not None and raw.count(child) == 1:
                changed = raw.replace(child, new)
                new = DAG_CBOR + sha256(changed).digest()
                fresh[new] = changed
                continue
            # the pointer's place changes its length, or the child's CID stands there twice
            node = _open(raw, _read(raw), layer)
            node.subs[at] = new
            new = self._put(_node_bytes(node)) if node.keys or node.subs[0] is not None else None
        return EMPTY if new is None else new

    def _trim(self, cid: bytes | None, layer: int) -> bytes:
        """The root when the top node has no keys left: its subtree, or the first below that has keys."""
        while cid is not None:
            node = self.node(cid, layer)
            if node.keys:
                return cid
            cid = node.subs[0]
            layer -= 1
        return EMPTY

    def _merge(self, left: bytes, right: bytes, key: bytes, layer: int) -> bytes:
        """One subtree out of the two that lie around `key`."""
        low, high = self.node(left, layer), self.node(right, layer)
        if (low.keys and low.keys[-1] >= key) or (high.keys and high.keys[0] <= key):
            raise BadTree("a subtree's keys lie outside its place")
        inner, outer = low.subs[-1], high.subs[0]
        middle = inner or outer
        if inner is not None and outer is not None:
            middle = self._merge(inner, outer, key, layer - 1)
        subs = [*low.subs[:-1], middle, *high.subs[1:]]
        return self._put(_node_bytes(Node(layer, low.keys + high.keys, low.vals + high.vals, subs)))

    def _split(self, cid: bytes | None, key: bytes, layer: int) -> tuple[bytes | None, bytes | None]:
        """The subtree's parts left and right of `key`, which is not in it."""
        if cid is None:
            return None, None
        node = self.node(cid, layer)
        at = bisect_left(node.keys, key)
        low, high = self._split(node.subs[at], key, layer - 1)
        left = Node(layer, node.keys[:at], node.vals[:at], [*node.subs[:at], low])
        right = Node(layer, node.keys[at:], node.vals[at:], [high, *node.subs[at + 1 :]])
        return (
            self._put(_node_bytes(left)) if left.keys or low is not None else None,
            self._put(_node_bytes(right)) if right.keys or high is not None else None,
        )


def walk(blocks: Mapping[bytes, bytes], root: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of a whole repo in order, each node checked whole (rules B10, E5).

    Raises `Missing` at the first node that is not there, after what came before it.
    """
    tree = Tree(blocks, root)
    last = b""
    # of each open node: itself, and the next place in it
    open_nodes: list[tuple[Node, int]] = [] if root == EMPTY else [(tree.node(root, None), 0)]
    while open_nodes:
        node, at = open_nodes.pop()
        if at:
            key = node.keys[at - 1]
            if key <= last:
                raise BadTree("a subtree's keys lie outside its place")
            last = key
            yield key, node.vals[at - 1]
        if at < len(node.keys):
            open_nodes.append((node, at + 1))
        sub = node.subs[at]
        if sub is not None:
            open_nodes.append((tree.node(sub, node.layer - 1), 0))


def invert(
    blocks: Mapping[bytes, bytes], root: bytes, ops: Sequence[tuple[bytes, bytes | None, bytes | None]]
) -> bytes:
    """The root before `ops` (key, new value, old value; None for absent), undone last to first (rule B9).

    The blocks need only hold what the operations touch. Raises `NotInvertible` where the tree under
    `root` does not hold what the operations say they left there, `Missing` and `BadTree`.
    """
    tree = Tree(blocks, root)
    for key, after, before in reversed(ops):
        if before is None:
            found = tree.remove(key)
        elif after is None:
            found = None
            tree.insert(key, before)
        else:
            found = tree.replace(key, before)
        if found != after:
            raise NotInvertible(f"{key.decode('ascii', 'replace')} has another value in the tree")
    return tree.root


def _read(raw: bytes) -> dict[str, Any]:
    """A node as libipld gives it, of which nothing is known but that it is a map with entries."""
    try:
        body = _decode(raw)
        if type(body["e"]) is not list:
            raise BadTree("a node without entries")
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise BadTree(f"not a node: {error}") from None
    return body


def _top_layer(body: dict[str, Any]) -> int:
    """The layer of a top node, which its first key tells."""
    entries = body["e"]
    if not entries:
        raise BadTree("an empty node on top")
    try:
        return key_height(entries[0]["k"])
    except (TypeError, KeyError):
        raise BadTree("an entry without a key") from None


def _open(raw: bytes, body: dict[str, Any], layer: int) -> Node:
    """The node of `raw`, which `body` was read from, every rule checked but the height of its keys."""
    entries: list[dict[str, Any]] = body["e"]
    if len(entries) > MAX_ENTRIES:
        raise BadTree(f"a node of {len(entries)} entries")
    keys: list[bytes] = []
    vals: list[bytes] = []
    subs: list[bytes | None] = []
    key = b""
    try:
        subs.append(body["l"])
        for entry in entries:
            prefix, suffix, val = entry["p"], entry["k"], entry["v"]
            # the byte behind the shared prefix must differ, and upwards: order and compression at once
            if key[prefix : prefix + 1] >= suffix[:1] or not 0 <= prefix <= len(key) or prefix is True:
                raise BadTree("keys out of order, or their shared prefix not used up")
            if len(entry) != 4 or len(val) != 36 or val[:4] not in _VALUE_PREFIXES:
                raise BadTree("an entry with other fields, or a value that is no link")
            key = key[:prefix] + suffix
            keys.append(key)
            vals.append(val)
            subs.append(entry["t"])
        canonical = _encode(body) == raw
    except (TypeError, KeyError):
        raise BadTree("an entry without its fields") from None
    if len(body) != 2 or not canonical:
        raise BadTree("not a canonical node")
    for sub in subs:
        if sub is not None:
            if type(sub) is not bytes or sub[:4] != DAG_CBOR or len(sub) != 36:
                raise BadTree("a subtree that is no link")
            if layer == 0:
                raise BadTree("a node of layer 0 has a subtree")
    if not keys and subs[0] is None:
        raise BadTree("an empty node that is not the root of an empty repo")
    if keys and max(map(len, keys)) > MAX_KEY:
        raise BadTree("a key is too long")
    return Node(layer, keys, vals, subs)


_VALUE_PREFIXES = (DAG_CBOR, RAW)


def _node_bytes(node: Node) -> bytes:
    """The canonical bytes of a node."""
    entries: list[dict[str, bytes | int | None]] = []
    before = b""
    for key, val, sub in zip(node.keys, node.vals, node.subs[1:], strict=True):
        prefix = common_prefix(before, key)
        entries.append({"k": key[prefix:], "p": prefix, "t": sub, "v": val})
        before = key
    return _encode({"e": entries, "l": node.subs[0]})
