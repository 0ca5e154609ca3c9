"""Verified commits and syncs: what proves itself, and all the ways in which it does not (B1-B13, C1-C3)."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import libipld
import pytest
from msgspec.structs import replace

from firehose.capture import record_line
from firehose.car import DAG_CBOR, RAW, block_cid, read_car, write_car
from firehose.commit import MAX_BLOCKS, MAX_RECORD, verify_commit, verify_sync
from firehose.events import Account, Action, Commit, Frame, Identity, Info
from firehose.frames import BadFrame, decode_frame
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason, account_of, identity_of, info_of
from firehose.mst import EMPTY, key_height
from lexicons.syntax import tid_from_us
from tests.corpus import NOW_US, Corpus
from tests.fakenet.repo import FakeRepo, SigningKey, Write, edit_blocks, frame, resign, signed_block

Body = dict[str, Any]
POST = "app.bsky.feed.post"


def key_of(repo: FakeRepo) -> PublicKey:
    return PublicKey.parse(repo.key.did_key)


def rejected(body: Body, key: PublicKey, reason: Reason, now_us: int = NOW_US) -> None:
    with pytest.raises(CommitRejected) as refused:
        verify_commit(body, key, now_us)
    assert refused.value.reason == reason, refused.value


def track(n: object) -> dict[str, Any]:
    return {"$type": "fm.plyr.track", "title": f"track {n}"}


@pytest.fixture(scope="module")
def grown() -> FakeRepo:
    repo = FakeRepo(seed="commit tests")
    writes: list[Write] = [("create", POST, f"3k{n:04d}", {"n": n}) for n in range(290)]
    repo.write([*writes[:200]])
    repo.write([*writes[200:], *(("create", "fm.plyr.track", f"3t{n}", track(n)) for n in range(10))])
    return repo


@pytest.fixture
def repo(grown: FakeRepo) -> FakeRepo:
    """A repo with 300 records, some of them ours."""
    return copy.deepcopy(grown)


@pytest.fixture
def body(repo: FakeRepo) -> Body:
    """A good commit of three operations on that repo."""
    return repo.write(
        [
            ("create", "fm.plyr.track", "3new", track("new")),
            ("update", "fm.plyr.track", "3t3", track("changed")),
            ("delete", POST, "3k0100", None),
        ]
    )


# -- what holds --------------------------------------------------------------------------------------


def test_every_real_commit_gives_the_operations_that_another_implementation_printed(corpus: Corpus) -> None:
    lines: list[dict[str, Any]] = []
    for _, body, key in corpus.commits:
        commit = verify_commit(body, key, NOW_US)
        lines += [record_line(commit, op) for op in commit.ops]
    assert lines == corpus.expected()


def test_a_good_commit_is_taken_whole(repo: FakeRepo, body: Body) -> None:
    commit = verify_commit(body, key_of(repo), NOW_US)
    assert (commit.did, commit.rev) == (repo.did, repo.rev)
    assert commit.data == libipld.encode_cid(repo.data)
    assert [(op.action, op.collection, op.rkey) for op in commit.ops] == [
        (Action.CREATE, "fm.plyr.track", "3new"),
        (Action.UPDATE, "fm.plyr.track", "3t3"),
        (Action.DELETE, POST, "3k0100"),
    ]
    assert libipld.decode_dag_cbor(commit.ops[1].block or b"") == track("changed")
    assert commit.ops[2].cid is None
    assert commit.ops[2].block is None


def test_consecutive_commits_hang_together(repo: FakeRepo) -> None:
    before: Commit | None = None
    for n in range(20):
        commit = verify_commit(repo.write([("create", POST, f"3z{n}", {"n": n})]), key_of(repo), NOW_US)
        if before is not None:
            assert (commit.since, commit.prev_data) == (before.rev, before.data)
        before = commit


def test_p256_accounts_are_verified_too() -> None:
    repo = FakeRepo(seed=1, curve="p256")
    body = repo.write([("create", POST, "3k", {"n": 1})])
    assert verify_commit(body, key_of(repo), NOW_US).did == repo.did
    rejected(body, PublicKey.parse(SigningKey(2, "p256").did_key), Reason.BAD_SIGNATURE)


def test_a_signature_that_looks_like_a_cid_is_bytes_all_the_same() -> None:
    repo = FakeRepo(seed="sig")
    looked_alike = 0
    for n in range(20_000):
        unsigned = {"did": repo.did, "version": 3, "data": EMPTY, "rev": str(tid_from_us(n)), "prev": None}
        block = signed_block(unsigned, repo.key)
        signature = libipld.decode_dag_cbor(block)["sig"]
        if libipld.encode_dag_cbor(libipld.decode_dag_cbor(block)) != block:
            looked_alike += 1
            body = {**repo.write([]), "rev": unsigned["rev"], "since": None, "commit": block_cid(block)}
            body["blocks"] = write_car(block_cid(block), {block_cid(block): block})
            assert len(signature) == 64
            assert verify_commit(body, key_of(repo), NOW_US).rev == unsigned["rev"]
            break
    assert looked_alike


def test_a_first_commit_may_leave_prev_data_out() -> None:
    repo = FakeRepo(seed=2)
    body = repo.write([("create", POST, "3k", {"n": 1}), ("create", POST, "3l", {"n": 2})])
    assert "prevData" not in body
    commit = verify_commit(body, key_of(repo), NOW_US)
    assert (commit.since, commit.prev_data) == (None, None)
    assert verify_commit({**body, "prevData": None}, key_of(repo), NOW_US) == commit
    assert verify_commit({**body, "prevData": EMPTY}, key_of(repo), NOW_US).ops == commit.ops


def test_a_first_commit_that_tells_only_a_part_is_not_inductive() -> None:
    repo = FakeRepo(seed=3)
    body = repo.write([("create", POST, "3k", {"n": 1}), ("create", POST, "3l", {"n": 2})])
    rejected({**body, "ops": body["ops"][:1]}, key_of(repo), Reason.NOT_INDUCTIVE)


def test_an_empty_commit_is_legal_and_moves_the_rev(repo: FakeRepo) -> None:
    before = repo.data
    commit = verify_commit(repo.write([]), key_of(repo), NOW_US)
    assert commit.ops == ()
    assert commit.data == commit.prev_data == libipld.encode_cid(before)
    new = FakeRepo(seed=4)
    assert verify_commit(new.write([]), key_of(new), NOW_US).data == libipld.encode_cid(EMPTY)


def test_the_last_record_can_be_deleted() -> None:
    repo = FakeRepo(seed=5)
    repo.write([("create", POST, "3k", {"n": 1})])
    commit = verify_commit(repo.write([("delete", POST, "3k", None)]), key_of(repo), NOW_US)
    assert commit.data == libipld.encode_cid(EMPTY)


def test_deprecated_fields_change_nothing(repo: FakeRepo, body: Body) -> None:
    commit = verify_commit(body, key_of(repo), NOW_US)
    odd = {**body, "tooBig": True, "rebase": True, "blobs": ["?"], "extra": 1}
    assert verify_commit(odd, key_of(repo), NOW_US) == commit
    for name in ("tooBig", "rebase", "blobs"):
        odd.pop(name)
    assert verify_commit(odd, key_of(repo), NOW_US) == commit


def test_random_changes_of_a_growing_and_shrinking_repo_are_all_verified() -> None:
    rng = random.Random(11)
    repo = FakeRepo(seed=6)
    held: set[tuple[str, str]] = set()
    for n in range(250):
        writes: list[Write] = []
        touched: set[tuple[str, str]] = set()
        for _ in range(rng.choice((1, 1, 1, 2, 7))):
            free = sorted(held - touched)
            if free and rng.random() < (0.3 if n < 150 else 0.8):
                path = rng.choice(free)
                action = rng.choice(("update", "delete", "delete"))
                writes.append((action, *path, {"n": n} if action == "update" else None))
                if action == "delete":
                    held.discard(path)
            else:
                path = (rng.choice((POST, "fm.plyr.track")), str(tid_from_us(rng.randrange(10**15))))
                writes.append(("create", *path, {"n": n}))
                held.add(path)
            touched.add(path)
        commit = verify_commit(repo.write(writes), key_of(repo), NOW_US)
        assert len(commit.ops) == len(writes)
    assert {tuple(path.split("/")) for path, _ in repo.listing()} == held


# -- bytes that changed on the way ---------------------------------------------------------------------


def proven(commit: Commit) -> Commit:
    """The commit without what the account does not sign: seq, time, since (rules B7, B8 watch those)."""
    return replace(commit, seq=0, time="", since=None)


def harmless_or_refused(raw: bytes, key: PublicKey, good: Commit) -> str:
    """What became of a damaged frame; it must not be another event."""
    try:
        got = decode_frame(raw)
    except BadFrame:
        return "bad_frame"
    if not isinstance(got, Frame) or got.type != "#commit":
        return "another type"
    try:
        commit = verify_commit(got.body, key, NOW_US)
    except CommitRejected as error:
        return error.reason
    assert proven(commit) == proven(good)
    return "harmless"


def test_no_flipped_byte_of_two_small_frames_gives_another_event(corpus: Corpus) -> None:
    outcomes: dict[str, int] = {}
    for raw, body, key in sorted(corpus.commits, key=lambda each: len(each[0]))[:2]:
        good = verify_commit(body, key, NOW_US)
        for at in range(len(raw)):
            damaged = raw[:at] + bytes((raw[at] ^ (1 << at % 8),)) + raw[at + 1 :]
            outcome = harmless_or_refused(damaged, key, good)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            in_blocks = raw.index(body["blocks"]) <= at < raw.index(body["blocks"]) + len(body["blocks"])
            assert not in_blocks or outcome in ("bad_car", "mismatch", "missing_block", "harmless")
    assert {"bad_frame", "bad_car", "bad_syntax", "mismatch", "harmless"} <= outcomes.keys()
    assert outcomes["bad_car"] > 0.5 * sum(outcomes.values())


def test_no_flipped_byte_inside_the_blocks_is_harmless(corpus: Corpus) -> None:
    rng = random.Random(3)
    for raw, body, key in corpus.commits:
        good = verify_commit(body, key, NOW_US)
        start = raw.index(body["blocks"])
        # past the header of the CAR, whose bytes say nothing about the repo
        for at in rng.sample(range(start + 59, start + len(body["blocks"])), 25):
            damaged = raw[:at] + bytes((raw[at] ^ (1 << rng.randrange(8)),)) + raw[at + 1 :]
            assert harmless_or_refused(damaged, key, good) == "bad_car"


def test_no_flipped_byte_anywhere_gives_another_event(corpus: Corpus) -> None:
    rng = random.Random(4)
    refused = 0
    for raw, body, key in corpus.commits:
        good = verify_commit(body, key, NOW_US)
        for at in rng.sample(range(raw.index(body["blocks"])), 25):
            damaged = raw[:at] + bytes((raw[at] ^ (1 << rng.randrange(8)),)) + raw[at + 1 :]
            refused += harmless_or_refused(damaged, key, good) != "harmless"
    assert refused > 148 * 25 // 2


def test_no_cut_frame_gives_an_event(corpus: Corpus) -> None:
    for raw, body, key in corpus.commits[::6]:
        good = verify_commit(body, key, NOW_US)
        for size in range(0, len(raw), 61):
            assert harmless_or_refused(raw[:size], key, good) == "bad_frame"


def test_t17_block_with_wrong_hash_is_refused(repo: FakeRepo, body: Body) -> None:
    for cid in read_car(body["blocks"]).blocks:

        def damage(blocks: dict[bytes, bytes], cid: bytes = cid) -> None:
            blocks[cid] = blocks[cid][:-1] + bytes((blocks[cid][-1] ^ 1,))

        rejected(edit_blocks(body, damage), key_of(repo), Reason.BAD_CAR)


def test_t18_cut_at_a_block_boundary_lacks_blocks_and_is_refused(repo: FakeRepo, body: Body) -> None:
    car = read_car(body["blocks"])
    cids = list(car.blocks)
    for kept in range(len(cids)):
        cut = write_car(car.roots[0], {cid: car.blocks[cid] for cid in cids[:kept]})
        assert body["blocks"].startswith(cut)
        rejected({**body, "blocks": cut}, key_of(repo), Reason.MISSING_BLOCK)


def test_t23_operation_without_its_block_rejects_the_whole_commit(repo: FakeRepo, body: Body) -> None:
    cid = body["ops"][0]["cid"]
    without = edit_blocks(body, lambda blocks: blocks.pop(cid) and None)
    with pytest.raises(CommitRejected, match=r"fm\.plyr\.track/3new") as refused:
        verify_commit(without, key_of(repo), NOW_US)
    assert refused.value.reason == Reason.MISSING_BLOCK


def test_a_missing_node_of_the_proof_is_told_apart_from_a_lie(repo: FakeRepo, body: Body) -> None:
    outcomes: list[Reason | None] = []
    for cid, raw in read_car(body["blocks"]).blocks.items():
        value = libipld.decode_dag_cbor(raw)
        if isinstance(value, dict) and value.keys() == {"e", "l"}:
            without = edit_blocks(body, lambda blocks, cid=cid: blocks.pop(cid) and None)
            try:
                verify_commit(without, key_of(repo), NOW_US)  # a neighbour that was not needed
                outcomes.append(None)
            except CommitRejected as error:
                outcomes.append(error.reason)
    assert outcomes.count(Reason.MISSING_BLOCK) >= 3
    assert set(outcomes) <= {None, Reason.MISSING_BLOCK}


def test_extra_and_unordered_blocks_change_nothing(repo: FakeRepo, body: Body) -> None:
    commit = verify_commit(body, key_of(repo), NOW_US)
    car = read_car(body["blocks"])
    extra = libipld.encode_dag_cbor({"nobody": "asked"})
    shuffled = {block_cid(extra): extra, **dict(reversed(car.blocks.items()))}
    blocks = write_car(car.roots[0], shuffled)
    again = verify_commit({**body, "blocks": blocks}, key_of(repo), NOW_US)
    assert again == replace(commit, proof=blocks)


# -- frames that contradict the signed commit ------------------------------------------------------------


def test_another_accounts_commit_is_refused(repo: FakeRepo, body: Body) -> None:
    other = FakeRepo(seed="other")
    rejected({**body, "repo": other.did}, key_of(repo), Reason.MISMATCH)
    rejected(resign(body, repo.key, did=other.did), key_of(repo), Reason.MISMATCH)


def test_another_rev_than_the_signed_one_is_refused(repo: FakeRepo, body: Body) -> None:
    rejected({**body, "rev": str(tid_from_us(NOW_US))}, key_of(repo), Reason.MISMATCH)


def test_another_root_than_the_frames_commit_is_refused(repo: FakeRepo, body: Body) -> None:
    rejected({**body, "commit": body["ops"][0]["cid"]}, key_of(repo), Reason.MISMATCH)


def test_another_key_is_refused(repo: FakeRepo, body: Body) -> None:
    rejected(body, PublicKey.parse(SigningKey("thief").did_key), Reason.BAD_SIGNATURE)
    rejected(resign(body, SigningKey("thief")), key_of(repo), Reason.BAD_SIGNATURE)


def test_t39_high_s_commit_is_refused(repo: FakeRepo, body: Body) -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

    class HighS(SigningKey):
        def __init__(self) -> None:
            low = repo.key.sign
            self.sign = lambda m: (
                (s := low(m))[:32] + (order - int.from_bytes(s[32:], "big")).to_bytes(32, "big")
            )

    rejected(resign(body, HighS()), key_of(repo), Reason.BAD_SIGNATURE)
    assert verify_commit(resign(body, repo.key), key_of(repo), NOW_US)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "3"},
        {"version": 3.0},
        {"version": True},
        {"prev": "text"},
        {"data": b"short"},
        {"data": None},
        {"data": RAW + b"x" * 32},
        {"did": 5},
        {"rev": None},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_commit_object_of_other_fields_is_refused(repo: FakeRepo, body: Body, changes: Body) -> None:
    rejected(resign(body, repo.key, **changes), key_of(repo), Reason.BAD_COMMIT)


def with_commit_block(body: Body, edit: Callable[[bytes], bytes]) -> Body:
    """The same commit with other bytes for its commit object."""
    car = read_car(body["blocks"])
    blocks = dict(car.blocks)
    raw = edit(blocks.pop(car.roots[0]))
    return {
        **body,
        "commit": block_cid(raw),
        "blocks": write_car(block_cid(raw), {block_cid(raw): raw, **blocks}),
    }


def test_t19_a_commit_object_that_is_not_canonical_is_refused(repo: FakeRepo, body: Body) -> None:
    rejected(
        with_commit_block(body, lambda raw: raw.replace(b"gversion\x03", b"gversion\x18\x03")),
        key_of(repo),
        Reason.BAD_COMMIT,
    )
    rejected(with_commit_block(body, lambda raw: raw + b"\x00"), key_of(repo), Reason.BAD_COMMIT)
    rejected(with_commit_block(body, lambda _: b"\x81" * 5000 + b"\x00"), key_of(repo), Reason.BAD_COMMIT)
    rejected(with_commit_block(body, lambda _: b"\x01"), key_of(repo), Reason.BAD_COMMIT)


def test_a_commit_object_without_prev_or_sig_is_refused(repo: FakeRepo, body: Body) -> None:
    for name in ("prev", "sig", "data"):

        def drop(raw: bytes, name: str = name) -> bytes:
            value = libipld.decode_dag_cbor(raw)
            return libipld.encode_dag_cbor({field: value[field] for field in value if field != name})

        rejected(with_commit_block(body, drop), key_of(repo), Reason.BAD_COMMIT)


def test_a_prev_of_older_times_is_tolerated(repo: FakeRepo, body: Body) -> None:
    assert verify_commit(resign(body, repo.key, prev=body["commit"]), key_of(repo), NOW_US).ops


# -- operations that lie ---------------------------------------------------------------------------------


def ops_changed(body: Body, at: int, **changes: Any) -> Body:
    ops = [dict(op) for op in body["ops"]]
    ops[at].update(changes)
    return {**body, "ops": ops}


def test_a_left_out_operation_is_refused(repo: FakeRepo, body: Body) -> None:
    for at in range(3):
        ops = body["ops"][:at] + body["ops"][at + 1 :]
        rejected({**body, "ops": ops}, key_of(repo), Reason.BAD_INVERSION)
    rejected({**body, "ops": []}, key_of(repo), Reason.BAD_INVERSION)


def test_an_added_operation_is_refused(repo: FakeRepo, body: Body) -> None:
    deleted = {"action": "delete", "path": f"{POST}/3nothing", "cid": None, "prev": body["ops"][1]["prev"]}
    rejected({**body, "ops": [*body["ops"], deleted]}, key_of(repo), Reason.BAD_INVERSION)
    created = {"action": "create", "path": f"{POST}/3nothing", "cid": body["ops"][0]["cid"]}
    with pytest.raises(CommitRejected) as refused:
        verify_commit({**body, "ops": [*body["ops"], created]}, key_of(repo), NOW_US)
    assert refused.value.reason in (Reason.BAD_INVERSION, Reason.MISSING_BLOCK)


def test_an_operation_under_another_name_is_refused(repo: FakeRepo, body: Body) -> None:
    old = body["ops"][1]["prev"]
    rejected(ops_changed(body, 0, action="update", prev=old), key_of(repo), Reason.BAD_INVERSION)
    rejected(ops_changed(body, 1, action="create", prev=None), key_of(repo), Reason.BAD_INVERSION)
    rejected(ops_changed(body, 1, action="delete", cid=None), key_of(repo), Reason.BAD_INVERSION)


def test_another_cid_than_the_trees_is_refused(repo: FakeRepo, body: Body) -> None:
    first, second = body["ops"][0]["cid"], body["ops"][1]["cid"]
    rejected(ops_changed(body, 0, cid=second), key_of(repo), Reason.BAD_INVERSION)
    rejected(ops_changed(body, 1, cid=first), key_of(repo), Reason.BAD_INVERSION)


def test_another_prev_is_refused(repo: FakeRepo, body: Body) -> None:
    for at in (1, 2):
        rejected(ops_changed(body, at, prev=body["ops"][0]["cid"]), key_of(repo), Reason.BAD_INVERSION)


def test_another_prev_data_is_refused(repo: FakeRepo, body: Body) -> None:
    rejected({**body, "prevData": DAG_CBOR + b"x" * 32}, key_of(repo), Reason.BAD_INVERSION)
    rejected({**body, "prevData": EMPTY}, key_of(repo), Reason.BAD_INVERSION)
    rejected({**body, "prevData": repo.data}, key_of(repo), Reason.BAD_INVERSION)


@pytest.mark.parametrize("prev_data", ["omitted", None])
def test_t22_legacy_commit_without_prev_data_is_not_inductive(
    repo: FakeRepo, body: Body, prev_data: object
) -> None:
    legacy = {name: value for name, value in body.items() if name != "prevData"}
    if prev_data is None:
        legacy["prevData"] = None
    rejected(legacy, key_of(repo), Reason.NOT_INDUCTIVE)


def test_t22_legacy_operation_without_prev_is_not_inductive(repo: FakeRepo, body: Body) -> None:
    for at in (1, 2):
        rejected(ops_changed(body, at, prev=None), key_of(repo), Reason.NOT_INDUCTIVE)


def test_t22_tree_with_children_under_layer_0_is_a_bad_tree() -> None:
    repo = FakeRepo(seed=7)
    rkey = next(f"3k{n}" for n in range(99) if key_height(f"{POST}/3k{n}".encode()) == 0)
    body = repo.write([("create", POST, rkey, {"n": 1})])
    key, cid = body["ops"][0]["path"].encode(), body["ops"][0]["cid"]
    child = libipld.encode_dag_cbor({"e": [{"k": b"a.b.c/1", "p": 0, "t": None, "v": cid}], "l": None})
    node = libipld.encode_dag_cbor({"e": [{"k": key, "p": 0, "t": None, "v": cid}], "l": block_cid(child)})

    def add(blocks: dict[bytes, bytes]) -> None:
        blocks.update({block_cid(raw): raw for raw in (child, node)})

    wrong = resign(edit_blocks(body, add), repo.key, data=block_cid(node))
    rejected(wrong, key_of(repo), Reason.BAD_TREE)


# -- fields of the frame ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seq", "repo", "rev", "since", "time", "commit", "blocks", "ops"])
def test_a_missing_field_is_refused(repo: FakeRepo, body: Body, name: str) -> None:
    without = {field: value for field, value in body.items() if field != name}
    rejected(without, key_of(repo), Reason.BAD_SYNTAX)


@pytest.mark.parametrize("wrong", [None, 5, True, "", "text\n", b"bytes", [], {}, ["did:plc:x"]], ids=repr)
@pytest.mark.parametrize("name", ["repo", "rev", "time", "commit", "blocks"])
def test_a_field_of_another_type_or_syntax_is_refused(
    repo: FakeRepo, body: Body, name: str, wrong: Any
) -> None:
    if (name, wrong) == ("blocks", b"bytes"):
        rejected({**body, name: wrong}, key_of(repo), Reason.BAD_CAR)
    else:
        rejected({**body, name: wrong}, key_of(repo), Reason.BAD_SYNTAX)


@pytest.mark.parametrize("since", [5, "", "3k", "zzzzzzzzzzzzz", b"3mptbyp63ih2m"])
def test_a_since_that_is_no_tid_before_rev_is_refused(repo: FakeRepo, body: Body, since: object) -> None:
    rejected({**body, "since": since}, key_of(repo), Reason.BAD_SYNTAX)
    rejected({**body, "since": body["rev"]}, key_of(repo), Reason.BAD_SYNTAX)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "upsert"},
        {"action": None},
        {"action": ["create"]},
        {"path": None},
        {"path": "fm.plyr.track"},
        {"path": "fm.plyr.track/"},
        {"path": "/3new"},
        {"path": "fm.plyr.track/3new/x"},
        {"path": "fm.plyr.track/."},
        {"path": "fm/3new"},
        {"path": "fm.plyr.track/3new\n"},
        {"path": "fm.plyr.track/3\u00fc"},
        {"path": "fm.plyr.track/3t3"},
        {"cid": None},
        {"cid": "bafy"},
        {"cid": RAW + b"x" * 32},
        {"cid": DAG_CBOR + b"x"},
        {"prev": DAG_CBOR + b"x" * 32},
    ],
    ids=str,
)
def test_a_malformed_operation_is_refused(repo: FakeRepo, body: Body, changes: Body) -> None:
    rejected(ops_changed(body, 0, **changes), key_of(repo), Reason.BAD_SYNTAX)


@pytest.mark.parametrize("ops", [None, {}, "ops", [None], [5], [["create"]]])
def test_ops_that_are_no_list_of_maps_are_refused(repo: FakeRepo, body: Body, ops: object) -> None:
    rejected({**body, "ops": ops}, key_of(repo), Reason.BAD_SYNTAX)


def test_a_delete_with_a_cid_and_a_malformed_prev_are_refused(repo: FakeRepo, body: Body) -> None:
    rejected(ops_changed(body, 2, cid=body["ops"][0]["cid"]), key_of(repo), Reason.BAD_SYNTAX)
    rejected(ops_changed(body, 2, prev="bafy"), key_of(repo), Reason.BAD_SYNTAX)


def test_a_rev_of_up_to_five_minutes_ahead_is_taken(repo: FakeRepo) -> None:
    ahead = NOW_US + 300_000_000
    body = repo.write([("create", POST, "3now", {"n": 1})], now_us=ahead)
    assert verify_commit(body, key_of(repo), NOW_US)
    rejected(body, key_of(repo), Reason.FUTURE_REV, now_us=NOW_US - 2_000_000)
    later = repo.write([("create", POST, "3later", {"n": 1})], now_us=ahead + 2_000_000)
    rejected(later, key_of(repo), Reason.FUTURE_REV)


def test_200_operations_are_taken_and_201_are_not() -> None:
    repo = FakeRepo(seed=8)
    body = repo.write([("create", POST, f"3k{n}", {"n": n}) for n in range(200)])
    assert len(verify_commit(body, key_of(repo), NOW_US).ops) == 200
    more = repo.write([("create", POST, f"3l{n}", {"n": n}) for n in range(201)])
    rejected(more, key_of(repo), Reason.TOO_BIG)


def test_two_million_bytes_of_blocks_are_taken_and_one_more_is_not(repo: FakeRepo, body: Body) -> None:
    def padded(size: int) -> Body:
        space = size - len(body["blocks"])
        head = libipld.encode_dag_cbor(b"\0" * (space - 50))
        raw = libipld.encode_dag_cbor(b"\0" * (space - 50 + (space - 39 - len(head))))
        grown = edit_blocks(body, lambda blocks: blocks.update({block_cid(raw): raw}))
        assert len(grown["blocks"]) == size
        return grown

    assert verify_commit(padded(MAX_BLOCKS), key_of(repo), NOW_US)
    rejected(padded(MAX_BLOCKS + 1), key_of(repo), Reason.TOO_BIG)


def test_a_record_of_one_mebibyte_is_taken_and_one_byte_more_is_not(repo: FakeRepo) -> None:
    overhead = len(libipld.encode_dag_cbor({"text": "x" * MAX_RECORD})) - MAX_RECORD
    fits = repo.write([("create", POST, "3big", {"text": "x" * (MAX_RECORD - overhead)})])
    assert len(verify_commit(fits, key_of(repo), NOW_US).ops[0].block or b"") == MAX_RECORD
    rejected(
        repo.write([("create", POST, "3huge", {"text": "x" * (MAX_RECORD - overhead + 1)})]),
        key_of(repo),
        Reason.TOO_BIG,
    )


def test_noise_in_any_field_is_refused_with_a_reason(corpus: Corpus) -> None:
    rng = random.Random(9)
    taken, refused = set[str](), 0
    values: list[Any] = [None, True, 0, -1, 2**63, "", "x", "\0", b"", b"\x01" * 36, [], [[]], {}, {"e": []}]
    for _, body, key in corpus.commits[:60]:
        for name in body:
            if name in ("rebase", "tooBig", "blobs"):
                continue
            changed = {**body, name: rng.choice(values)}
            try:
                verify_commit(changed, key, NOW_US)
                taken.add(name)
            except CommitRejected:
                refused += 1
    assert taken <= {"seq", "since"}
    assert refused > 300


# -- the other messages ----------------------------------------------------------------------------------


def test_a_sync_tells_the_signed_state(repo: FakeRepo) -> None:
    sync = verify_sync(repo.sync_body(), key_of(repo), NOW_US)
    assert (sync.did, sync.rev, sync.data) == (repo.did, repo.rev, libipld.encode_cid(repo.data))


def test_a_sync_is_checked_as_a_commit_is(repo: FakeRepo) -> None:
    body = repo.sync_body()
    other = FakeRepo(seed="other")
    cases: list[tuple[Body, PublicKey, Reason]] = [
        (body, key_of(other), Reason.BAD_SIGNATURE),
        ({**body, "did": other.did}, key_of(repo), Reason.MISMATCH),
        ({**body, "rev": str(tid_from_us(NOW_US))}, key_of(repo), Reason.MISMATCH),
        ({**body, "blocks": b"x"}, key_of(repo), Reason.BAD_CAR),
        ({**body, "blocks": None}, key_of(repo), Reason.BAD_SYNTAX),
        ({**body, "did": None}, key_of(repo), Reason.BAD_SYNTAX),
        ({**body, "blocks": repo.car()}, key_of(repo), Reason.TOO_BIG),
        ({**body, "blocks": body["blocks"][:59]}, key_of(repo), Reason.MISSING_BLOCK),
    ]
    for changed, key, reason in cases:
        with pytest.raises(CommitRejected) as refused:
            verify_sync(changed, key, NOW_US)
        assert refused.value.reason == reason


def test_an_identity_needs_no_handle(repo: FakeRepo, corpus: Corpus) -> None:
    time = repo.identity_body()["time"]
    assert identity_of(repo.identity_body()) == Identity(0, repo.did, time, None)  # type: ignore[arg-type]
    assert identity_of(repo.identity_body("alice.test")).handle == "alice.test"
    assert identity_of({**repo.identity_body(), "handle": 5}).handle is None
    (real,) = [f for f in map(decode_frame, corpus.frames) if isinstance(f, Frame) and f.type == "#identity"]
    assert identity_of(real.body).handle is None


@pytest.mark.parametrize("status", [None, "deactivated", "throttled", "something new"])
def test_an_account_event_passes_any_status_on(repo: FakeRepo, status: str | None) -> None:
    got = account_of(repo.account_body(False, status))
    assert got == Account(0, repo.did, repo.account_body()["time"], False, status)  # type: ignore[arg-type]


def test_malformed_hearsay_is_refused(repo: FakeRepo) -> None:
    good = repo.account_body()
    for changes in (
        {"active": None},
        {"active": 1},
        {"status": 5},
        {"did": "x"},
        {"time": ""},
        {"seq": None},
    ):
        with pytest.raises(CommitRejected) as refused:
            account_of({**good, **changes})
        assert refused.value.reason == Reason.BAD_SYNTAX
    for changes in ({"did": None}, {"time": 5}, {"seq": "1"}):
        with pytest.raises(CommitRejected) as refused:
            identity_of({**repo.identity_body(), **changes})
        assert refused.value.reason == Reason.BAD_SYNTAX


def test_an_info_has_a_name() -> None:
    assert info_of({"name": "OutdatedCursor", "message": "gone"}) == Info("OutdatedCursor", "gone")
    assert info_of({"name": "OutdatedCursor", "message": 5}) == Info("OutdatedCursor", None)
    with pytest.raises(CommitRejected):
        info_of({"message": "?"})


def test_the_wire_gives_the_same_commit(repo: FakeRepo, body: Body) -> None:
    got = decode_frame(frame("#commit", body, 42))
    assert isinstance(got, Frame)
    commit = verify_commit(got.body, key_of(repo), NOW_US)
    assert commit == replace(verify_commit(body, key_of(repo), NOW_US), seq=42)
