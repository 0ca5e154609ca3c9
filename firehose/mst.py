"""The Merkle search tree of a repo, over blocks that may be only a part of it.

A change never touches a node in place: it adds new nodes to `Tree.fresh`, up to a new root.

`walk` checks every rule of every node (rule B10). A change checks what differs between the two trees:
the key's layer and its neighbours, its entry and the next one, nodes that are merged or split. In a
node that the way to a key merely passes, only one subtree's pointer changes: it is patched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from firehose.car import block_cid
from firehose.node import (
    EMPTY,
    EMPTY_NODE,
    LINK,
    MAX_ENTRIES,
    NULL,
    BadTree,
    Node,
    Place,
    check_beside,
    check_sub,
    common_prefix,
    holds,
    joined_bytes,
    key_height,
    locate,
    node_bytes,
    read_node,
    top_layer,
    with_value,
    without,
)

__all__ = [
    "EMPTY",
    "EMPTY_NODE",
    "MAX_ENTRIES",
    "BadTree",
    "Missing",
    "Node",
    "NotInvertible",
    "Tree",
    "common_prefix",
    "key_height",
    "walk",
]


class Missing(Exception):
    """A node that is needed is not among the blocks."""

    def __init__(self, cid: bytes) -> None:
        super().__init__(f"no block for node {cid.hex()}")
        self.cid = cid


class NotInvertible(ValueError):
    """An operation does not fit the tree: its key is not there, is there already, or has another value."""

    def __init__(self, key: bytes, what: str) -> None:
        super().__init__(f"{key.decode('ascii', 'replace')} {what}")


class _Way(NamedTuple):
    """The way down to a key's layer, or to where it ends: the nodes passed with the CID of the
    subtree taken in each, the place in the last node, and its layer."""

    passed: list[tuple[bytes, bytes]]
    place: Place
    layer: int


class Tree:
    """A tree that changes by getting a new `root`. Raises `BadTree`, `Missing` and `NotInvertible`.

    `fresh` holds the nodes that the changes made, those of intermediate states included.
    """

    def __init__(self, blocks: Mapping[bytes, bytes], root: bytes = EMPTY) -> None:
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
        return read_node(raw, top_layer(raw) if layer is None else layer)

    def replace(self, key: bytes, value: bytes) -> bytes:
        """Puts `value` under a key that is there; returns the value before."""
        way = self._find(key)
        before = way.place.near[0]["v"]
        self.root = self._climb(way, with_value(way.place, value))
        return before

    def remove(self, key: bytes) -> bytes:
        """Takes a key out; returns its value."""
        way = self._find(key)
        place = way.place
        value = place.near[0]["v"]
        below = self.merge(place.left, place.near[0]["t"], key, way.layer - 1)
        raw = without(place, key, below)
        if not way.passed and place.body["e"] and top_layer(raw) != way.layer:
            raise BadTree("a key that does not belong on top")  # its own height had told the layer
        if way.passed or place.body["e"]:
            self.root = self._climb(way, raw)
        else:
            self.root = self._trim(below, way.layer - 1)
        return value

    def insert(self, key: bytes, value: bytes) -> None:
        """Puts in a key that is not there."""
        height = key_height(key)
        leaf = Node(height, [key], [value], [None, None])
        if self.root == EMPTY:
            self.root = self._put(node_bytes(leaf))
            return
        top = top_layer(self._raw(self.root))
        if height > top:
            left, right = self._split(self.root, key, top)
            leaf.subs[:] = (self._lift(left, top, height), self._lift(right, top, height))
            self.root = self._put(node_bytes(leaf))
            return
        way = self._way(key, height)
        if way.layer == height:
            self.root = self._climb(way, self.with_key(way.place, key, value, height))
            return
        node = read_node(way.place.raw, way.layer, heights=False)
        node.subs[way.place.at] = self._lift(self._put(node_bytes(leaf)), height, way.layer)
        self.root = self._climb(way, node_bytes(node))

    def with_key(self, place: Place, key: bytes, value: bytes, layer: int) -> bytes:
        """The bytes of the node on the key's layer with the key in its place, where it is not yet."""
        at = place.at
        node = read_node(place.raw, layer, heights=False)
        if key in node.keys[at : at + 1]:
            raise NotInvertible(key, "is in the tree already")
        node.subs[at : at + 1] = self._split(node.subs[at], key, layer - 1)
        node.keys.insert(at, key)
        node.vals.insert(at, value)
        return node_bytes(node)

    def _raw(self, cid: bytes) -> bytes:
        raw = self._blocks.get(cid) or self.fresh.get(cid)
        if raw is None:
            raise Missing(cid)
        return raw

    def _put(self, raw: bytes) -> bytes:
        cid = block_cid(raw)
        self.fresh[cid] = raw
        return cid

    def _find(self, key: bytes) -> _Way:
        """The way to a key that is in the tree."""
        if self.root != EMPTY:
            height = key_height(key)
            way = self._way(key, height)
            if way.layer == height and holds(way.place, key, height):
                return way
        raise NotInvertible(key, "is not in the tree")

    def _way(self, key: bytes, height: int) -> _Way:
        """Down from the root to layer `height`, or to a node above it without a subtree on the way."""
        passed: list[tuple[bytes, bytes]] = []
        raw = self._raw(self.root)
        layer = top_layer(raw)
        while True:
            place = locate(raw, key)
            child = place.left
            if layer <= height or child is None:
                return _Way(passed, place, layer)
            if type(child) is not bytes:
                raise BadTree("a subtree that is no link")
            passed.append((raw, child))
            raw = self._raw(child)
            layer -= 1

    def _climb(self, way: _Way, raw: bytes) -> bytes:
        """The root after the last node of the way became `raw`."""
        layer = way.layer
        for passed, child in reversed(way.passed):
            layer += 1
            new = None if raw == EMPTY_NODE else self._put(raw)
            head, found, tail = passed.partition(LINK + child)
            if found and passed.count(child) == 1:
                raw = b"".join((head, LINK + new if new is not None else NULL, tail))
                continue
            # the child's CID stands there twice, or in another form
            node = read_node(passed, layer, heights=False)
            node.subs[node.subs.index(child)] = new
            raw = node_bytes(node)
        return self._put(raw)

    def _lift(self, cid: bytes | None, layer: int, top: int) -> bytes | None:
        """The subtree of `layer` under empty nodes, as one of the layer below `top`."""
        for between in range(layer + 1, top):
            cid = cid and self._put(node_bytes(Node(between, [], [], [cid])))
        return cid

    def _trim(self, cid: bytes | None, layer: int) -> bytes:
        """The root when the top node has no keys left: its subtree, or the first below that has keys."""
        while cid is not None:
            node = self.node(cid, layer)
            if node.keys:
                return cid
            cid = node.subs[0]
            layer -= 1
        return EMPTY

    def merge(self, left: bytes | None, right: bytes | None, key: bytes, layer: int) -> bytes | None:
        """One subtree out of the two of `layer` that lie around `key`."""
        if left is None or right is None:
            self._check_side(left or right, key, layer, on_left=left is not None)
            return left or right
        low, high = locate(self._raw(left), key), locate(self._raw(right), key)
        check_beside(low, high, layer)
        middle = self.merge(low.left, high.left, key, layer - 1)
        return self._put(joined_bytes(low, high, middle))

    def _check_side(self, cid: bytes | None, key: bytes, layer: int, *, on_left: bool) -> None:
        """Checks that all keys of a subtree lie on one side of `key`: those along the edge towards it do."""
        while cid is not None:
            place = locate(self._raw(cid), key)
            if place.near if on_left else place.at:
                raise BadTree("a subtree's keys lie outside its place")
            check_sub(place.left, layer)
            cid = place.left
            layer -= 1

    def _split(self, cid: bytes | None, key: bytes, layer: int) -> tuple[bytes | None, bytes | None]:
        """The subtree's parts left and right of `key`, which is not in it."""
        if cid is None:
            return None, None
        node = read_node(self._raw(cid), layer, heights=False)
        at = bisect_left(node.keys, key)
        low, high = self._split(node.subs[at], key, layer - 1)
        left = Node(layer, node.keys[:at], node.vals[:at], [*node.subs[:at], low])
        right = Node(layer, node.keys[at:], node.vals[at:], [high, *node.subs[at + 1 :]])
        return (
            self._put(node_bytes(left)) if left.keys or low is not None else None,
            self._put(node_bytes(right)) if right.keys or high is not None else None,
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
