"""Jetstream v1: the network's records as JSON, without the proofs. A source to fall back on.

    {"did": …, "time_us": …, "kind": "commit", "commit": {"rev", "operation", "collection", "rkey",
     "record", "cid"}}                                       and kinds "identity" and "account"

A message becomes the `Frame` that a relay would have sent: `#identity`, `#account`, or `#unproven`, whose
seq is `time_us`. A record's JSON is turned back into DAG-CBOR and must then have the CID that came with
it, so a record is whole or refused; who wrote it, and whether it is still there, is for a resync to find
out. Several events may share one `time_us`, and an old event may come again with a new one (T12): order
is by rev, as everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from firehose.commit import MAX_RECORD
from firehose.events import Action, ErrorFrame, Frame, RecordOp, Unproven
from firehose.filter import Interest
from firehose.frames import MAX_SEQ, BadFrame, decode_frame
from firehose.message import CommitRejected, Reason, envelope_of
from lexicons.datamodel import InvalidData, cid_of, encode, from_json
from lexicons.syntax import Nsid, Rkey, is_nsid, is_rkey

LOST_AFTER_S = 600  # of silence right behind a cursor: some account of the network changes every second
_ACTIONS = {action.value: action for action in Action}
_NOTHING = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    did: str
    time_us: int
    kind: str
    commit: msgspec.Raw = _NOTHING
    identity: msgspec.Raw = _NOTHING
    account: msgspec.Raw = _NOTHING


class _Operation(msgspec.Struct):
    collection: str
    rev: str
    operation: str
    rkey: str
    record: msgspec.Raw = _NOTHING
    cid: str | None = None


class _Handle(msgspec.Struct):
    handle: str | None = None


class _Standing(msgspec.Struct):
    active: bool
    status: str | None = None


_read_message = msgspec.json.Decoder(_Message).decode
_read_operation = msgspec.json.Decoder(_Operation).decode
_read_handle = msgspec.json.Decoder(_Handle).decode
_read_standing = msgspec.json.Decoder(_Standing).decode


def sift(interest: Interest, raw: bytes) -> tuple[int | None, Frame | ErrorFrame | None]:
    """The `time_us` of a message, and the frame if it concerns us; raises `BadFrame`.

    By the rules of `Interest`: records of exactly our collections, whoever wrote them (T28), and whatever
    an account that we track does.
    """
    message = _message(raw)
    if message.did not in interest.tracked:
        if message.kind != "commit" or message.commit == _NOTHING:
            return message.time_us, None
        if _operation(message).collection not in interest.collections:
            return message.time_us, None
    return message.time_us, _frame(message)


def read(raw: bytes) -> Frame:
    """The frame in one message, of type "" if its kind is none that we know; raises `BadFrame`."""
    return _frame(_message(raw)) or Frame("", {})


def read_any(raw: bytes) -> Frame | ErrorFrame:
    """The frame in a message of either kind of source: JSON begins with a brace, which no DAG-CBOR map
    does. Raises `BadFrame`."""
    return read(raw) if raw.startswith(b"{") else decode_frame(raw)


def unproven_of(body: dict[str, Any], now_us: int) -> Unproven:
    """The operation of an `#unproven` frame; raises `CommitRejected` for what cannot be, and for a record
    that is not what its CID names."""
    seq, did, rev, when = envelope_of(body, "repo", now_us)
    action = _ACTIONS.get(body["operation"])
    collection, rkey = body["collection"], body["rkey"]
    if action is None or not is_nsid(collection) or not is_rkey(rkey):
        raise CommitRejected(Reason.BAD_SYNTAX, "operation, collection or rkey is malformed")
    cid = block = None
    if action is not Action.DELETE:
        block = _block(body["record"])
        cid = cid_of(block)
        if cid != body["cid"]:
            raise CommitRejected(Reason.MISMATCH, f"the record has CID {cid}, the message says {body['cid']}")
    return Unproven(seq, did, rev, when, RecordOp(action, Nsid(collection), Rkey(rkey), cid, block))


def lost(asked: int | None, first: int) -> bool:
    """Whether events behind the cursor `asked` are gone, given the first message that came. A Jetstream
    keeps about a day and does not say when a cursor is older (rule A7)."""
    return asked is not None and asked > 0 and first - asked > LOST_AFTER_S * 1_000_000


async def held_back(
    chunks: AsyncGenerator[list[bytes], None], patience_s: float, clock: Callable[[], float] = time.time
) -> AsyncGenerator[list[bytes], None]:
    """The same, each chunk when its newest message is so old: other sources, with proofs, come first.

    The catch: it goes by the source's clock, and never waits longer than `patience_s` for one chunk.
    """
    async with aclosing(chunks):
        async for chunk in chunks:
            try:
                age_s = clock() - _message(chunk[-1]).time_us / 1_000_000
            except BadFrame:
                age_s = 0.0
            await asyncio.sleep(min(max(patience_s - age_s, 0.0), patience_s))
            yield chunk


def _message(raw: bytes) -> _Message:
    try:
        message = _read_message(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"no Jetstream message: {error}") from None
    if not 0 <= message.time_us <= MAX_SEQ:
        raise BadFrame("time_us is out of range")
    return message


def _operation(message: _Message) -> _Operation:
    try:
        return _read_operation(message.commit)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"no Jetstream commit: {error}", message.time_us) from None


def _frame(message: _Message) -> Frame | None:
    seq = message.time_us
    body: dict[str, Any] = {"did": message.did, "seq": seq, "time": _time(seq)}
    try:
        match message.kind:
            case "commit":
                op = _operation(message)
                body["repo"] = body.pop("did")
                body |= {"rev": op.rev, "operation": op.operation, "collection": op.collection}
                body |= {"rkey": op.rkey, "cid": op.cid, "record": bytes(op.record)}
                return Frame("#unproven", body)
            case "identity":
                return Frame("#identity", body | {"handle": _read_handle(message.identity).handle})
            case "account":
                said = _read_standing(message.account)
                return Frame("#account", body | {"active": said.active, "status": said.status})
            case _:
                return None  # a newer server's word (rule A3)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"no Jetstream {message.kind}: {error}", seq) from None


def _block(record: bytes) -> bytes:
    """The DAG-CBOR of a record's JSON."""
    if len(record) > 2 * MAX_RECORD:
        raise CommitRejected(Reason.TOO_BIG, f"a record of {len(record)} bytes of JSON")
    try:
        block = encode(from_json(orjson.loads(record)))
    except (InvalidData, orjson.JSONDecodeError, RecursionError) as error:
        raise CommitRejected(Reason.BAD_SYNTAX, f"the record is no data of this network: {error}") from None
    if len(block) > MAX_RECORD:
        raise CommitRejected(Reason.TOO_BIG, f"a record of {len(block)} bytes")
    return block


def _time(time_us: int) -> str:
    """As the network writes times; what no calendar holds becomes its last moment."""
    try:
        moment = datetime.fromtimestamp(time_us / 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.max.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
