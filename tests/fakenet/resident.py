"""An account of the fake network, and what is true of it, kept in the plainest way: a dict of records.

What is true is written down when it is done, by whoever does it; nothing here is computed by the
code under test, save for the CID of a record's bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import libipld

from firehose.car import block_cid
from tests.fakenet.pds import FakePds
from tests.fakenet.repo import FakeRepo
from tests.fakenet.world import BSKY

OURS = "fm.plyr."
Path = tuple[str, str]
Writes = list[tuple[str, str, str, dict[str, Any] | None]]


@dataclass(frozen=True)
class Record:
    """`valid`: whether our lexicons accept it."""

    cid: str
    value: dict[str, Any]
    valid: bool


@dataclass
class Resident:
    """`status` None: active. `keys` counts the signing keys, `lives` how often the account was created.
    A hermit has a past and does nothing any more: no stream will ever tell of it."""

    name: str
    repo: FakeRepo
    pds: FakePds
    status: str | None = None
    records: dict[Path, Record] = field(default_factory=dict[Path, Record])
    old_hosts: list[FakePds] = field(default_factory=list[FakePds])
    keys: int = 0
    lives: int = 1
    hermit: bool = False

    @property
    def did(self) -> str:
        return self.repo.did

    @property
    def gone(self) -> bool:
        return self.status in ("deleted", "tombstoned")

    def uri(self, collection: str, rkey: str) -> str:
        return f"at://{self.did}/{collection}/{rkey}"

    def write(self, writes: Writes, now_us: int, refused: Iterable[Path] = ()) -> dict[str, Any]:
        """Does it, in the repo and in what is true, and gives the body of the commit. `refused` are the
        records that our lexicons do not accept."""
        refused = set(refused)
        for action, collection, rkey, record in writes:
            if action == "delete":
                del self.records[collection, rkey]
            else:
                assert record is not None
                cid = libipld.encode_cid(block_cid(libipld.encode_dag_cbor(record)))
                self.records[collection, rkey] = Record(cid, record, (collection, rkey) not in refused)
        return self.repo.write(writes, now_us)

    def indexed(self) -> dict[Path, Record]:
        """The records that an appview for our collections is to hold."""
        if self.gone:
            return {}
        return {path: record for path, record in self.records.items() if is_indexed(path[0])}

    @property
    def concerns_us(self) -> bool:
        """Whether anybody who looks at the network as it is now must know this account."""
        return self.status is None and any(collection.startswith(OURS) for collection, _ in self.records)


def is_indexed(collection: str) -> bool:
    return collection.startswith(OURS) or collection == BSKY
