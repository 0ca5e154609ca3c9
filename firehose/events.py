"""What the network said, as one sum type. Frozen, typed, and no I/O.

    Event = Commit | Sync | Unproven | Identity | Account | Info

`Commit` exists only for a commit that was verified (`firehose.commit.verify_commit`): whoever
holds one may trust its records. `Sync` was verified, too. `Unproven` is a record that
a source without proofs tells of. `Identity`, `Account` and `Info` are hearsay: they say
where to look, never what is true.

Structs rather than dataclasses because there is one or more for every frame that concerns us, and
they cost a tenth.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class RecordOp(msgspec.Struct, frozen=True, gc=False):
    """One record operation of a verified commit, in the order of the commit.

    `cid` and `block` (the record's own DAG-CBOR bytes, hash-checked) are None for a delete.
    """

    action: Action
    collection: Nsid
    rkey: Rkey
    cid: Cid | None
    block: bytes | None


class Commit(msgspec.Struct, frozen=True, gc=False):
    """A verified `#commit`: hashes, signature and MST inversion hold.

    `data` is the CID of the repo's MST root after the commit, `prev_data` the one before
    (None only where the frame left it out, as a repo's first commit does).
    `ops` holds every operation, those of other apps included; `proof` is the CAR slice that shows all
    of this, as the author's PDS made it.
    """

    seq: int
    did: Did
    rev: Rev
    since: Rev | None
    cid: Cid
    data: Cid
    prev_data: Cid | None
    time: str
    ops: tuple[RecordOp, ...]
    proof: bytes | None = None


class Sync(msgspec.Struct, frozen=True, gc=False):
    """A verified `#sync`: the repo's state is now `data` at `rev`, however it came there."""

    seq: int
    did: Did
    rev: Rev
    data: Cid
    time: str


class Unproven(msgspec.Struct, frozen=True, gc=False):
    """One record operation, as a source says that a commit at `rev` had it. Nobody signed this; sure is
    only that `block` is what `cid` names. `seq` is the source's time in microseconds."""

    seq: int
    did: Did
    rev: Rev
    time: str
    op: RecordOp


class Identity(msgspec.Struct, frozen=True, gc=False):
    """`#identity`: the DID document or handle may have changed. `handle` is untrusted."""

    seq: int
    did: Did
    time: str
    handle: str | None


class Account(msgspec.Struct, frozen=True, gc=False):
    """`#account`: what the emitting host says about an account (not ordered by a rev)."""

    seq: int
    did: Did
    time: str
    active: bool
    status: str | None


class Info(msgspec.Struct, frozen=True, gc=False):
    """`#info`: a notice of the stream itself, `OutdatedCursor` for one. Carries no seq."""

    name: str
    message: str | None


Event = Commit | Sync | Unproven | Identity | Account | Info


class Frame(msgspec.Struct, frozen=True):
    """A message frame, decoded but not believed: its type, and its body as DAG-CBOR values.

    CIDs and byte strings are both `bytes` in `body`, as libipld gives them; `blocks` of a
    commit stays one untouched byte string.
    """

    type: str  # "#commit", "#sync", … or a type that we don't know
    body: dict[str, Any]


class ErrorFrame(msgspec.Struct, frozen=True, gc=False):
    """The server's last word before it closes: `FutureCursor`, `ConsumerTooSlow`, …"""

    error: str
    message: str | None
