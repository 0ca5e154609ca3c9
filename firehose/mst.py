"""The Merkle search tree of a repo: read from blocks that may be only a part of it, changed, sealed again.

A commit proves itself by inversion: undo its operations on the part of the new tree that came with
it, and the root must become the one before (sync spec, "Inductive validation"; rules B9, B10).

    tree = Tree(blocks, commit.data)     nodes are decoded only where an operation leads
    tree.remove(key) / tree.put(key, cid)
    tree.seal() == commit.prevData

Each decoded node is checked: canonical bytes, keys in order and inside the bounds that its parent
sets, every key on the layer of its leading zero bits, no children under layer 0, no empty node
that carries nothing. `walk` does the same for a whole repo.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from firehose.car import DAG_CBOR, block_cid

MAX_KEY = 1024
MAX_ENTRIES = 1000  # a node of more is not chance: (3/4)^1000

_LINK = b"\xd8\x2a\x58\x25\x00"
_NULL_LEFT = b"al\xf6"
_LEFT = b"al" + _LINK
# {k: suffix, p: shared prefix, t: subtree or null, v: value}, canonical lengths only;
# no key holds a control byte, so a suffix ends where the head of `p` begins
_ENTRY = re.compile(
    rb"\xa4ak([\x41-\x57]|\x58[\x18-\xff]|\x59[\x01-\x04].)([ -~]+)"
    rb"ap([\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\x04].)"
    rb"at(?:\xf6|\xd8\x2aX%\x00(\x01\x71\x12\x20.{32}))"
    rb"av\xd8\x2aX%\x00(\x01[\x71\x55]\x12\x20.{32})",
    re.DOTALL,
)
_ENTRY_FIXED = 51  # bytes of an entry without subtree, besides its two heads and its suffix


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
    differing = int.from_bytes(a[:size], "big") ^ int.from_bytes(b[:size], "big")
    return size - ((differing.bit_length() + 7) >> 3)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major | number,))
    if number < 256:
        return bytes((major | 24, number))
    return bytes((major | 25, number >> 8, number & 255))


_BYTES_HEADS = [_head(0x40, number) for number in range(MAX_KEY + 1)]
_UINT_HEADS = [_head(0x00, number) for number in range(MAX_KEY + 1)]
_UINTS = {head: number for number, head in enumerate(_UINT_HEADS)}
_ARRAY_HEADS = [_head(0x80, number) for number in range(MAX_ENTRIES + 1)]

EMPTY_NODE = b"\xa2ae\x80al\xf6"
EMPTY = block_cid(EMPTY_NODE)  # the root of a repo without records


class Node:
    """A decoded node: `subs[i]` lies left of `keys[i]`, the last one right of them all.

    A subtree is None, the CID of one that nobody looked into, or a node. `cid` is None once
    something below changed, and `raw` once the node's own shape did: what changed only in a
    subtree's CID is patched, not encoded anew. `was` is the CID that stands in the parent's bytes.
    """

    __slots__ = ("cid", "high", "keys", "layer", "low", "raw", "subs", "vals", "was")

    def __init__(self, layer: int, keys: list[bytes], vals: list[bytes], subs: list[Subtree]) -> None:
        self.layer = layer
        self.keys = keys
        self.vals = vals
        self.subs = subs
        self.cid: bytes | None = None
        self.raw: bytes | None = None
        self.was: bytes | None = None
        self.low: bytes | None = None
        self.high: bytes | None = None


Subtree = Node | bytes | None


def _decode(raw: bytes, cid: bytes, layer: int | None) -> Node:
    """The node in `raw`; its layer is the given one, or (for a root) that of its first key."""
    found = _ENTRY.findall(raw)
    count = len(found)
    if count > MAX_ENTRIES:
        raise BadTree(f"a node of {count} entries")
    head = _ARRAY_HEADS[count]
    offset = 3 + len(head) + _ENTRY_FIXED * count
    keys: list[bytes] = []
    subs: list[Subtree] = [None]
    vals: list[bytes] = []
    key = b""
    if layer is None and count:
        layer = key_height(found[0][1])
    for suffix_head, suffix, prefix_head, sub, val in found:
        prefix = _UINTS.get(prefix_head, MAX_KEY)
        rest = key[prefix:]
        size = len(suffix)
        # the first byte behind the shared prefix must differ, and upwards: order and compression at once
        if (rest and suffix[0] <= rest[0]) or prefix > len(key):
            raise BadTree("keys out of order, or their shared prefix not used up")
        key = key[:prefix] + suffix
        if size + prefix > MAX_KEY or _BYTES_HEADS[size] != suffix_head:
            raise BadTree("a key is too long or its length is wrong")
        if key_height(key) != layer:
            raise BadTree(f"key on layer {layer} belongs on {key_height(key)}")
        keys.append(key)
        vals.append(val)
        if sub:
            subs.append(sub)
            offset += 40
        else:
            subs.append(None)
        offset += size + len(suffix_head) + len(prefix_head)
    tail = raw[offset:]
    if tail != _NULL_LEFT:
        if len(tail) != 43 or not tail.startswith(_LEFT) or tail[7:11] != DAG_CBOR:
            raise BadTree("not a canonical node")
        subs[0] = tail[7:]
    if not raw.startswith(b"\xa2ae" + head):
        raise BadTree("not a canonical node")
    if layer == 0 and any(subs):
        raise BadTree("a node of layer 0 has a subtree")
    if layer is None or (not keys and subs[0] is None):
        raise BadTree("an empty node that is not the root of an empty repo")
    node = Node(layer, keys, vals, subs)
    node.raw = raw
    node.cid = node.was = cid
    return node


def _encode(node: Node) -> bytes:
    """The canonical bytes of a node whose subtrees are all sealed."""
    cids = [sub.cid if isinstance(sub, Node) else sub for sub in node.subs]
    parts = [b"\xa2ae", _ARRAY_HEADS[len(node.keys)]]
    before = b""
    for key, val, sub in zip(node.keys, node.vals, cids[1:], strict=True):
        prefix = common_prefix(before, key)
        suffix = key[prefix:]
        parts += (b"\xa4ak", _BYTES_HEADS[len(suffix)], suffix, b"ap", _UINT_HEADS[prefix], b"at")
        parts += (b"\xf6",) if sub is None else (_LINK, sub)
        parts += (b"av", _LINK, val)
        before = key
    parts += (_NULL_LEFT,) if cids[0] is None else (_LEFT, cids[0])
    return b"".join(parts)


def _seal(node: Node) -> bytes:
    """The node's CID after sealing what changed below it, and its bytes in `node.raw`."""
    if node.cid is not None:
        return node.cid
    raw = node.raw
    for sub in node.subs:
        if type(sub) is Node:
            was = sub.was
            if sub.cid is None:
                sub.was = _seal(sub)
            elif was != sub.cid:
                sub.was = sub.cid
            if raw is not None and was != sub.was:
                # a hostile node may hold the subtree's CID as a value, too
                if was is not None and sub.was is not None and raw.count(was) == 1:
                    raw = raw.replace(was, sub.was)
                else:
                    raw = None
    if raw is None:
        raw = _encode(node)
    node.raw = raw
    node.cid = block_cid(raw)
    return node.cid


class Tree:
    """A tree that can be changed. Raises `BadTree`, `Missing` and `NotInvertible`.

    After an exception the tree is half changed: throw it away.
    """

    def __init__(self, blocks: Mapping[bytes, bytes], root: bytes) -> None:
        self._blocks = blocks
        self.root: Node | None = None if root == EMPTY else self._load(root, None)
        if self.root is not None and not self.root.keys:
            raise BadTree("an empty node on top")

    def seal(self) -> bytes:
        """The CID of the root."""
        return EMPTY if self.root is None else _seal(self.root)

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, None where the tree proves that there is none."""
        node = self.root
        while node is not None:
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                return node.vals[at]
            node = self.sub(node, at)
        return None

    def replace(self, key: bytes, value: bytes) -> bytes:
        """Puts `value` under a key that is there; returns the value before."""
        node = self.root
        while node is not None:
            node.cid = None
            at = bisect_left(node.keys, key)
            if at < len(node.keys) and node.keys[at] == key:
                before = node.vals[at]
                node.vals[at] = value
                node.raw = None
                return before
            node = self.sub(node, at)
        raise NotInvertible(key.decode("ascii", "replace"))

    def remove(self, key: bytes) -> bytes:
        """Takes a key out; returns its value."""
        if self.root is None:
            raise NotInvertible(key.decode("ascii", "replace"))
        value, root = self._remove(self.root, key)
        # a top node without keys gives way to its only subtree
        while root is not None and not root.keys:
            root = self.sub(root, 0)
        self.root = root
        return value

    def insert(self, key: bytes, value: bytes) -> None:
        """Puts in a key that is not there."""
        layer = key_height(key)
        root = self.root
        if root is None:
            self.root = Node(layer, [key], [value], [None, None])
        elif layer <= root.layer:
            self._insert(root, key, value, layer)
        else:
            left, right = self._split(root, key, root.layer)
            for between in range(root.layer + 1, layer):
                left = None if left is None else Node(between, [], [], [left])
                right = None if right is None else Node(between, [], [], [right])
            self.root = Node(layer, [key], [value], [left, right])

    def items(self, node: Node | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value below `node` (the root by default), in order."""
        node = node or self.root
        if node is None:
            return
        for at in range(len(node.subs)):
            below = self.sub(node, at)
            if below is not None:
                yield from self.items(below)
            if at < len(node.keys):
                yield node.keys[at], node.vals[at]

    def _load(self, cid: bytes, layer: int | None) -> Node:
        raw = self._blocks.get(cid)
        if raw is None:
            raise Missing(cid)
        return _decode(raw, cid, layer)

    def sub(self, node: Node, at: int) -> Node | None:
        """Subtree `at` of a node, decoded and kept; its keys lie between the node's own."""
        sub = node.subs[at]
        if type(sub) is not bytes:
            return sub  # type: ignore[return-value]
        keys = node.keys
        child = self._load(sub, node.layer - 1)
        child.low = low = keys[at - 1] if at else node.low
        child.high = high = keys[at] if at < len(keys) else node.high
        if child.keys and (
            (low is not None and child.keys[0] <= low) or (high is not None and child.keys[-1] >= high)
        ):
            raise BadTree("a subtree's keys lie outside its place")
        node.subs[at] = child
        return child

    def _remove(self, node: Node, key: bytes) -> tuple[bytes, Node | None]:
        node.cid = None
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            value = node.vals[at]
            node.subs[at : at + 2] = [self._merge(self.sub(node, at), self.sub(node, at + 1), node.layer - 1)]
            del node.keys[at]
            del node.vals[at]
            node.raw = None
        else:
            sub = self.sub(node, at)
            if sub is None:
                raise NotInvertible(key.decode("ascii", "replace"))
            value, after = self._remove(sub, key)
            if after is not sub:
                node.subs[at] = after
                node.raw = None
        return value, node if node.keys or node.subs[0] is not None else None

    def _merge(self, left: Node | None, right: Node | None, layer: int) -> Node | None:
        if left is None or right is None:
            return left or right
        last = len(left.keys)
        middle = self._merge(self.sub(left, last), self.sub(right, 0), layer - 1)
        merged = Node(layer, left.keys + right.keys, left.vals + right.vals, [])
        merged.subs = [*left.subs[:-1], middle, *right.subs[1:]]
        merged.low, merged.high = left.low, right.high
        return merged

    def _insert(self, node: Node, key: bytes, value: bytes, layer: int) -> None:
        node.cid = None
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            raise NotInvertible(key.decode("ascii", "replace"))
        sub = self.sub(node, at)
        if node.layer == layer:
            node.subs[at : at + 1] = self._split(sub, key, layer - 1)
            node.keys.insert(at, key)
            node.vals.insert(at, value)
            node.raw = None
            return
        if sub is None:
            node.subs[at] = sub = Node(node.layer - 1, [], [], [None])
            node.raw = None
        self._insert(sub, key, value, layer)

    def _split(self, node: Node | None, key: bytes, layer: int) -> tuple[Node | None, Node | None]:
        if node is None:
            return None, None
        at = bisect_left(node.keys, key)
        if at < len(node.keys) and node.keys[at] == key:
            raise NotInvertible(key.decode("ascii", "replace"))
        low, high = self._split(self.sub(node, at), key, layer - 1)
        left = Node(layer, node.keys[:at], node.vals[:at], [*node.subs[:at], low])
        right = Node(layer, node.keys[at:], node.vals[at:], [high, *node.subs[at + 1 :]])
        left.low, left.high = node.low, key
        right.low, right.high = key, node.high
        return (
            left if left.keys or low is not None else None,
            right if right.keys or high is not None else None,
        )


def walk(blocks: Mapping[bytes, bytes], root: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of a whole repo in order, the shape of each node checked (rule E5).

    Raises `Missing` at the first node that is not there, after what came before it.
    """
    yield from Tree(blocks, root).items()


def invert(
    blocks: Mapping[bytes, bytes], root: bytes, ops: Sequence[tuple[bytes, bytes | None, bytes | None]]
) -> bytes:
    """The root before `ops` (key, new value, old value; None for absent), undone last to first (rule B9).

    The blocks need only hold what the operations touch. Raises `NotInvertible` where the tree under
    `root` does not hold what the operations say they left there, `Missing` and `BadTree`.
    """
    if not ops:
        return root
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
    return tree.seal()
