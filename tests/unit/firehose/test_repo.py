"""A whole repo from its CAR: the real one as it was listed, and every way to spoil it (rule E5)."""

from __future__ import annotations

import libipld
import pytest

from firehose.car import DAG_CBOR, block_cid, read_car, write_car
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason
from firehose.repo import read_repo
from tests.corpus import Corpus
from tests.fakenet.repo import FakeRepo, SigningKey


@pytest.fixture(scope="module")
def repo() -> FakeRepo:
    repo = FakeRepo(seed="whole repo")
    repo.write([("create", "fm.plyr.track", f"3k{n:03d}", {"n": n}) for n in range(150)])
    return repo


def rejected(data: bytes, reason: Reason, key: PublicKey | None = None) -> None:
    with pytest.raises(CommitRejected) as refused:
        read_repo(data, key)
    assert refused.value.reason == reason


def test_the_real_repo_has_exactly_the_listed_records(corpus: Corpus) -> None:
    repo = read_repo((corpus.folder / "repo.car").read_bytes(), None)
    listing = "".join(f"{path}\t{cid}\n" for path, cid, _ in repo.records)
    assert listing == (corpus.folder / "car_expected_records.tsv").read_text()
    told = dict(
        line.split(": ", 1) for line in (corpus.folder / "car_expected_commit.txt").read_text().splitlines()
    )
    assert (repo.did, repo.rev, repo.data) == (told["DID"], told["Revision"], told["Data CID"])
    assert (repo.prev, told["Prev CID"]) == (None, "<nil>")


def test_a_repo_is_read_with_its_records_in_order(repo: FakeRepo) -> None:
    got = read_repo(repo.car(), PublicKey.parse(repo.key.did_key))
    assert [path for path, _, _ in got.records] == [path for path, _ in repo.listing()]
    assert [libipld.decode_dag_cbor(block) for _, _, block in got.records] == [{"n": n} for n in range(150)]
    assert (got.did, got.rev) == (repo.did, repo.rev)


def test_an_empty_repo_has_no_records() -> None:
    repo = FakeRepo(seed="empty")
    repo.write([])
    assert read_repo(repo.car(), PublicKey.parse(repo.key.did_key)).records == ()


def test_another_key_is_refused(repo: FakeRepo) -> None:
    rejected(repo.car(), Reason.BAD_SIGNATURE, PublicKey.parse(SigningKey("thief").did_key))


def test_t18_repo_cut_anywhere_is_refused(repo: FakeRepo) -> None:
    data = repo.car()
    for size in [*range(200), *range(200, len(data), 101), len(data) - 1]:
        with pytest.raises(CommitRejected) as refused:
            read_repo(data[:size], None)
        assert refused.value.reason in (Reason.BAD_CAR, Reason.MISSING_BLOCK)


def test_t18_repo_cut_between_blocks_lacks_a_block(repo: FakeRepo) -> None:
    car = read_car(repo.car())
    cids = list(car.blocks)
    for kept in range(len(cids)):
        rejected(write_car(car.roots[0], {cid: car.blocks[cid] for cid in cids[:kept]}), Reason.MISSING_BLOCK)


def test_t17_repo_with_one_flipped_byte_is_refused(repo: FakeRepo) -> None:
    data = repo.car()
    for at in range(59, len(data), 53):
        rejected(data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :], Reason.BAD_CAR)


def test_a_bad_tree_and_a_path_that_is_no_text_are_refused() -> None:
    key, record = SigningKey(1), libipld.encode_dag_cbor({"n": 1})
    for path, subtree in ((b"a.b.c/\xff\xfe", None), (b"a.b.c/1", DAG_CBOR + b"x" * 32)):
        node = libipld.encode_dag_cbor(
            {"e": [{"k": path, "p": 0, "t": subtree, "v": block_cid(record)}], "l": None}
        )
        unsigned = {
            "did": "did:web:x.test",
            "version": 3,
            "data": block_cid(node),
            "rev": "3k22222222222",
            "prev": None,
        }
        commit = libipld.encode_dag_cbor({**unsigned, "sig": key.sign(libipld.encode_dag_cbor(unsigned))})
        data = write_car(block_cid(commit), {block_cid(raw): raw for raw in (commit, node, record)})
        with pytest.raises(CommitRejected) as refused:
            read_repo(data, PublicKey.parse(key.did_key))
        assert refused.value.reason in (Reason.BAD_TREE, Reason.MISSING_BLOCK)
