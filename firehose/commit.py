"""A message of the stream becomes a verified event, or `CommitRejected` with a reason.

What `verify_commit` returns is proven by the account's own signature: the record operations lead
from `prev_data` to `data`, nothing is left out and nothing added, and every record written is
there with its hash checked. Not proven, because the account never signs them: `seq`, `time` and
`since`. Whether the commit continues the repo as we know it (rules B7, B8) is for the caller.

A commit is taken whole or not at all. If one record's block is missing, its siblings could be
applied, but the repo would then be at a `data` whose records we do not all have: so the commit is
rejected as `missing_block`, and a resync brings in all of them.

    lexicon com.atproto.sync.subscribeRepos, sync spec "Commit validation", rules B1-B13, C1-C3
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, cast

import libipld

from firehose import mst
from firehose.car import DAG_CBOR, BadCar, read_car
from firehose.events import Account, Action, Commit, Identity, Info, RecordOp, Sync
from firehose.keys import PublicKey
from lexicons.syntax import (
    Cid,
    Did,
    Nsid,
    Rev,
    Rkey,
    is_datetime,
    is_did,
    is_nsid,
    is_rkey,
    is_tid,
    tid_from_us,
)

MAX_OPS = 200
MAX_BLOCKS = 2_000_000
MAX_SYNC_BLOCKS = 10_000
MAX_RECORD = 1_048_576
MAX_REV_AHEAD_US = 300_000_000

_SIG = b"csigX@"
# {did, rev, sig, data, prev, version}: canonical DAG-CBOR leaves no choice in order or lengths
_COMMIT = re.compile(
    rb"\xa6cdid([\x60-\x77]|x[\x18-\xff]|y[\x01-\x08].)(did:[!-~]+)crevm([2-7a-z]{13})csigX@(.{64})"
    rb"ddata\xd8\x2aX%\x00(\x01\x71\x12\x20.{32})"
    rb"dprev(?:\xf6|\xd8\x2aX%\x00(\x01\x71\x12\x20.{32}))gversion\x03",
    re.DOTALL,
).fullmatch
_cid = cast("Callable[[bytes], Cid]", libipld.encode_cid)
_is_nsid = lru_cache(maxsize=4096)(is_nsid)  # there are few collections
_ACTIONS = {action.value: action for action in Action}


class Reason(StrEnum):
    """Why a message was refused; one word for logs, tables and metrics."""

    BAD_FRAME = "bad_frame"  # no frame at all
    BAD_SYNTAX = "bad_syntax"  # a field is missing, of the wrong type or malformed
    TOO_BIG = "too_big"  # more operations or bytes than the protocol allows
    FUTURE_REV = "future_rev"  # the rev lies more than five minutes ahead of our clock
    BAD_CAR = "bad_car"  # the blocks are no CAR, or one does not match its hash
    BAD_COMMIT = "bad_commit"  # the commit object has not the fields of a version 3 commit
    MISMATCH = "mismatch"  # frame and signed commit contradict each other
    BAD_SIGNATURE = "bad_signature"  # not signed by this key: it may have been rotated
    MISSING_BLOCK = "missing_block"  # a node or record that the proof needs did not come along
    BAD_TREE = "bad_tree"  # a tree node breaks the tree's rules
    NOT_INDUCTIVE = "not_inductive"  # a legacy host left out what inversion needs
    BAD_INVERSION = "bad_inversion"  # the operations do not lead from prevData to data
    CHAIN_GAP = "chain_gap"  # since or prevData is not what the commit before left
    OLD_REV = "old_rev"  # not newer than the commit before
    NO_KEY = "no_key"  # no signing key is known for the account
    UNEXPECTED = "unexpected"  # a message of a type that has no place here


class CommitRejected(Exception):
    """The message is not applied, for a reason that goes on record; `detail` is for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def verify_commit(body: dict[str, Any], key: PublicKey, now_us: int) -> Commit:
    """The commit that `body` proves under `key`; the checks run from cheap to dear.

    `bad_signature` may mean that the key was rotated: refresh the identity once and try again
    (rule B6). `not_inductive`, `bad_inversion`, `bad_tree` and `missing_block` come from faulty
    hosts far more often than from hostile ones: the repo needs a resync (rule B12).
    """
    get = body.get
    seq, did, rev, time = envelope_of(body, "repo", now_us)
    since = get("since")
    if since is None:
        if "since" not in body:
            raise CommitRejected(Reason.BAD_SYNTAX, "since is missing")
    elif type(since) is not str or not is_tid(since) or since >= rev:
        raise CommitRejected(Reason.BAD_SYNTAX, "since is no TID before rev")
    blocks, cid, prev_data = get("blocks"), get("commit"), get("prevData")
    if type(blocks) is not bytes or not _is_link(cid) or not (prev_data is None or _is_link(prev_data)):
        raise CommitRejected(Reason.BAD_SYNTAX, "blocks, commit or prevData has the wrong type")
    if len(blocks) > MAX_BLOCKS:
        raise CommitRejected(Reason.TOO_BIG, f"{len(blocks)} bytes of blocks")
    ops = _parse_ops(get("ops"))
    if prev_data is None and since is not None:
        raise CommitRejected(Reason.NOT_INDUCTIVE, "no prevData on a commit that is not the first")

    root, by_cid = _car(blocks)
    if root != cid:
        raise CommitRejected(Reason.MISMATCH, "the CAR's root is not the frame's commit")
    data = _signed_data(by_cid, root, did, rev, key)

    records: list[RecordOp] = []
    changes: list[tuple[bytes, bytes | None, bytes | None]] = []
    for action, path, collection, rkey, after, before in ops:
        block = None
        if after is not None:
            block = by_cid.get(after)
            if block is None:
                raise CommitRejected(Reason.MISSING_BLOCK, f"no block for the record {path}")
            if len(block) > MAX_RECORD:
                raise CommitRejected(Reason.TOO_BIG, f"{path} has {len(block)} bytes")
        records.append(RecordOp(action, collection, rkey, None if after is None else _cid(after), block))
        changes.append((path.encode(), after, before))
    _check_inversion(by_cid, data, changes, prev_data)
    return Commit(
        seq=seq,
        did=did,
        rev=rev,
        since=cast("Rev | None", since),
        cid=_cid(root),
        data=_cid(data),
        prev_data=None if prev_data is None else _cid(prev_data),
        time=time,
        ops=tuple(records),
        proof=blocks,
    )


def verify_sync(body: dict[str, Any], key: PublicKey, now_us: int) -> Sync:
    """The state that a `#sync` proves under `key`: its blocks hold the signed commit (rule C1)."""
    seq, did, rev, time = envelope_of(body, "did", now_us)
    blocks = body.get("blocks")
    if type(blocks) is not bytes:
        raise CommitRejected(Reason.BAD_SYNTAX, "blocks has the wrong type")
    if len(blocks) > MAX_SYNC_BLOCKS:
        raise CommitRejected(Reason.TOO_BIG, f"{len(blocks)} bytes of blocks")
    root, by_cid = _car(blocks)
    data = _signed_data(by_cid, root, did, rev, key)
    return Sync(seq=seq, did=did, rev=rev, data=_cid(data), time=time)


def identity_of(body: dict[str, Any]) -> Identity:
    """An `#identity`: a hint to look again. The handle is untrusted and may be absent (rule C2)."""
    handle = body.get("handle")
    return Identity(
        seq=_seq(body),
        did=_did(body, "did"),
        time=_time(body),
        handle=handle if type(handle) is str else None,
    )


def account_of(body: dict[str, Any]) -> Account:
    """An `#account`: what the emitting host thinks. An unknown status is passed on as it is (rule C4)."""
    active, status = body.get("active"), body.get("status")
    if type(active) is not bool or not (status is None or type(status) is str):
        raise CommitRejected(Reason.BAD_SYNTAX, "active or status has the wrong type")
    return Account(seq=_seq(body), did=_did(body, "did"), time=_time(body), active=active, status=status)


def info_of(body: dict[str, Any]) -> Info:
    """An `#info`: a notice of the stream itself (rule A7)."""
    name, message = body.get("name"), body.get("message")
    if type(name) is not str:
        raise CommitRejected(Reason.BAD_SYNTAX, "info without a name")
    return Info(name=name, message=message if type(message) is str else None)


class SignedCommit(NamedTuple):
    """A commit object: `message` is what `sig` signs, its canonical encoding without `sig`.

    `prev` is a leftover of older versions of the protocol.
    """

    did: Did
    rev: Rev
    sig: bytes
    data: bytes
    prev: bytes | None
    message: bytes


def read_commit(by_cid: dict[bytes, bytes], root: bytes) -> SignedCommit:
    """The commit object under `root`, canonical and of version 3 with exactly its fields (rule B4)."""
    block = by_cid.get(root)
    if block is None:
        raise CommitRejected(Reason.MISSING_BLOCK, "no block for the commit")
    found = _COMMIT(block)
    if found is None:
        raise CommitRejected(Reason.BAD_COMMIT, "not a canonical commit object of version 3")
    head, did, rev, sig, data, prev = found.groups()
    if head != _text_head(len(did)):
        raise CommitRejected(Reason.BAD_COMMIT, "the DID's length is wrong")
    at = found.start(4)
    message = b"\xa5" + block[1 : at - len(_SIG)] + block[at + 64 :]
    return SignedCommit(Did(did.decode()), Rev(rev.decode()), sig, data, prev, message)


def _text_head(size: int) -> bytes:
    """How canonical CBOR begins a text of `size` bytes."""
    if size < 24:
        return bytes((0x60 | size,))
    return bytes((0x78, size)) if size < 256 else b"\x79" + size.to_bytes(2, "big")


def _signed_data(by_cid: dict[bytes, bytes], root: bytes, did: Did, rev: Rev, key: PublicKey) -> bytes:
    """The tree's root out of the commit object, whose signature holds for this account and rev."""
    commit = read_commit(by_cid, root)
    if commit.did != did or commit.rev != rev:
        raise CommitRejected(Reason.MISMATCH, "the signed commit is another account's or of another rev")
    if not key.verify(commit.message, commit.sig):
        raise CommitRejected(Reason.BAD_SIGNATURE, f"not signed by {key.did_key}")
    return commit.data


def _check_inversion(
    by_cid: dict[bytes, bytes],
    data: bytes,
    changes: list[tuple[bytes, bytes | None, bytes | None]],
    prev_data: bytes | None,
) -> None:
    try:
        before = mst.invert(by_cid, data, changes)
    except mst.Missing as error:
        raise CommitRejected(Reason.MISSING_BLOCK, str(error)) from None
    except mst.BadTree as error:
        raise CommitRejected(Reason.BAD_TREE, str(error)) from None
    except mst.NotInvertible as error:
        raise CommitRejected(Reason.BAD_INVERSION, str(error)) from None
    if prev_data is None:
        # a first commit: before it, there was nothing
        if before != mst.EMPTY:
            raise CommitRejected(Reason.NOT_INDUCTIVE, "no prevData, and more records than operations")
    elif before != prev_data:
        raise CommitRejected(Reason.BAD_INVERSION, "undoing the operations does not give prevData")


def _parse_ops(
    ops: object,
) -> list[tuple[Action, str, Nsid, Rkey, bytes | None, bytes | None]]:
    """Action, path, collection, rkey, new CID, old CID of each operation (rules B1, B13)."""
    if type(ops) is not list:
        raise CommitRejected(Reason.BAD_SYNTAX, "ops is not a list")
    listed = cast("list[Any]", ops)
    if len(listed) > MAX_OPS:
        raise CommitRejected(Reason.TOO_BIG, f"{len(listed)} operations")
    parsed: list[tuple[Action, str, Nsid, Rkey, bytes | None, bytes | None]] = []
    paths: set[str] = set()
    for item in listed:
        if type(item) is not dict:
            raise CommitRejected(Reason.BAD_SYNTAX, "an operation is not a map")
        op = cast("dict[str, Any]", item)
        path, after, before = op.get("path"), op.get("cid"), op.get("prev")
        name = op.get("action")
        action = _ACTIONS.get(name) if type(name) is str else None
        if action is None:
            raise CommitRejected(Reason.BAD_SYNTAX, "an unknown action")
        if type(path) is not str or path in paths:
            raise CommitRejected(Reason.BAD_SYNTAX, "an operation without a path of its own")
        paths.add(path)
        collection, _, rkey = path.partition("/")
        if not _is_nsid(collection) or not is_rkey(rkey):
            raise CommitRejected(Reason.BAD_SYNTAX, "a path is not collection/rkey")
        if action is Action.DELETE:
            if after is not None:
                raise CommitRejected(Reason.BAD_SYNTAX, f"{path} is deleted, and has a cid")
        elif not _is_link(after):
            raise CommitRejected(Reason.BAD_SYNTAX, f"{path} has no dag-cbor cid")
        if action is Action.CREATE:
            if before is not None:
                raise CommitRejected(Reason.BAD_SYNTAX, f"{path} is created, and has a prev")
        elif before is None:
            raise CommitRejected(Reason.NOT_INDUCTIVE, f"no prev for {path}")
        elif not _is_link(before):
            raise CommitRejected(Reason.BAD_SYNTAX, f"{path} has no dag-cbor prev")
        parsed.append((action, path, Nsid(collection), Rkey(rkey), after, before))
    return parsed


def _car(blocks: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    try:
        car = read_car(blocks)
    except BadCar as error:
        raise CommitRejected(Reason.BAD_CAR, str(error)) from None
    return car.roots[0], car.blocks


def envelope_of(body: dict[str, Any], did_field: str, now_us: int) -> tuple[int, Did, Rev, str]:
    """seq, DID, rev and time, well-formed, the rev not from the future (rules B1, B7)."""
    seq, did, time = _seq(body), _did(body, did_field), _time(body)
    rev = body.get("rev")
    if type(rev) is not str or not is_tid(rev):
        raise CommitRejected(Reason.BAD_SYNTAX, "rev is no TID")
    if rev > _last_rev(now_us // 1_000_000):
        raise CommitRejected(Reason.FUTURE_REV, f"rev {rev} lies ahead of the clock")
    return seq, did, Rev(rev), time


def _seq(body: dict[str, Any]) -> int:
    seq = body.get("seq")
    if type(seq) is not int or seq < 0:
        raise CommitRejected(Reason.BAD_SYNTAX, "no seq")
    return seq


def _did(body: dict[str, Any], field: str) -> Did:
    did = body.get(field)
    if type(did) is not str or not is_did(did):
        raise CommitRejected(Reason.BAD_SYNTAX, f"{field} is no DID")
    return Did(did)


def _time(body: dict[str, Any]) -> str:
    time = body.get("time")
    if type(time) is not str or not is_datetime(time):
        raise CommitRejected(Reason.BAD_SYNTAX, "time is no datetime")
    return time


@lru_cache(maxsize=4)
def _last_rev(second: int) -> str:
    """The greatest rev that is not from the future; TIDs sort as their times do."""
    return tid_from_us((second + 1) * 1_000_000 + MAX_REV_AHEAD_US - 1, 1023)


def _is_link(value: object) -> bool:
    return type(value) is bytes and len(value) == 36 and value[:4] == DAG_CBOR
