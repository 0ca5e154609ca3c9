"""What a commit's operations did to the repo's tree, undone on the part of it that came along.

A commit proves itself by inversion: undo its operations on the part of the new tree that came with
it, and the root must become the one before (sync spec, "Inductive validation"; rules B9, B10):

    invert(blocks, commit.data, operations) == prevData

What differs between the two trees is checked. All else stands in the tree before exactly as it
stands here, so from a sound tree only a sound tree follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from firehose.car import DAG_CBOR, block_cid
from firehose.mst import BadTree, Missing, NotInvertible, Tree
from firehose.node import (
    EMPTY_NODE,
    LINK,
    NULL,
    Place,
    holds,
    key_height,
    locate,
    top_layer,
    with_value,
    without,
)

_SUBTREE = (b"at" + LINK, b"al" + LINK)
_NODE_START = EMPTY_NODE[:3]
_BEHIND_LINK = len(b"av" + LINK) + 36  # behind an entry's subtree stands its value, then the next entry
_MAX_SEARCHED = 64  # blocks: more are no usual commit, and searching them could be made costly


def invert(
    blocks: dict[bytes, bytes], root: bytes, ops: Sequence[tuple[bytes, bytes | None, bytes | None]]
) -> bytes:
    """The root before `ops` (key, new value, old value; None for absent), undone last to first (rule B9).

    The blocks need only hold what the operations touch. Raises `NotInvertible` where the tree under
    `root` does not hold what the operations say they left there, `Missing` and `BadTree`.
    """
    if len(ops) == 1 and len(blocks) <= _MAX_SEARCHED:
        undone = undo_from_below(blocks, root, *ops[0])
        if undone is not None:
            return undone
    return undo_from_above(blocks, root, ops)


def undo_from_above(
    blocks: dict[bytes, bytes], root: bytes, ops: Sequence[tuple[bytes, bytes | None, bytes | None]]
) -> bytes:
    """What `invert` gives, for any operations."""
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
            raise NotInvertible(key, "has another value in the tree")
    return tree.root


def undo_from_below(
    blocks: dict[bytes, bytes], root: bytes, key: bytes, after: bytes | None, before: bytes | None
) -> bytes | None:
    """What `invert` gives for one operation of the usual kind, in a third of the time; else None.

    The way to a key need not be found from the root: its node holds the record's CID (or, if it was
    deleted, is the last on its layer), that node's CID stands in its parent, and so on up. On the way
    each node is patched, and nothing of it is decoded but what says that the key lies between its
    neighbours. The usual kind is a key that is not alone on top, with parents before their children
    among the blocks. All else, errors too, is for the other way.
    """
    layer = key_height(key)
    upwards = reversed(blocks.items())
    try:
        mark = _NODE_START if after is None else b"av" + LINK + after
        for node in upwards:
            if mark in node[1] and (after is not None or top_layer(node[1]) == layer):
                break
        else:
            return None
        child, raw = node
        place = locate(raw, key)
        low, high = bool(place.before), len(place.near) > (after is not None)
        changed = _undone_in(place, blocks, layer, key, after, before)
        if changed is None:
            return None
        for cid, raw in upwards:
            if child == root:
                break
            head, found, tail = raw.partition(child)
            if not found:
                continue
            if not head.endswith(_SUBTREE):
                return None
            if not low or not (high or tail.startswith(b"al", _BEHIND_LINK)):
                # no key on this side so far: the nearest one on the way up is the neighbour
                # (behind the last entry of a node there is none)
                parent = locate(raw, key)
                if parent.left != child:
                    return None
                low, high = low or bool(parent.before), high or bool(parent.near)
            if changed != EMPTY_NODE:
                changed = b"".join((head, DAG_CBOR, sha256(changed).digest(), tail))
            else:
                changed = head.removesuffix(LINK) + NULL + tail
            child = cid
            layer += 1
        if child != root or top_layer(changed) != layer:
            return None
    except (BadTree, Missing, NotInvertible):
        return None
    return block_cid(changed)


def _undone_in(
    place: Place,
    blocks: dict[bytes, bytes],
    layer: int,
    key: bytes,
    after: bytes | None,
    before: bytes | None,
) -> bytes | None:
    """The bytes that the key's node had before; None if it does not hold what the operation left there."""
    if after is None:
        return None if before is None else Tree(blocks).with_key(place, key, before, layer)
    if not holds(place, key, layer) or place.near[0]["v"] != after:
        return None
    if before is not None:
        return with_value(place, before)
    left, right = place.left, place.near[0]["t"]
    if left is not None or right is not None:
        left = Tree(blocks).merge(left, right, key, layer - 1)
    return without(place, key, left)
