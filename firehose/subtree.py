"""The part of a repo's tree whose keys lie in some ranges, every node on the way checked whole.

A subtree between two keys is entered only if its gap meets a range: a key of ours cannot lie
elsewhere, for whoever looks it up would not find it there either. So what comes out is all that the
root commits to in these ranges, nothing missing and nothing added, while nodes elsewhere need not
even be there (rules B10, E5).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from firehose.mst import Missing
from firehose.node import EMPTY, BadTree, Node, read_node, top_layer

Bounds = tuple[bytes, ...]
"""Where ranges of keys begin and end, in turn: to the right of an odd number of them is inside."""

EVERYTHING: Bounds = (b"",)
_END = b"\x7f"  # behind every path: they are printable ASCII


class _Gap(NamedTuple):
    """A subtree that has to be entered, and the keys that it lies between."""

    cid: bytes
    layer: int | None
    low: bytes
    high: bytes


def bounds_of(collections: Iterable[str]) -> Bounds:
    """The ranges of all paths in these collections."""
    edges: list[bytes] = []
    for start in sorted({f"{name}/".encode() for name in collections}):
        edges += (start, start[:-1] + b"0")  # "0" follows "/"
    return tuple(edges)


def is_inside(bounds: Bounds, key: bytes) -> bool:
    """True if the key lies in a range."""
    return bisect_right(bounds, key) & 1 == 1


def walk_ranges(
    get: Callable[[bytes], bytes | None],
    root: bytes,
    bounds: Bounds,
    visit: Callable[[bytes, bytes], object] | None = None,
) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values in the ranges, in order; `visit` is told CID and bytes of each node entered.

    `get` gives the block of a CID, or None. Raises `Missing` and `BadTree`, after what came before.
    """
    todo: list[_Gap | tuple[bytes, bytes]] = [] if root == EMPTY else [_Gap(root, None, b"", _END)]
    while todo:
        item = todo.pop()
        if not isinstance(item, _Gap):
            yield item
            continue
        raw = get(item.cid)
        if raw is None:
            raise Missing(item.cid)
        node = read_node(raw, top_layer(raw) if item.layer is None else item.layer)
        if visit is not None:
            visit(item.cid, raw)
        todo += reversed(_content(node, item.low, item.high, bounds))


def _content(node: Node, low: bytes, high: bytes, bounds: Bounds) -> list[_Gap | tuple[bytes, bytes]]:
    """What of the node is in the ranges, or may be below it, in order."""
    layer, keys, vals, subs = node
    if keys and (keys[0] <= low or keys[-1] >= high):
        raise BadTree("a subtree's keys lie outside its place")
    content: list[_Gap | tuple[bytes, bytes]] = []
    place = bisect_right(bounds, low)
    for at, key in enumerate(keys):
        sub = subs[at]
        if sub is not None and (place & 1 or place != bisect_left(bounds, key)):
            content.append(_Gap(sub, layer - 1, low, key))
        place = bisect_right(bounds, key)
        if place & 1:
            content.append((key, vals[at]))
        low = key
    sub = subs[-1]
    if sub is not None and (place & 1 or place != bisect_left(bounds, high)):
        content.append(_Gap(sub, layer - 1, low, high))
    return content
