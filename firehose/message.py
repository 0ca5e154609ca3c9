"""What a message of the stream carries of any kind, and the reasons for which one is refused.

Nothing here is proven: `#identity` and `#account` are hearsay, and of the others only the envelope is
read, by which it is known what to ask for.

    lexicon com.atproto.sync.subscribeRepos, rules B1, B7, C2, C4
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Any

from firehose.events import Account, Identity, Info
from lexicons.syntax import Did, Rev, is_datetime, is_did, is_tid, tid_from_us

MAX_REV_AHEAD_US = 300_000_000


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


class CommitRejected(Exception):
    """The message is not applied, for a reason that goes on record; `detail` is for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def envelope_of(body: dict[str, Any], did_field: str, now_us: int) -> tuple[int, Did, Rev, str]:
    """seq, DID, rev and time, well-formed, the rev not from the future (rules B1, B7)."""
    seq, did, time = _seq(body), _did(body, did_field), _time(body)
    rev = body.get("rev")
    if type(rev) is not str or not is_tid(rev):
        raise CommitRejected(Reason.BAD_SYNTAX, "rev is no TID")
    if is_future(Rev(rev), now_us):
        raise CommitRejected(Reason.FUTURE_REV, f"rev {rev} lies ahead of the clock")
    return seq, did, rev, time


def is_future(rev: Rev, now_us: int) -> bool:
    """Whether it lies further ahead of our clock than a clock goes wrong (rule B7)."""
    return rev > _last_rev(now_us // 1_000_000)


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


def _seq(body: dict[str, Any]) -> int:
    seq = body.get("seq")
    if type(seq) is not int or seq < 0:
        raise CommitRejected(Reason.BAD_SYNTAX, "no seq")
    return seq


def _did(body: dict[str, Any], field: str) -> Did:
    did = body.get(field)
    if type(did) is not str or not is_did(did):
        raise CommitRejected(Reason.BAD_SYNTAX, f"{field} is no DID")
    return did


def _time(body: dict[str, Any]) -> str:
    time = body.get("time")
    if type(time) is not str or not is_datetime(time):
        raise CommitRejected(Reason.BAD_SYNTAX, "time is no datetime")
    return time


@lru_cache(maxsize=4)
def _last_rev(second: int) -> str:
    """The greatest rev that is not from the future; TIDs sort as their times do."""
    return tid_from_us((second + 1) * 1_000_000 + MAX_REV_AHEAD_US - 1, 1023)
