"""A whole repo from its CAR, as `getRepo` gives it: commit, tree and every record, all proven.

The file must hold everything that the signed root leads to; more than that is tolerated (rule E5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firehose import mst
from firehose.car import BadCar, read_car
from firehose.commit import CommitRejected, Reason, read_commit
from firehose.keys import PublicKey
from lexicons.datamodel import cid_str
from lexicons.syntax import Cid, Did, Rev


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo at one commit. `records` gives path, CID and block in the order of the tree.

    `prev` is a leftover of older versions of the protocol, None nowadays.
    """

    did: Did
    rev: Rev
    cid: Cid
    data: Cid
    prev: Cid | None
    records: tuple[tuple[str, Cid, bytes], ...]


def read_repo(data: bytes, key: PublicKey | None) -> Repo:
    """The repo in the CAR `data`; raises `CommitRejected`. Without a key its signature is not checked."""
    try:
        car = read_car(data)
    except BadCar as error:
        raise CommitRejected(Reason.BAD_CAR, str(error)) from None
    commit = read_commit(car.blocks, car.roots[0])
    if key is not None and not key.verify(commit.message, commit.sig):
        raise CommitRejected(Reason.BAD_SIGNATURE, f"not signed by {key.did_key}")
    try:
        records = tuple(_records(car.blocks, commit.data))
    except mst.Missing as error:
        raise CommitRejected(Reason.MISSING_BLOCK, str(error)) from None
    except mst.BadTree as error:
        raise CommitRejected(Reason.BAD_TREE, str(error)) from None
    return Repo(
        did=commit.did,
        rev=commit.rev,
        cid=cid_str(car.roots[0]),
        data=cid_str(commit.data),
        prev=None if commit.prev is None else cid_str(commit.prev),
        records=records,
    )


def _records(blocks: dict[bytes, bytes], root: bytes) -> Iterator[tuple[str, Cid, bytes]]:
    for key, cid in mst.walk(blocks, root):
        if not key.isascii():
            raise CommitRejected(Reason.BAD_TREE, "a key is no path")
        path, block = key.decode(), blocks.get(cid)
        if block is None:
            raise CommitRejected(Reason.MISSING_BLOCK, f"no block for the record {path}")
        yield path, cid_str(cid), block
