"""Our part of a repo out of its file: all of it or an error, however the file was spoilt (rule E5)."""

from __future__ import annotations

import io
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import libipld
import pytest

from firehose.car import block_cid, read_car, write_car
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason
from firehose.mst import EMPTY
from firehose.repo import Head, RepoFile, read_repo
from firehose.subtree import bounds_of, walk_ranges
from tests.corpus import Corpus
from tests.fakenet.bigrepo import write_repo
from tests.fakenet.repo import FakeRepo, SigningKey, Write

OURS = ["fm.plyr.track", "fm.plyr.like"]
Records = list[tuple[str, str, bytes]]


def writes(collection: str, count: int) -> list[Write]:
    return [("create", collection, f"3k{n:03d}", {"$type": collection, "n": n}) for n in range(count)]


@pytest.fixture(scope="module")
def repo() -> FakeRepo:
    repo = FakeRepo(seed="mixed")
    for collection in ("app.bsky.feed.like", "fm.plyr.like", "fm.plyr.list", "fm.plyr.track", "zz.y.x"):
        repo.write(writes(collection, 40))
    return repo


def read(data: bytes, key: PublicKey | None = None, **how: Any) -> Records:
    with RepoFile.open(io.BytesIO(data)) as file:
        file.verify(key)
        return list(file.records(OURS, **how))


def ours(data: bytes) -> Records:
    return [each for each in read_repo(data, None).records if each[0].split("/")[0] in OURS]


def rejected(data: bytes, reason: Reason, **how: Any) -> None:
    with pytest.raises(CommitRejected) as refused:
        read(data, **how)
    assert refused.value.reason == reason


def test_the_real_repo_gives_of_each_collection_what_was_listed(corpus: Corpus) -> None:
    data = (corpus.folder / "repo.car").read_bytes()
    whole = read_repo(data, None)
    with RepoFile.open(corpus.folder / "repo.car") as file:
        assert file.verify(None) == Head(whole.did, whole.rev, whole.cid, whole.data)
        assert tuple(file.records(None)) == whole.records
        collections = {path.split("/")[0] for path, _, _ in whole.records}
        assert len(collections) > 3
        for collection in collections:
            part = [each for each in whole.records if each[0].startswith(f"{collection}/")]
            assert list(file.records([collection])) == part


@pytest.mark.parametrize("whole", [False, True])
def test_our_records_come_in_the_order_of_the_tree(repo: FakeRepo, whole: bool) -> None:
    got = read(repo.car(), PublicKey.parse(repo.key.did_key), whole=whole)
    assert got == ours(repo.car())
    assert len(got) == 80


def test_a_repo_without_ours_and_one_without_anything_have_none() -> None:
    for content in ([], writes("app.bsky.feed.like", 30)):
        repo = FakeRepo(seed="others")
        repo.write(content)
        assert read(repo.car()) == []
        assert read(repo.car(), whole=True) == []


def test_another_key_is_refused_before_anything_is_read(repo: FakeRepo) -> None:
    rejected(repo.car()[:600], Reason.BAD_SIGNATURE, key=PublicKey.parse(SigningKey("thief").did_key))


def test_records_are_not_given_before_the_head_was_verified(repo: FakeRepo) -> None:
    with RepoFile.open(io.BytesIO(repo.car())) as file, pytest.raises(RuntimeError):
        next(file.records(OURS))


def test_blocks_in_any_order_with_repeats_and_strangers_change_nothing(repo: FakeRepo) -> None:
    car = read_car(repo.car())
    order = [*car.blocks.items(), (block_cid(b"stranger"), b"stranger")]
    for seed in range(5):
        random.Random(seed).shuffle(order)
        data = write_car(car.roots[0], dict(order))
        assert read(data + data[59:]) == ours(repo.car())


def test_a_record_that_does_not_name_its_type_is_found() -> None:
    repo = FakeRepo(seed="anonymous")
    repo.write([*writes("fm.plyr.track", 20), ("create", "fm.plyr.track", "odd", {"x": 1})])
    assert "fm.plyr.track/odd" in [path for path, _, _ in read(repo.car())]


def outcome(data: bytes, key: PublicKey | None = None) -> Records | Reason:
    try:
        return read(data, key)
    except CommitRejected as error:
        return error.reason


def test_t18_a_repo_cut_anywhere_is_refused_or_lacks_nothing_of_ours(repo: FakeRepo) -> None:
    data, expected = repo.car(), ours(repo.car())
    sizes = [*range(300), *range(300, len(data), 37), len(data) - 1]
    outcomes = [outcome(data[:size]) for size in sizes]
    assert all(each in (Reason.BAD_CAR, Reason.MISSING_BLOCK) or each == expected for each in outcomes)
    assert outcomes.count(expected) < len(outcomes) / 10


def test_t18_a_repo_that_lacks_one_block_is_refused_if_it_is_on_the_way_to_ours(repo: FakeRepo) -> None:
    car, expected = read_car(repo.car()), ours(repo.car())
    needed: set[bytes] = {car.roots[0]}
    records = {
        cid for _, cid in walk_ranges(car.blocks.get, repo.data, bounds_of(OURS), lambda c, _: needed.add(c))
    }
    assert 80 < len(needed | records) < len(car.blocks)
    for lost in car.blocks:
        data = write_car(car.roots[0], {cid: raw for cid, raw in car.blocks.items() if cid != lost})
        if lost in needed | records:
            rejected(data, Reason.MISSING_BLOCK)
        else:
            assert read(data) == expected
        rejected(data, Reason.MISSING_BLOCK, whole=True)


def test_t18_a_repo_cut_at_any_block_boundary_gives_all_of_ours_or_an_error(repo: FakeRepo) -> None:
    car, expected = read_car(repo.car()), ours(repo.car())
    order = list(car.blocks.items())
    random.Random(1).shuffle(order)
    for kept in range(len(order)):
        data = write_car(car.roots[0], dict(order[:kept]))
        assert outcome(data) in (Reason.MISSING_BLOCK, expected)
        rejected(data, Reason.MISSING_BLOCK, whole=True)


def test_t17_a_flipped_bit_changes_no_record(repo: FakeRepo) -> None:
    data, expected = repo.car(), ours(repo.car())
    key = PublicKey.parse(repo.key.did_key)
    outcomes: list[Records | Reason] = []
    for at in range(0, len(data), 61):
        spoilt = data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]
        outcomes.append(outcome(spoilt))
        with pytest.raises(CommitRejected):
            read(spoilt, key, whole=True)
    assert all(isinstance(each, Reason) or each == expected for each in outcomes)
    assert sum(isinstance(each, Reason) for each in outcomes) > 50


def test_a_record_larger_than_any_may_be_is_refused() -> None:
    repo = FakeRepo(seed="fat")
    repo.write([("create", "fm.plyr.track", "1", {"$type": "fm.plyr.track", "x": "x" * 1_048_576})])
    rejected(repo.car(), Reason.TOO_BIG)


def test_a_bad_tree_is_refused() -> None:
    key, record = SigningKey(1), libipld.encode_dag_cbor({"n": 1})
    entry = {"k": b"fm.plyr.track/1", "p": 0, "t": EMPTY, "v": block_cid(record)}
    node = libipld.encode_dag_cbor({"e": [entry], "l": None})
    unsigned = {
        "did": "did:web:x.test",
        "version": 3,
        "data": block_cid(node),
        "rev": "3k22222222222",
        "prev": None,
    }
    commit = libipld.encode_dag_cbor({**unsigned, "sig": key.sign(libipld.encode_dag_cbor(unsigned))})
    rejected(
        write_car(block_cid(commit), {block_cid(raw): raw for raw in (commit, node, record)}), Reason.BAD_TREE
    )


def test_what_is_no_car_is_refused_when_it_is_opened() -> None:
    with pytest.raises(CommitRejected) as refused:
        RepoFile.open(io.BytesIO(b"<html>"))
    assert refused.value.reason == Reason.BAD_CAR


@pytest.mark.parametrize("after_records", [False, True])
def test_the_proof_leads_to_every_record_of_ours_and_holds_none(repo: FakeRepo, after_records: bool) -> None:
    with RepoFile.open(io.BytesIO(repo.car())) as file:
        head = file.verify(None)
        records = list(file.records(OURS)) if after_records else ours(repo.car())
        proof = file.proof(OURS)
    assert proof is not None
    car = read_car(proof)
    assert car.roots == (repo.commit,)
    with RepoFile.open(io.BytesIO(proof)) as again:
        assert again.verify(PublicKey.parse(repo.key.did_key)) == head
    keys = [key.decode() for key, _ in walk_ranges(car.blocks.get, repo.data, bounds_of(OURS))]
    assert keys == [path for path, _, _ in records]
    assert not any(raw in car.blocks.values() for _, _, raw in records)
    assert len(car.blocks) < len(read_car(repo.car()).blocks) / 2


def test_a_large_repo_is_read_from_its_file_and_its_proof_is_not_kept(tmp_path: Path) -> None:
    key, path = SigningKey("large"), tmp_path / "repo.car"
    content = [
        (f"{name}/{rkey}", libipld.encode_dag_cbor({"$type": name, "text": rkey * 3}))
        for name, count in (("app.bsky.feed.like", 5_000), ("fm.plyr.like", 40_000))
        for rkey in sorted(sha256(str(n).encode()).hexdigest() for n in range(count))
    ]
    with path.open("w+b") as file:
        write_repo(file, "did:web:large.test", key, "3k22222222222", content)
    assert path.stat().st_size > 8 * 1024 * 1024
    with RepoFile.open(path) as repo:
        assert repo.verify(PublicKey.parse(key.did_key)).did == "did:web:large.test"
        assert [(name, block) for name, _, block in repo.records(OURS)] == content[5_000:]
        assert repo.proof(OURS) is None
        assert repo.proof(["fm.plyr.track"]) is not None


def test_a_large_repo_is_the_same_as_one_written_record_by_record() -> None:
    repo = FakeRepo(seed="same", curve="p256")
    repo.write(writes("fm.plyr.track", 300))
    file = io.BytesIO()
    content = [(path, repo.blocks[cid]) for path, cid in repo.listing()]
    assert repo.rev is not None
    write_repo(file, repo.did, repo.key, repo.rev, content)
    assert (
        read_repo(file.getvalue(), PublicKey.parse(repo.key.did_key)).records
        == read_repo(repo.car(), None).records
    )


def test_no_damage_raises_anything_but_a_rejection(repo: FakeRepo) -> None:
    data, expected, dice = repo.car(), ours(repo.car()), random.Random(7)
    outcomes: list[Records | Reason] = []
    for _ in range(400):
        start, size = dice.randrange(len(data)), dice.randrange(60)
        filling = dice.choice([b"", dice.randbytes(size), data[dice.randrange(len(data)) :][:size]])
        outcomes.append(outcome(data[:start] + filling + data[start + dice.choice([0, size]) :]))
    assert all(isinstance(each, Reason) or each == expected for each in outcomes)
    assert sum(isinstance(each, Reason) for each in outcomes) > 200
