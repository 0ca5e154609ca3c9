"""The search tree: published vectors, another implementation as oracle, and hand-made bad trees (B9, B10)."""

from __future__ import annotations

import itertools
import json
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import libipld
import pytest
from atmst.blockstore import MemoryBlockStore
from atmst.mst.node import MSTNode
from atmst.mst.node_store import NodeStore
from atmst.mst.node_wrangler import NodeWrangler
from cbrrr import CID
from hypothesis import given, settings
from hypothesis import strategies as st

from firehose.car import DAG_CBOR, block_cid, read_car
from firehose.inversion import invert, undo_from_above, undo_from_below
from firehose.mst import (
    EMPTY,
    MAX_ENTRIES,
    BadTree,
    Missing,
    NotInvertible,
    Tree,
    common_prefix,
    key_height,
    walk,
)
from firehose.node import node_bytes
from tests.corpus import Corpus

Blocks = dict[bytes, bytes]


def value(n: object) -> bytes:
    return DAG_CBOR + sha256(str(n).encode()).digest()


def build(items: Mapping[bytes, bytes]) -> tuple[Blocks, bytes]:
    """All nodes of a tree with these keys, and its root."""
    tree = Tree({}, EMPTY)
    for key, cid in items.items():
        tree.insert(key, cid)
    return dict(tree.fresh), tree.root


def raw_node(left: bytes | None, *entries: tuple[bytes, int, bytes, bytes | None]) -> bytes:
    """A node as its fields are given: suffix, shared prefix, value, subtree."""
    return libipld.encode_dag_cbor(
        {"e": [{"k": k, "p": p, "v": v, "t": t} for k, p, v, t in entries], "l": left}
    )


def keys_of_height(height: int, count: int, prefix: str = "com.example.record/") -> list[bytes]:
    """The first keys, in order, of one layer."""
    found: list[bytes] = []
    n = 0
    while len(found) < count:
        key = f"{prefix}{n:08d}".encode()
        if key_height(key) == height:
            found.append(key)
        n += 1
    return found


def interop(shared: Path, name: str) -> Any:
    return json.loads((shared / "data" / "interop" / name).read_text())


def test_the_published_heights_are_ours(shared: Path) -> None:
    vectors = interop(shared, "mst/key_heights.json")
    assert len(vectors) == 9
    for vector in vectors:
        assert key_height(vector["key"].encode()) == vector["height"]


def test_the_published_example_keys_lie_on_the_layers_that_they_name(shared: Path) -> None:
    keys = (shared / "data" / "interop" / "mst" / "example_keys.txt").read_text().split()
    assert len(keys) == 156
    for key in keys:
        assert key_height(key.encode()) == int(key[1])
    blocks, root = build({key.encode(): value(key) for key in keys})
    assert [key.decode() for key, _ in walk(blocks, root)] == sorted(keys)


def test_the_published_common_prefixes_are_ours(shared: Path) -> None:
    vectors = interop(shared, "mst/common_prefix.json")
    assert len(vectors) == 13
    for vector in vectors:
        assert common_prefix(vector["left"].encode(), vector["right"].encode()) == vector["len"]


def test_the_six_published_commit_proofs_are_inverted_by_their_blocks_alone(shared: Path) -> None:
    vectors = interop(shared, "firehose/commit-proof-fixtures.json")
    assert len(vectors) == 6
    for vector in vectors:
        leaf = libipld.decode_cid(vector["leafValue"])
        leaf = DAG_CBOR + leaf["hash"]["digest"] if isinstance(leaf, dict) else leaf
        before, root_before = build({key.encode(): leaf for key in vector["keys"]})
        assert libipld.encode_cid(root_before) == vector["rootBeforeCommit"], vector["comment"]
        tree = Tree(before, root_before)
        for key in vector["adds"]:
            tree.insert(key.encode(), leaf)
        for key in vector["dels"]:
            assert tree.remove(key.encode()) == leaf
        assert libipld.encode_cid(tree.root) == vector["rootAfterCommit"], vector["comment"]
        everything = {**before, **tree.fresh}
        proof = {
            cid: raw for cid, raw in everything.items() if libipld.encode_cid(cid) in vector["blocksInProof"]
        }
        assert len(proof) == len(vector["blocksInProof"])
        ops = [(key.encode(), leaf, None) for key in vector["adds"]]
        ops += [(key.encode(), None, leaf) for key in vector["dels"]]
        assert invert(proof, tree.root, ops) == root_before, vector["comment"]
        assert invert(proof, tree.root, ops[::-1]) == root_before, vector["comment"]


def test_a_published_proof_without_one_block_is_missing_it_or_right_all_the_same(shared: Path) -> None:
    missed = 0
    for vector in interop(shared, "firehose/commit-proof-fixtures.json"):
        leaf = value("leaf")
        before, root = build({key.encode(): leaf for key in vector["keys"]})
        tree = Tree(before, root)
        for key in vector["adds"]:
            tree.insert(key.encode(), leaf)
        for key in vector["dels"]:
            tree.remove(key.encode())
        whole = {**before, **tree.fresh}
        ops = [(key.encode(), leaf, None) for key in vector["adds"]]
        ops += [(key.encode(), None, leaf) for key in vector["dels"]]
        for cid in whole:
            try:
                assert invert({k: v for k, v in whole.items() if k != cid}, tree.root, ops) == root
            except Missing as error:
                missed += error.cid == cid
    assert missed > 12


def test_every_real_commit_is_inverted(corpus: Corpus) -> None:
    inverted = 0
    for _, body, _ in corpus.commits:
        car = read_car(body["blocks"])
        data = libipld.decode_dag_cbor(car.blocks[body["commit"]])["data"]
        ops = [(op["path"].encode(), op["cid"], op.get("prev")) for op in body["ops"]]
        assert invert(car.blocks, data, ops) == body["prevData"]
        inverted += len(ops)
    assert inverted == 150


KEYS = st.builds(
    lambda collection, rkey: f"{collection}/{rkey}".encode(),
    st.sampled_from(["app.bsky.feed.like", "fm.plyr.track", "fm.plyr.like", "a.b.c"]),
    st.integers(0, 400).map(lambda n: f"3k{n:05d}"),
)


class Oracle:
    """The same tree by another implementation."""

    def __init__(self) -> None:
        store = NodeStore(MemoryBlockStore())
        self.wrangler = NodeWrangler(store)
        self.root = store.stored_node(MSTNode.empty_root()).cid

    def put(self, key: bytes, cid: bytes) -> None:
        self.root = self.wrangler.put_record(self.root, key.decode(), CID(cid))

    def remove(self, key: bytes) -> None:
        self.root = self.wrangler.del_record(self.root, key.decode())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(KEYS, st.integers(0, 3)), max_size=60))
def test_any_changes_give_the_root_that_another_implementation_gives(
    changes: list[tuple[bytes, int]],
) -> None:
    oracle, tree, held = Oracle(), Tree({}, EMPTY), dict[bytes, bytes]()
    for key, choice in changes:
        before = tree.root
        if key not in held:
            held[key] = value(choice)
            tree.insert(key, held[key])
            oracle.put(key, held[key])
            op = (key, held[key], None)
        elif choice < 2:
            old = held[key]
            held[key] = value((choice, key))
            assert tree.replace(key, held[key]) == old
            oracle.put(key, held[key])
            op = (key, held[key], old)
        else:
            old = held.pop(key)
            assert tree.remove(key) == old
            oracle.remove(key)
            op = (key, None, old)
        assert tree.root == bytes(oracle.root)
        assert invert(tree.fresh, tree.root, [op]) == before
    assert list(walk(tree.fresh, tree.root)) == sorted(held.items())
    for key, cid in held.items():
        assert tree.get(key) == cid


@settings(max_examples=60, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_many_operations_at_once_are_undone(keys: set[bytes], rng: random.Random) -> None:
    held = {key: value(key) for key in sorted(keys)}
    blocks, before = build(held)
    tree = Tree(blocks, before)
    ops: list[tuple[bytes, bytes | None, bytes | None]] = []
    for key in rng.sample(sorted(keys), len(keys)):
        new = value((key, 2))
        choice = rng.randrange(3)
        if choice == 0:
            ops.append((key, None, tree.remove(key)))
        elif choice == 1:
            ops.append((key, new, tree.replace(key, new)))
        else:
            other = key + b"x"
            tree.insert(other, new)
            ops.append((other, new, None))
    assert invert({**blocks, **tree.fresh}, tree.root, ops) == before


def test_any_order_of_inserts_gives_one_root() -> None:
    keys = [f"a.b.c/{n}".encode() for n in range(200)]
    roots = set[bytes]()
    for seed in range(10):
        random.Random(seed).shuffle(keys)
        roots.add(build({key: value(key) for key in keys})[1])
    assert len(roots) == 1


def test_the_tree_is_empty_again_when_all_is_removed() -> None:
    keys = [f"a.b.c/{n}".encode() for n in range(300)]
    blocks, root = build({key: value(key) for key in keys})
    tree = Tree(blocks, root)
    for key in keys:
        tree.remove(key)
    assert tree.root == EMPTY
    assert list(walk({}, EMPTY)) == []


def test_operations_that_do_not_fit_are_refused() -> None:
    held = {f"a.b.c/{n}".encode(): value(n) for n in range(50)}
    blocks, root = build(held)
    here, absent = b"a.b.c/7", b"a.b.c/nothing"
    cases: Iterable[tuple[bytes, bytes | None, bytes | None]] = [
        (absent, value(1), None),
        (absent, value(1), value(2)),
        (here, None, value(1)),
        (here, value("another"), None),
        (here, value("another"), value(2)),
    ]
    for op in cases:
        with pytest.raises(NotInvertible):
            invert(blocks, root, [op])
        with pytest.raises(NotInvertible):
            invert({}, EMPTY, [(absent, value(1), None)])


def test_a_node_that_did_not_come_along_is_missing() -> None:
    key = b"a.b.c/7"
    blocks, root = build({f"a.b.c/{n}".encode(): value(n) for n in range(200)})
    whole = root_first(blocks, root)
    tree = Tree(whole, root)
    way = [root]
    for node in tree.path(key):
        way.append(node.subs[bisect_left(node.keys, key)] or root)
    assert len(set(way)) >= 3
    for cid in whole:
        partial = {other: raw for other, raw in whole.items() if other != cid}
        with pytest.raises(Missing) as refused:
            list(walk(partial, root))
        assert refused.value.cid == cid
        if cid in way:
            with pytest.raises(Missing) as refused:
                invert(partial, root, [(key, value(7), None)])
            assert refused.value.cid == cid


def root_first(blocks: Mapping[bytes, bytes], root: bytes) -> Blocks:
    """The nodes under `root`, parents before their children, as hosts write them."""
    ordered: Blocks = {}
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        ordered[cid] = blocks[cid]
        body = libipld.decode_dag_cbor(blocks[cid])
        waiting += [sub for sub in (body["l"], *(entry["t"] for entry in body["e"])) if sub is not None]
    return ordered


@settings(max_examples=150, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=70), st.data())
def test_the_order_of_the_blocks_makes_no_difference(keys: set[bytes], data: st.DataObject) -> None:
    held = {key: value(key) for key in keys}
    blocks, root = build(held)
    ordered = root_first(blocks, root)
    key = data.draw(st.sampled_from(sorted(keys)))
    before = data.draw(st.sampled_from([None, value("before")]))
    rest = {other: cid for other, cid in held.items() if other != key}
    expected = build(rest if before is None else {**rest, key: before})[1]
    op = (key, held[key], before)
    assert invert(ordered, root, [op]) == expected
    assert invert(dict(reversed(ordered.items())), root, [op]) == expected


@settings(max_examples=150, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=70), st.sampled_from([None, value("before")]))
def test_what_is_undone_from_below_is_what_is_undone_from_above(
    keys: set[bytes], before: bytes | None
) -> None:
    """And that is all but what was alone in its node, on top or (if it was deleted) anywhere."""
    blocks, root = build({key: value(key) for key in keys})
    ordered = root_first(blocks, root)
    top = Tree(blocks, root).node(root, None).keys
    for key in keys:
        found = undo_from_below(ordered, root, key, value(key), before)
        if before is None and top == [key]:
            assert found is None
        else:
            assert found == undo_from_above(ordered, root, [(key, value(key), before)])
        after = Tree(blocks, root)
        after.remove(key)
        way = list(after.path(key))
        sent = {block_cid(raw): raw for raw in map(node_bytes, way)}
        found = undo_from_below(sent, after.root, key, None, value(key))
        if way and way[-1].layer == key_height(key):
            assert found == root
        else:
            assert found in (root, None)


def test_a_key_that_was_alone_in_its_node_is_undone_from_below() -> None:
    top, low = keys_of_height(3, 1)[0], LOW[0]
    blocks, root = build({top: value(top), low: value(low)})
    ordered = root_first(blocks, root)
    assert len(ordered) == 4
    alone = build({top: value(top)})[1]
    assert undo_from_below(ordered, root, low, value(low), None) == alone
    # where nothing else is left of the tree, it is for the other way
    blocks, root = build({low: value(low)})
    assert undo_from_below(blocks, root, low, value(low), None) is None
    assert invert(blocks, root, [(low, value(low), None)]) == EMPTY


@settings(max_examples=60, deadline=None)
@given(st.sets(KEYS, min_size=4, max_size=60), KEYS)
def test_a_key_in_another_place_than_its_own_is_refused(keys: set[bytes], key: bytes) -> None:
    """The tree before is sound; the one after holds one more key, in a node where it does not belong."""
    held = {other: value(other) for other in keys if other != key}
    blocks, before = build(held)
    tree = Tree(blocks, before)
    tree.insert(key, value(key))
    sound = tree.root
    nodes = root_first(blocks, before)
    accepted = set[bytes]()
    for chosen, right in itertools.product(nodes, (False, True)):
        after, root = misplaced(nodes, before, chosen, key, right=right)
        for order in (after, dict(reversed(after.items()))):
            try:
                if invert(order, root, [(key, value(key), None)]) == before:
                    accepted.add(root)
            except (BadTree, NotInvertible, Missing):
                pass
    assert accepted <= {sound}


def misplaced(nodes: Blocks, root: bytes, chosen: bytes, key: bytes, *, right: bool) -> tuple[Blocks, bytes]:
    """The tree with `key` put into the node `chosen`, in order among that node's keys; and its root.

    The subtree that lay in its place comes to lie on one side of it as a whole.
    """
    renamed: dict[bytes, bytes] = {}
    after: Blocks = {}
    for cid in reversed(nodes):
        body = libipld.decode_dag_cbor(nodes[cid])
        entries: list[tuple[bytes, bytes, bytes | None]] = []
        last = b""
        for entry in body["e"]:
            last = last[: entry["p"]] + entry["k"]
            entries.append((last, entry["v"], renamed.get(entry["t"], entry["t"])))
        left = renamed.get(body["l"], body["l"])
        if cid == chosen:
            at = bisect_left([each for each, _, _ in entries], key)
            entries.insert(at, (key, value(key), None))
            if right and at:
                other, val, sub = entries[at - 1]
                entries[at - 1 : at + 1] = [(other, val, None), (key, value(key), sub)]
            elif right:
                entries[0], left = (key, value(key), left), None
        packed: list[tuple[bytes, int, bytes, bytes | None]] = []
        last = b""
        for each, val, sub in entries:
            shared = common_prefix(last, each)
            packed.append((each[shared:], shared, val, sub))
            last = each
        raw = raw_node(left, *packed)
        renamed[cid] = block_cid(raw)
        after[renamed[cid]] = raw
    return dict(reversed(after.items())), renamed[root]


# -- trees that nobody may write ---------------------------------------------------------------------

LOW = keys_of_height(0, 4)
MID = keys_of_height(1, 3)


def refused(raw: bytes, blocks: Blocks | None = None, match: str | None = None) -> None:
    root = block_cid(raw)
    with pytest.raises(BadTree, match=match):
        list(walk({root: raw, **(blocks or {})}, root))


def stored(raw: bytes) -> tuple[bytes, Blocks]:
    return block_cid(raw), {block_cid(raw): raw}


def test_keys_out_of_order_are_refused() -> None:
    a, b = LOW[:2]
    refused(raw_node(None, (b, 0, value(1), None), (a, 0, value(2), None)), match="order")
    refused(raw_node(None, (a, 0, value(1), None), (a, 0, value(2), None)), match="order")


def test_a_shared_prefix_that_is_not_used_up_is_refused() -> None:
    a, b = LOW[:2]
    shared = common_prefix(a, b)
    good = raw_node(None, (a, 0, value(1), None), (b[shared:], shared, value(2), None))
    assert [key for key, _ in walk({block_cid(good): good}, block_cid(good))] == [a, b]
    short = raw_node(None, (a, 0, value(1), None), (b[shared - 1 :], shared - 1, value(2), None))
    refused(short, match="shared prefix")
    refused(raw_node(None, (a, 0, value(1), None), (b, 0, value(2), None)), match="shared prefix")


@pytest.mark.parametrize("prefix", [-1, 2**40, 1.0, True, "1", None])
def test_a_shared_prefix_that_is_no_length_is_refused(prefix: Any) -> None:
    a, b = LOW[:2]
    refused(raw_node(None, (a, 0, value(1), None), (b, prefix, value(2), None)))
    refused(raw_node(None, (a, prefix, value(1), None)))


def test_a_key_on_the_wrong_layer_is_refused() -> None:
    refused(raw_node(None, (LOW[0], 0, value(1), None), (MID[2], 0, value(2), None)))
    child, blocks = stored(raw_node(None, (MID[0], 0, value(1), None)))
    refused(raw_node(child, (MID[1], 0, value(2), None)), blocks, match="layer")
    child, blocks = stored(raw_node(None, (LOW[0], 0, value(1), None)))
    top = keys_of_height(2, 1)[0]
    low, high = (child, None) if LOW[0] < top else (None, child)
    refused(raw_node(low, (top, 0, value(2), high)), blocks, match="layer")


def test_t22_a_subtree_under_layer_0_is_refused() -> None:
    child, blocks = stored(raw_node(None, (LOW[0], 0, value(1), None)))
    refused(raw_node(child, (LOW[1], 0, value(2), None)), blocks, match="layer 0")
    refused(raw_node(None, (LOW[1], 0, value(2), child)), blocks, match="layer 0")
    root = raw_node(child, (LOW[1], 0, value(2), None))
    with pytest.raises(BadTree, match="layer 0"):
        invert({block_cid(root): root, **blocks}, block_cid(root), [(LOW[1], value(2), None)])


def test_a_subtree_outside_its_place_is_refused() -> None:
    top = next(key for key in keys_of_height(1, 9) if key > LOW[0])
    child, blocks = stored(raw_node(None, (LOW[0], 0, value(1), None)))
    refused(raw_node(None, (top, 0, value(2), child)), blocks, match="outside")


def test_an_empty_node_on_top_or_without_a_subtree_is_refused() -> None:
    child, blocks = stored(raw_node(None, (LOW[0], 0, value(1), None)))
    refused(raw_node(child), blocks, match="on top")
    empty, blocks = stored(raw_node(None))
    refused(raw_node(empty, (MID[0], 0, value(1), None)), blocks, match="empty")


def test_an_empty_node_in_the_middle_is_as_it_should_be() -> None:
    top = keys_of_height(2, 1)[0]
    held = {top: value(1), LOW[0]: value(2)}
    blocks, root = build(held)
    assert list(walk(blocks, root)) == sorted(held.items())
    assert any(libipld.decode_dag_cbor(raw)["e"] == [] for raw in blocks.values())


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: {**body, "x": 1},
        lambda body: {"e": body["e"]},
        lambda body: {"l": body["l"]},
        lambda body: {**body, "e": None},
        lambda body: {**body, "e": {}},
        lambda body: {**body, "e": [[]]},
        lambda body: {**body, "e": [{**body["e"][0], "x": 1}]},
        lambda body: {**body, "e": [{"k": LOW[0], "p": 0, "v": value(1)}]},
        lambda body: {**body, "e": [{**body["e"][0], "v": b"short"}]},
        lambda body: {**body, "e": [{**body["e"][0], "v": None}]},
        lambda body: {**body, "e": [{**body["e"][0], "k": "text"}]},
        lambda body: {**body, "e": [{**body["e"][0], "k": b""}]},
        lambda body: {**body, "e": [{**body["e"][0], "t": "text"}]},
        lambda body: {**body, "l": b"text"},
        lambda body: {**body, "l": 5},
        lambda body: [body],
        lambda _: None,
    ],
)
def test_nodes_of_other_fields_are_refused(edit: Callable[[dict[str, Any]], Any]) -> None:
    body = {"e": [{"k": LOW[0], "p": 0, "v": value(1), "t": None}], "l": None}
    raw = libipld.encode_dag_cbor(edit(body))
    refused(raw)
    with pytest.raises((BadTree, NotInvertible, Missing)):
        invert({block_cid(raw): raw}, block_cid(raw), [(LOW[0], value(1), None)])
    with pytest.raises((BadTree, NotInvertible, Missing)):
        invert({block_cid(raw): raw}, block_cid(raw), [(LOW[1], None, value(1))])


def test_bytes_that_are_not_canonical_are_refused() -> None:
    raw = raw_node(None, (LOW[0], 0, value(1), None))
    long_length = raw.replace(b"\xa2ae\x81", b"\xa2ae\x98\x01")
    long_zero = raw.replace(b"ap\x00", b"ap\x18\x00")
    not_a_link = raw.replace(b"av\xd8\x2a\x58\x25\x00", b"av\x58\x24")
    for changed in (long_length, long_zero, not_a_link):
        assert changed != raw
        refused(changed, match="canonical")
    refused(raw + b"\x00")


def test_too_many_entries_and_too_long_keys_are_refused() -> None:
    entries: list[tuple[bytes, int, bytes, bytes | None]] = []
    last = b""
    for key in keys_of_height(0, MAX_ENTRIES + 1):
        shared = common_prefix(last, key)
        entries.append((key[shared:], shared, value(1), None))
        last = key
    crowded = raw_node(None, *entries)
    refused(crowded, match="entries")
    with pytest.raises(BadTree, match="entries"):
        invert({block_cid(crowded): crowded}, block_cid(crowded), [(entries[0][0], value(1), None)])
    good = raw_node(None, *entries[:-1])
    assert len(list(walk({block_cid(good): good}, block_cid(good)))) == MAX_ENTRIES
    refused(raw_node(None, (b"x" * 5000, 0, value(1), None)))


def test_a_record_that_has_the_subtrees_cid_does_not_lead_the_proof_astray() -> None:
    # a value that stands in the parent under the same CID as the subtree that changes
    keys = sorted([*LOW, *MID])
    blocks, root = build({key: value(key) for key in keys})
    child = next(sub for sub in Tree(blocks, root).node(root, None).subs if sub is not None)
    held = {key: child if key in MID else value(key) for key in keys}
    blocks, root = build(held)
    for key in LOW:
        rest = {other: cid for other, cid in held.items() if other != key}
        assert invert(blocks, root, [(key, value(key), None)]) == build(rest)[1]
