"""How the index as a whole is doing, in numbers that one statement gives. A few milliseconds, and more with
hundreds of thousands of accounts: for status and metrics, never for a request of the appview."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import orjson

from lexicons.syntax import Rev, tid_time_us
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads

_SQL = load("health")
STATEMENTS = {"health": _SQL["health"]}


@dataclass(frozen=True, slots=True)
class Failing:
    """A host at which `repos` repos could not be read: one of them, and why."""

    host: str
    repos: int
    did: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a source is applied, and when that was written."""

    url: str
    seq: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """The last reconciliation that ran to its end."""

    age_s: float
    checked: int
    in_step: int
    healed: int
    unreachable: int

    @property
    def score(self) -> float | None:
        """Of the repos that could be compared, how many were in step; None if there were none."""
        compared = self.checked - self.unreachable
        return self.in_step / compared if compared > 0 else None


@dataclass(frozen=True, slots=True)
class Pulse:
    """Records of ours that came by the stream: `silent_s` since the last (None: none ever came), `records` in
    the last `over_s` seconds. `behind` repos were found by sweeps since the last of them."""

    silent_s: float | None
    records: int
    over_s: float
    behind: int


@dataclass(frozen=True, slots=True)
class Unproven:
    """Records that nothing proves yet, the oldest of `rev`; `now_s`: when that was asked, since 1970."""

    records: int
    rev: Rev | None
    now_s: float

    @property
    def age_s(self) -> float:
        """How long the oldest waits; 0 where there is none."""
        return 0 if self.rev is None else self.now_s - tid_time_us(self.rev) / 1e6


@dataclass(frozen=True, slots=True)
class JobCount:
    kind: str
    state: str
    jobs: int
    attempts: int


@dataclass(frozen=True, slots=True)
class FailingJob:
    """One of the house's own jobs that failed when it was done last."""

    kind: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Jobs:
    """`counts`: of those that are kept. `late_s`: how long the oldest waits that could be done now, has no
    time, and waits for no stranger's PDS; None: none waits. `workers`: lanes of workers that live."""

    counts: list[JobCount]
    late_s: float | None
    workers: int
    failing: list[FailingJob]

    def in_state(self, state: str) -> int:
        return sum(count.jobs for count in self.counts if count.state == state)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Sound from other people's PDSs: `bytes` that are here; tracks that are left alone, `over` a limit."""

    bytes: int
    over: int


@dataclass(frozen=True, slots=True)
class Differing:
    """A track that `theirs` accounts like by another index, and `ours` by ours."""

    uri: str
    ours: int
    theirs: int


@dataclass(frozen=True, slots=True)
class Links:
    """Tracks whose likes were compared with another index, the latest `age_s` ago. `worst`: of those that
    differ, ten at most, the furthest apart first."""

    tracks: int
    differ: int
    age_s: float
    worst: list[Differing]


@dataclass(frozen=True, slots=True)
class Cases:
    """What waits for people who judge: `open` cases, the oldest for `oldest_s`; notices that are late."""

    open: int
    oldest_s: float | None
    late_notices: int


@dataclass(frozen=True, slots=True)
class Labeler:
    """A labeler that was heard up to `seq`, `age_s` ago; `refused` of its labels did not hold."""

    did: str
    seq: int
    refused: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """`…_late_s`: how long the oldest due piece of work waits; None: nothing is due. `quiet_s`: since the
    last event of ours; `unsealed_s`: age of the oldest event that is not in the archive. `stuck`: rejected
    events that only a person may retry."""

    states: dict[str, int]
    hidden: int
    resync_due: int
    resync_waiting: int
    resync_late_s: float | None
    accounts_due: int
    accounts_late_s: float | None
    identities_due: int
    identities_late_s: float | None
    failing: list[Failing]
    rejected: dict[str, int]
    stuck: int
    sources: list[Cursor]
    head: int
    quiet_s: float | None
    sealed: int
    unsealed_s: float | None
    sweep: Sweep | None
    pulse: Pulse | None = None
    unproven: Unproven | None = None
    jobs: Jobs | None = None
    mirrored: Mirrored | None = None
    links: Links | None = None
    cases: Cases | None = None
    labelers: tuple[Labeler, ...] = ()

    @property
    def repos(self) -> int:
        return sum(self.states.values())


async def ask(conn: Connection) -> Health:
    row = await (await conn.execute(_SQL["health"])).fetchone()
    assert row is not None
    return msgspec.convert(row[0], Health)


async def read(reads: Reads) -> Health:
    """The same by the way that the appview reads."""
    rows = await reads.fetch("health")
    return msgspec.convert(orjson.loads(rows.cell(0, 0) or b"null"), Health)
