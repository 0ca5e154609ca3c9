"""The proof of a record holds for a verifier that is not ours, and has nothing that it does not need."""

from __future__ import annotations

import random
from typing import Any

import pytest

from firehose.car import block_cid, read_car, write_car
from firehose.proof import NoProof, record_proof
from lexicons.syntax import tid_from_us
from tests.fakenet.referee import NotProven, proven
from tests.fakenet.repo import START_US, FakeRepo

TRACK = "fm.plyr.track"


def written(count: int, seed: int = 1, *, curve: Any = "k256") -> tuple[FakeRepo, str, dict[str, Any]]:
    """A repo with `count` records of many kinds, the path of the last one and its commit."""
    repo = FakeRepo(seed=seed, curve=curve)
    dice = random.Random(seed)
    body: dict[str, Any] = {}
    rkey = ""
    for number in range(count):
        rkey = tid_from_us(START_US + dice.randrange(10**12))
        collection = TRACK if number == count - 1 else dice.choice([TRACK, "app.bsky.feed.like"])
        body = repo.write([("create", collection, rkey, {"$type": collection, "number": number})])
    return repo, f"{TRACK}/{rkey}", body


def block_of(repo: FakeRepo, path: str) -> bytes:
    return repo.blocks[dict(repo.listing())[path]]


@pytest.mark.parametrize("curve", ["k256", "p256"])
@pytest.mark.parametrize("count", [1, 2, 30, 400])
def test_another_implementation_accepts_it(count: int, curve: str):
    repo, path, body = written(count, seed=count, curve=curve)
    car = record_proof(body["blocks"], path, block_of(repo, path))
    rev, record = proven(car, repo.did, path, repo.key.did_key)
    assert rev == repo.rev
    assert record == {"$type": TRACK, "number": count - 1}


def test_each_block_of_it_is_needed():
    repo, path, body = written(400)
    car = read_car(record_proof(body["blocks"], path, block_of(repo, path)))
    assert 3 < len(car.blocks) < len(read_car(body["blocks"]).blocks)
    for cid in car.blocks:
        rest = {other: block for other, block in car.blocks.items() if other != cid}
        with pytest.raises((KeyError, NotProven)):
            proven(write_car(car.roots[0], rest), repo.did, path, repo.key.did_key)


def test_any_record_of_a_whole_repo_can_be_proven():
    repo, _, _ = written(200)
    for path, cid in repo.listing():
        car = record_proof(repo.car(), path, repo.blocks[cid])
        proven(car, repo.did, path, repo.key.did_key)


def test_it_proves_neither_another_path_nor_account_nor_key():
    repo, path, body = written(30)
    car = record_proof(body["blocks"], path, block_of(repo, path))
    for did, where, key in (
        ("did:plc:other", path, repo.key.did_key),
        (repo.did, path[:-1] + "7", repo.key.did_key),
        (repo.did, path, FakeRepo(seed="other").key.did_key),
    ):
        with pytest.raises((KeyError, NotProven)):
            proven(car, did, where, key)


def test_there_is_none_for_what_the_blocks_do_not_have():
    repo, path, body = written(30)
    block = block_of(repo, path)
    with pytest.raises(NoProof, match="another version"):
        record_proof(body["blocks"], path, b"\xa0")
    with pytest.raises(NoProof, match="is not there"):
        record_proof(repo.car(), f"{TRACK}/zzz", block)
    with pytest.raises(NoProof):
        record_proof(b"no car", path, block)
    car = read_car(body["blocks"])
    for cid in car.blocks:
        if cid == block_cid(block):
            continue
        rest = {other: each for other, each in car.blocks.items() if other != cid}
        try:
            made = record_proof(write_car(car.roots[0], rest), path, block)
        except NoProof:
            continue
        proven(made, repo.did, path, repo.key.did_key)  # that block was not on the way
