"""What a resync came to, as a verdict and a sentence. Pure.

    read whole          active, or still desynchronized where the host is behind what we know
    no such repo, …     out of the queue; its current PDS is asked how the account stands (rule C5)
    host asks for rest  back as it was, due when the rest is over: nobody failed
    anything else       error, and again later, at most `LONGEST_S` later

A signature that fails has the identity looked up again before the next attempt (rule B6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firehose.host_errors import HostError, MethodMissing, RateLimited, RepoDesynchronized, RepoUnavailable
from firehose.message import CommitRejected, Reason
from indexer.chain import Chain
from indexer.decide import Change
from indexer.states import State
from lexicons.syntax import Rev
from storage.sync import Due, Returned

FIRST_S = 5.0
LONGEST_S = 6 * 3600.0
IDENTITY_S = 15.0  # time to look an identity up
PATIENT_TRIES = 8  # so many failures at once, where waiting a little is no use


@dataclass(frozen=True, slots=True)
class Tally:
    """Records that a resync changed."""

    created: int = 0
    updated: int = 0
    deleted: int = 0

    @classmethod
    def of(cls, changed: Sequence[Change]) -> Tally:
        deleted = sum(x.candidate.cid is None for x in changed)
        created = sum(x.before is None for x in changed if x.candidate.cid is not None)
        return cls(created, len(changed) - deleted - created, deleted)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.created + other.created, self.updated + other.updated, self.deleted + other.deleted)

    def __str__(self) -> str:
        parts = ((self.created, "new"), (self.updated, "changed"), (self.deleted, "gone"))
        return ", ".join(f"{n:,} {what}" for n, what in parts if n) or "nothing differed"


def backoff_s(tries: int) -> float:
    """How long to wait after so many failures in a row: 5 s, 10 s, 20 s, … 6 h."""
    return min(LONGEST_S, FIRST_S * 2 ** min(max(tries - 1, 0), 20))


def taken(due: Due) -> str:
    """Why a repo is being read."""
    match due.was:
        case State.PENDING:
            why = "it was never read from its beginning"
        case State.DESYNCHRONIZED:
            why = "something in its history did not come"
        case State.ERROR:
            why = f"the last attempt failed, this is number {due.tries + 1}"
        case State.RESYNCING:
            why = "the attempt before was cut short"
        case _:
            why = "it was asked for"
    return f"being read whole from {due.pds}: {why}"


def doubts(due: Due, rev: Rev, origin: str, *, hearsay: bool, nothing_new: bool) -> str | None:
    """Why what was read need not be all. `hearsay`: somebody told us of newer records. `nothing_new`: we were
    told that something is missing, and the host has no more than we had: it may be behind itself."""
    if hearsay:
        return f"{origin} is at rev {rev}, and somebody told us of newer records that it does not prove"
    if nothing_new and due.tries == 0:
        return f"{origin} is at rev {rev} as we are, though something is said to be missing; asked once more"
    return None


def short(due: Due, rev: Rev, origin: str) -> str:
    """Why a host that has less than we hold, where that may be of another history, is asked again."""
    return f"{origin} gave rev {rev} and does not stand by it, though we hold rev {due.rev}; asked once more"


def lack(rev: Rev, origin: str, chain: Chain) -> str | None:
    """Why a repo is not in step though it was read, None if it is."""
    if not chain.gaps:
        return None
    gap = chain.gaps[0]
    return f"{origin} is at rev {rev}; what leads from {gap.after} to {gap.until or '?'} is still missing"


def read_whole(rev: Rev, origin: str, tally: Tally, lack: str | None) -> str:
    text = f"read whole at rev {rev} from {origin}: {tally}"
    return f"{text}; {lack}" if lack else text


def missing(due: Due) -> State:
    """What the repo lacks when nobody reads it."""
    state = Chain.of(due.rev, due.data, due.gaps or []).state
    return State.DESYNCHRONIZED if state is State.ACTIVE else state


def failed(due: Due, error: HostError | CommitRejected) -> Returned:
    """What follows from a repo that could not be fetched, or is not what it should be."""
    tries = due.tries + 1
    wait_s = backoff_s(tries)
    reason = str(error)[:500]
    match error:
        case CommitRejected(reason=Reason.BAD_SIGNATURE):
            return Returned(
                due.id,
                State.ERROR,
                max(wait_s, IDENTITY_S),
                tries,
                f"bad_signature: {reason}",
                ask_identity=True,
            )
        case CommitRejected():
            return Returned(due.id, State.ERROR, wait_s, tries, f"{error.reason}: {error.detail}"[:500])
        case RepoDesynchronized():
            return Returned(due.id, State.ERROR, wait_s, tries, reason)
        case RepoUnavailable():
            # At once; a host that says both, no repo and a good account, is asked less and less often.
            account_s = 0.0 if tries == 1 else wait_s
            return Returned(due.id, missing(due), None, tries, reason, account_s=account_s)
        case RateLimited():
            return Returned(due.id, missing(due), error.retry_after_s or 60.0, due.tries, reason)
        case MethodMissing():
            return Returned(due.id, State.ERROR, backoff_s(tries + PATIENT_TRIES), tries, reason)
        case _:
            return Returned(due.id, State.ERROR, max(wait_s, error.retry_after_s or 0), tries, reason)


def stuck(due: Due, why: str) -> Returned:
    """The repo was had and could not be kept."""
    tries = due.tries + 1
    return Returned(due.id, State.ERROR, backoff_s(tries), tries, why[:500])


def stale(due: Due) -> Returned:
    """The account moved, or went, while its repo was on its way."""
    why = f"the account was no longer at {due.pds} when its repo was there"
    return Returned(due.id, missing(due), FIRST_S, due.tries, why)


def put_back(row: Returned) -> str:
    """What the decision says."""
    then = "it waits for word about the account" if row.due_s is None else f"again in {row.due_s:,.0f} s"
    return f"not read: {row.error}; {then}"
