"""Tasks `scan` and `scan.sweep`: what tracks play is scanned for the recordings of others.

    upload, mirror or replace ─▶ want, in the transaction in which the sound is the track's
    job `scan`: what it plays now ─▶ AuDD and our own scanner are asked ─▶ one row in copyright_scan
                                                    ─▶ flagged: `on_flag`, in that transaction

Contract: a verdict is of the bytes that were scanned, and comes about once; killed anywhere the job asks
again, and of two verdicts the first stays. Only one that is clear is added to, once somebody can be asked
who was not: AuDD where it had no token, our own scanner where there was no fingerprint. What AuDD said of the
same bytes is not paid for twice. An error of AuDD is a row with a date, after which the sweep tries again,
ever later, unless our own scanner finds something: that is not held up. The public sees of an error what it
sees of a track that is clear. Once AuDD says that our quota is used up, or that it does not take our token,
the sweep begins nothing until that is due again. A scan decides nothing: it is for `on_flag` to have a person
look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from appview.jobs import sweep
from appview.jobs.tasks import Done, Queue, Task, TryLater, Work
from appview.media.failures import NO_FFMPEG, STORE_AWAY, NoFfmpeg
from appview.moderation import copies
from appview.moderation.audd import Audd, AuddFailed
from appview.moderation.fingerprint import Variant
from appview.moderation.variants import Variants
from lexicons.syntax import Did, Rkey
from storage import scans
from storage.blobs.store import StoreDown
from storage.postgres import Connection, Pool
from storage.scans import ErrorKind, Source, Target, Verdict

KIND = "scan"
SWEEP = "scan.sweep"
LANE = "scan"
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0
_FIRST_S = {
    ErrorKind.AWAY: _MINUTE_S,
    ErrorKind.QUOTA: _HOUR_S,
    ErrorKind.TOKEN: _HOUR_S,
    ErrorKind.SOUND: _HOUR_S,
    ErrorKind.ANSWER: _HOUR_S,
}


@dataclass(frozen=True, slots=True)
class Flagged:
    """A verdict that a person has to look at, of row `scan_id`."""

    scan_id: int
    target: Target
    verdict: Verdict


OnFlag = Callable[[Connection, Flagged], Awaitable[None]]


class Came(StrEnum):
    """What came of a scan. KNOWN: there was a verdict already, or the account was forgotten
    meanwhile. GONE: nothing of it is in sight any more."""

    CLEAR = "clear"
    FLAGGED = "flagged"
    KNOWN = "known"
    ERROR = "error"
    OFF = "off"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error` says why, where it is ERROR, and of which `kind` that is."""

    came: Came
    error: str | None = None
    kind: ErrorKind | None = None


async def want(conn: Connection, queue: Queue, did: Did, rkey: Rkey) -> bool:
    """Have what a track plays scanned, in the caller's transaction. False: it will be anyhow."""
    args = {"did": did, "rkey": rkey}
    return await queue.enqueue(conn, KIND, subject=f"{did}/{rkey}", args=args) is not None


def wait_s(kind: ErrorKind, attempts: int, least_s: float | None = None) -> float:
    """Until the next attempt after so many that failed before: from a minute or an hour twice as long each
    time, a day at most, and a week for a sound that cannot be read there; `least_s`, a week at most, if AuDD
    asks for that."""
    most_s = 7 * _DAY_S if kind is ErrorKind.SOUND else _DAY_S
    return max(min(_FIRST_S[kind] * 2.0 ** min(attempts, 20), most_s), min(least_s or 0, 7 * _DAY_S))


class Scanner:
    """Scans one track at a time. `audd` None: AuDD is not asked, for the reason `off`, and our own scanner
    alone says what it finds. `address`: where a sound of this hash is fetched; `variants` has them of such a
    one. `on_flag` is told of what was flagged, before that is committed."""

    def __init__(
        self,
        pool: Pool,
        audd: Audd | None,
        address: Callable[[str], str],
        variants: Variants,
        *,
        off: str = "",
        on_flag: OnFlag | None = None,
    ) -> None:
        self._pool = pool
        self._audd = audd
        self._address = address
        self._variants = variants
        self.off = off if audd is None else None
        self._on_flag = on_flag

    async def scan(self, did: Did, rkey: Rkey) -> Outcome:
        """What a track plays now. Raises StoreDown, NoFfmpeg."""
        async with self._pool.connection() as conn:
            target = await scans.playing(conn, did, rkey)
            if target is None:
                return Outcome(Came.GONE)
            before = await scans.get(conn, did, rkey, target.sha256)
            if before is not None and before.is_flagged:
                return Outcome(Came.KNOWN)
            asked = frozenset(() if before is None else before.asked)
            known = await scans.answered(conn, target.sha256)
        said: Verdict | None = None
        failed: AuddFailed | None = None
        if Source.AUDD not in asked:
            try:
                said = known or await self._asked(target)
            except AuddFailed as error:
                failed = error
        found: Verdict | None = None
        if Source.PLYR not in asked:
            # Last: whom it names may ask to be forgotten meanwhile.
            found = await self._compared(target)
        told = [each for each in (said, found) if each is not None]
        if failed is not None and (found is None or not found.is_flagged):
            return await self._failed(target, failed)
        if told:
            return await self._settled(target, copies.joined(told))
        if asked:
            return Outcome(Came.KNOWN)
        async with self._pool.connection() as conn:
            await scans.leave(conn, target)
        return Outcome(Came.OFF, self.off)

    async def _asked(self, target: Target) -> Verdict | None:
        return None if self._audd is None else await self._audd.identify(self._address(target.sha256))

    async def _compared(self, target: Target) -> Verdict | None:
        """By our own scanner; at other speeds, which have to be decoded, only where that finds nothing. None:
        there is no fingerprint."""
        async with self._pool.connection() as conn:
            data = await scans.fingerprint(conn, target.blob_id)
            if data is None:
                return None
            found = await copies.verdict(conn, target.did, [Variant(data)])
        if found.is_flagged:
            return found
        others = await self._variants.of(target.sha256)
        async with self._pool.connection() as conn:
            return await copies.verdict(conn, target.did, others)

    async def _failed(self, target: Target, failed: AuddFailed) -> Outcome:
        waits_s = wait_s(failed.kind, target.attempts, failed.wait_s)
        async with self._pool.connection() as conn:
            await scans.fail(conn, target, failed.kind, str(failed), wait_s=waits_s, raw=failed.raw)
        return Outcome(Came.ERROR, str(failed), failed.kind)

    async def _settled(self, target: Target, verdict: Verdict) -> Outcome:
        async with self._pool.connection() as conn, conn.transaction():
            id = await scans.settle(conn, target, verdict)
            if id is None:
                return Outcome(Came.KNOWN)
            if not verdict.is_flagged:
                return Outcome(Came.CLEAR)
            if self._on_flag is not None:
                await self._on_flag(conn, Flagged(id, target, verdict))
        return Outcome(Came.FLAGGED)


class Scans:
    """The tasks. `queue` is where the sweep puts what is due."""

    def __init__(self, pool: Pool, scanner: Scanner, queue: Queue) -> None:
        self._pool = pool
        self._scanner = scanner
        self._queue = queue

    @property
    def tasks(self) -> Sequence[Task]:
        return Task(KIND, self._run, lane=LANE), Task(SWEEP, self._sweep)

    async def _run(self, work: Work) -> Done:
        args = work.job.args
        try:
            outcome = await self._scanner.scan(Did(args["did"]), Rkey(args["rkey"]))
        except NoFfmpeg as error:
            raise TryLater(NO_FFMPEG) from error
        except StoreDown as error:
            raise TryLater(STORE_AWAY) from error
        # An error is in the row, with when it is tried again: this job has done what it can.
        return Done(outcome.error or str(outcome.came), {"came": outcome.came})

    async def _sweep(self, work: Work) -> Done:
        """Put a job into the queue for each track that is unscanned and due, not too many at once."""
        async with self._pool.connection() as conn:
            until = await scans.refused_until(conn)
            if until is not None and self._scanner.off is None:
                return Done(f"AuDD answers no more; asked again at {until:%Y-%m-%d %H:%M} UTC", {"begun": 0})
            due = partial(scans.unscanned, conn, kind=KIND, audd=self._scanner.off is None)
            begun = await sweep.begin(
                conn, KIND, due, lambda target: want(conn, self._queue, target.did, target.rkey)
            )
        without = f"; {self._scanner.off}" if self._scanner.off else ""
        return Done(f"{begun} scans begun{without}", {"begun": begun})
