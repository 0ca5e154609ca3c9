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
from functools import lru_cache
from typing import Any, TypeGuard, cast

import libipld
import msgspec

from firehose import mst
from firehose.car import DAG_CBOR, BadCar, read_car
from firehose.events import Action, Commit, RecordOp, Sync
from firehose.inversion import invert
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason, envelope_of
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey, is_nsid, is_rkey, is_tid

MAX_OPS = 200
MAX_BLOCKS = 2_000_000
MAX_SYNC_BLOCKS = 10_000
MAX_RECORD = 1_048_576

_SIG = b"csigX@"
# {did, rev, sig, data, prev, version}: canonical DAG-CBOR leaves no choice in order or lengths
_COMMIT = re.compile(
    rb"\xa6cdid([\x60-\x77]|x[\x18-\xff]|y[\x01-\x08].)(did:[!-~]+)crevm([2-7a-z]{13})csigX@(.{64})"
    rb"ddata\xd8\x2aX%\x00(\x01\x71\x12\x20.{32})"
    rb"dprev(?:\xf6|\xd8\x2aX%\x00(\x01\x71\x12\x20.{32}))gversion\x03",
    re.DOTALL,
).fullmatch
_cid = cast("Callable[[bytes], Cid]", libipld.encode_cid)
# there are few collections
_is_nsid = cast("Callable[[str], TypeGuard[Nsid]]", lru_cache(maxsize=4096)(is_nsid))
_ACTIONS = {action.value: action for action in Action}
_CREATE, _DELETE = Action.CREATE, Action.DELETE  # a look-up in the enum costs more than what it is for


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
        since=since,
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


class SignedCommit(msgspec.Struct, frozen=True, gc=False):
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
        before = invert(by_cid, data, changes)
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
        if action is _DELETE:
            if after is not None:
                raise CommitRejected(Reason.BAD_SYNTAX, f"{path} is deleted, and has a cid")
        elif not _is_link(after):
            raise CommitRejected(Reason.BAD_SYNTAX, f"{path} has no dag-cbor cid")
        if action is _CREATE:
            if before is not None:
                raise CommitRejected(Reason.BAD_SYNTAX, f"{path} is created, and has a prev")
        elif before is None:
            raise CommitRejected(Reason.NOT_INDUCTIVE, f"no prev for {path}")
        elif not _is_link(before):
            raise CommitRejected(Reason.BAD_SYNTAX, f"{path} has no dag-cbor prev")
        parsed.append((action, path, collection, rkey, after, before))
    return parsed


def _car(blocks: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    try:
        car = read_car(blocks)
    except BadCar as error:
        raise CommitRejected(Reason.BAD_CAR, str(error)) from None
    return car.roots[0], car.blocks


def _is_link(value: object) -> bool:
    return type(value) is bytes and len(value) == 36 and value[:4] == DAG_CBOR
