"""A repo as its host gave it: fetched into a file, its signature and our part of its tree proven.

A small one has its records in memory, a large one only in its file. Whether the host told the truth
is decided here; what follows from it is `indexer.resync`'s.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, cast

from firehose.hosts import SyncHost
from firehose.keys import BadKey, PublicKey
from firehose.message import CommitRejected, Reason
from firehose.repo import Head, RepoFile
from indexer.compare import Found, Reach
from lexicons.syntax import Nsid, Rev, Rkey, is_rkey, tid_time_us
from storage.sync import Due

IN_MEMORY = 1024 * 1024  # bytes of a file that never reaches the disk
AT_ONCE = 4 * IN_MEMORY  # read in a thread from there on
SMALL = 2000  # records of ours
SMALL_BYTES = 2 * IN_MEMORY  # and what they hold
MAX_PROOF = 4 * 1024 * 1024
MAX_AHEAD_US = 5 * 60 * 1_000_000  # rule B7


@dataclass(slots=True, eq=False)
class Snapshot:
    """`records` None: more than is kept in memory, to be read from `repo`. `reach`: the host stands by its
    rev though we hold more, up to there. The caller closes it."""

    due: Due
    origin: str
    head: Head
    repo: RepoFile
    file: BinaryIO
    records: list[Found] | None
    reach: Reach | None = None

    @property
    def upto(self) -> Rev:
        """Up to where it decides, whoever signed what."""
        reach = self.reach
        return self.head.rev if reach is None or not reach.proven else max(reach.rev, self.head.rev)

    @property
    def hearsay_upto(self) -> Rev:
        """Up to where it decides about what nobody proved."""
        return self.head.rev if self.reach is None else max(self.reach.rev, self.head.rev)

    def over(self, forked_rev: Rev | None) -> Rev | None:
        """What its records must prevail over, if that is more than their rev. `forked_rev`: of the repo."""
        found = max(filter(None, (forked_rev, self.reach and self.reach.rev)), default=None)
        return None if found is None or found <= self.head.rev else found

    def close(self) -> None:
        self.repo.close()
        self.file.close()

    def found(self, collections: Collection[Nsid]) -> Iterator[Found]:
        """Our records in the order of the tree. Raises CommitRejected."""
        return _found(self.repo, collections)

    def proof(self, collections: Collection[Nsid]) -> bytes | None:
        """Commit and tree nodes that lead to our records; None if that is too much to keep."""
        car = self.repo.proof(collections)
        return None if car is None or len(car) > MAX_PROOF else car


async def fetch(
    due: Due,
    host: SyncHost,
    collections: Collection[Nsid],
    *,
    folder: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Snapshot:
    """Raises HostError for what the host says, CommitRejected for what its file is."""
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY, dir=folder))  # noqa: SIM115 (the snapshot keeps it)
    try:
        download = await host.get_repo(due.did, file)
        args = (due, download.origin, file, collections, int(clock() * 1_000_000))
        if download.size <= AT_ONCE:
            return _read(*args)
        return await asyncio.to_thread(_read, *args)
    except BaseException:
        file.close()
        raise


def _read(due: Due, origin: str, file: BinaryIO, collections: Collection[Nsid], now_us: int) -> Snapshot:
    try:
        key = PublicKey.parse(due.signing_key)
    except BadKey as error:
        raise CommitRejected(Reason.BAD_SIGNATURE, f"unusable key {due.signing_key[:80]}: {error}") from None
    file.seek(0)
    repo = RepoFile.open(file)
    head = repo.verify(key)
    if head.did != due.did:
        raise CommitRejected(Reason.MISMATCH, f"this is the repo of {head.did[:100]!r}")
    if tid_time_us(head.rev) > now_us + MAX_AHEAD_US:
        raise CommitRejected(Reason.FUTURE_REV, f"rev {head.rev} lies in the future")
    found = _found(repo, collections)
    first = some(found, SMALL, SMALL_BYTES)
    return Snapshot(due, origin, head, repo, file, first if next(found, None) is None else None)


def some(found: Iterator[Found], most: int, most_bytes: int) -> list[Found]:
    """The next records: `most`, or as many as it takes to hold `most_bytes`, as one may have a megabyte."""
    taken: list[Found] = []
    size = 0
    for record in islice(found, most):
        taken.append(record)
        size += len(record.block)
        if size >= most_bytes:
            break
    return taken


def _found(repo: RepoFile, collections: Collection[Nsid]) -> Iterator[Found]:
    for path, cid, block in repo.records(collections):
        collection, _, rkey = path.partition("/")
        if is_rkey(rkey):  # a key that no record may have says nothing about its neighbours (rule F1)
            yield Found(Nsid(collection), Rkey(rkey), cid, block)
