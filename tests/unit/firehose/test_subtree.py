"""Walking a part of a tree: what an account of the whole gives for these ranges, from fewer blocks."""

from __future__ import annotations

import random

import libipld
import pytest

from firehose.car import block_cid
from firehose.mst import EMPTY, BadTree, Missing, walk
from firehose.node import Node, key_height, node_bytes
from firehose.subtree import EVERYTHING, bounds_of, is_inside, walk_ranges
from tests.fakenet.repo import FakeRepo

COLLECTIONS = ["a.b.c", "a.b.c.d", "a.b.c-d", "a.b.cc", "b.b.b", "zz.b.b"]
VALUE = block_cid(b"value")


def tree(seed: int, count: int) -> FakeRepo:
    choice = random.Random(seed)
    paths = {(choice.choice(COLLECTIONS), f"{choice.randrange(10_000)}") for _ in range(count)}
    repo = FakeRepo(seed=seed)
    repo.write([("create", *path, {}) for path in sorted(paths)])
    return repo


def test_bounds_hold_exactly_the_paths_of_their_collections() -> None:
    bounds = bounds_of(["a.b.c", "b.b.b", "a.b.c"])
    for path in ("a.b.c/", "a.b.c/x", "a.b.c/~~", "b.b.b/1"):
        assert is_inside(bounds, path.encode())
    for path in ("", "a", "a.b.c", "a.b.c.d/x", "a.b.c-d/x", "a.b.cc/x", "a.b.c0", "b.b.a/1", "b.b.c/1", "z"):
        assert not is_inside(bounds, path.encode())
        assert is_inside(EVERYTHING, path.encode())
    assert not is_inside(bounds_of([]), b"a.b.c/x")


@pytest.mark.parametrize("seed", range(0, 12, 2))
def test_any_choice_of_collections_gives_their_part_of_the_whole(seed: int) -> None:
    repo = tree(seed, 40 * seed)
    whole = list(walk(repo.blocks, repo.data))
    assert list(walk_ranges(repo.blocks.get, repo.data, EVERYTHING)) == whole
    choice = random.Random(seed)
    for _ in range(20):
        chosen = choice.sample(COLLECTIONS, choice.randrange(len(COLLECTIONS)))
        part = [(key, cid) for key, cid in whole if key.decode().split("/")[0] in chosen]
        visited: dict[bytes, bytes] = {}
        assert list(walk_ranges(repo.blocks.get, repo.data, bounds_of(chosen), visited.__setitem__)) == part
        assert list(walk_ranges(visited.get, repo.data, bounds_of(chosen))) == part
        for missing in visited:
            rest = {cid: raw for cid, raw in visited.items() if cid != missing}
            with pytest.raises(Missing):
                list(walk_ranges(rest.get, repo.data, bounds_of(chosen)))


def test_a_part_needs_few_of_the_nodes() -> None:
    repo = FakeRepo(seed="mostly others")
    others = [("create", "app.bsky.feed.like", f"{n:05d}", {}) for n in range(800)]
    repo.write([*others, *(("create", "fm.plyr.track", f"{n}", {}) for n in range(9))])
    visited: dict[bytes, bytes] = {}
    found = list(walk_ranges(repo.blocks.get, repo.data, bounds_of(["fm.plyr.track"]), visited.__setitem__))
    assert len(found) == 9
    assert len(visited) < 30


def test_an_empty_tree_needs_no_block() -> None:
    assert list(walk_ranges({}.get, EMPTY, EVERYTHING)) == []


def key_of(height: int, start: str) -> bytes:
    """The first key of that height with this start."""
    return next(key for n in range(100_000) if key_height(key := f"{start}{n}".encode()) == height)


def put(blocks: dict[bytes, bytes], raw: bytes) -> bytes:
    blocks[block_cid(raw)] = raw
    return block_cid(raw)


@pytest.mark.parametrize("place", ["left", "right"])
def test_a_key_outside_its_subtrees_place_is_refused(place: str) -> None:
    blocks: dict[bytes, bytes] = {}
    top, low, high = key_of(1, "m.m.m/"), key_of(0, "a.a.a/"), key_of(0, "z.z.z/")
    wrong = put(blocks, node_bytes(Node(0, [high if place == "left" else low], [VALUE], [None, None])))
    subs: list[bytes | None] = [wrong, None] if place == "left" else [None, wrong]
    root = put(blocks, node_bytes(Node(1, [top], [VALUE], subs)))
    with pytest.raises(BadTree, match="outside"):
        list(walk_ranges(blocks.get, root, EVERYTHING))


def test_a_node_on_the_wrong_layer_is_refused() -> None:
    blocks: dict[bytes, bytes] = {}
    leaf = put(blocks, node_bytes(Node(0, [key_of(0, "a.a.a/")], [VALUE], [None, None])))
    root = put(blocks, node_bytes(Node(2, [key_of(2, "m.m.m/")], [VALUE], [leaf, None])))
    with pytest.raises(BadTree, match="layer"):
        list(walk_ranges(blocks.get, root, EVERYTHING))


@pytest.mark.parametrize("key", [b"", b"\x80/1", b"\xff", b"\x7f"])
def test_a_key_that_is_no_path_is_refused(key: bytes) -> None:
    raw = libipld.encode_dag_cbor({"e": [{"k": key, "p": 0, "t": None, "v": VALUE}], "l": None})
    with pytest.raises(BadTree):
        list(walk_ranges({block_cid(raw): raw}.get, block_cid(raw), EVERYTHING))
