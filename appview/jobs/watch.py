"""Following a job: told of each change as it happens, by the database.

Contract: a follower sees the job as it stands now, then again after every change (several at once may be
one), and last as it ended. What happened while the connection to the database was away is seen when it is
back. One connection listens for all followers of a process, and a change is read once for all who follow the
job. A follower takes a place of the account that the job belongs to: it has MOST_OF_ONE at a time, a process
has MOST.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

import psycopg
import structlog

from appview import loops
from appview.errors import TooManyFollowed, TooManyFollowers
from lexicons.syntax import Did
from storage import jobs
from storage.jobs import Job
from storage.postgres import Pool

log = structlog.get_logger()

BEAT_S = 15.0
MOST_OF_ONE, MOST = 5, 500
_RETRY_S = 1.0


@dataclass(slots=True)
class _Followed:
    """A job as all its followers see it. `rung`: how often it was said to have changed; `seen`: up to which
    of these it was read, last at `read_at`."""

    bells: set[asyncio.Event] = field(default_factory=set[asyncio.Event])
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    rung: int = 0
    seen: int = 0
    read_at: float = 0.0
    job: Job | None = None


class JobWatch:
    """`beat_s`: how long a follower hears nothing at most. `most`: how many may follow."""

    def __init__(self, dsn: str, pool: Pool, *, beat_s: float = BEAT_S, most: int = MOST) -> None:
        self._dsn = dsn
        self._pool = pool
        self._beat_s = beat_s
        self._most = most
        self._followed: dict[UUID, _Followed] = {}
        self._followers: Counter[Did] = Counter()
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False

    async def follow(self, id: UUID, did: Did) -> AsyncGenerator[Job | None]:
        """See the module; None now and then where nothing changed. Ends with the job, with the watch, or at
        once where there is no such job. `did`: whose place it takes. Raises TooManyFollowed and
        TooManyFollowers."""
        if self._followers[did] >= MOST_OF_ONE:
            raise TooManyFollowed
        if self._followers.total() >= self._most:
            raise TooManyFollowers
        if self._listening is None:
            self._listening = loops.begin("job watch", self._listen)
        bell = asyncio.Event()
        followed = self._followed.setdefault(id, _Followed())
        followed.bells.add(bell)
        followed.rung += 1  # whoever comes sees it as it stands now
        self._followers[did] += 1
        told: Job | None = None
        quiet = False
        try:
            while True:
                bell.clear()
                try:
                    job = await self._read(id, followed)
                except psycopg.OperationalError:
                    job = told  # what it became is seen when the database is back
                    if job is None:
                        raise
                if job is None:
                    return
                if job != told:
                    yield job
                elif quiet:
                    yield None
                told = job
                if job.finished or self._stopping:
                    return
                quiet = not await _rung(bell, self._beat_s)
        finally:
            followed.bells.discard(bell)
            if not followed.bells:
                del self._followed[id]
            self._followers -= Counter([did])  # which forgets who follows nothing any more

    async def _read(self, id: UUID, followed: _Followed) -> Job | None:
        """As it stands; once in a beat it is read though nobody said that it changed."""
        async with followed.reading:
            if followed.seen < followed.rung or monotonic() - followed.read_at >= self._beat_s:
                rung = followed.rung
                async with self._pool.connection() as conn:
                    followed.job = await jobs.get(conn, id)
                followed.seen, followed.read_at = rung, monotonic()
            return followed.job

    async def stop(self) -> None:
        """End all following."""
        self._stopping = True
        self._ring(None)
        if self._listening is not None:
            await loops.end(self._listening)

    async def _listen(self) -> None:
        while True:
            try:
                await jobs.listen(self._dsn, self._ring)
            except psycopg.Error as error:
                log.warning("not told of jobs", reason=str(error).strip())
            await asyncio.sleep(_RETRY_S)

    def _ring(self, id: UUID | None) -> None:
        """Wake who follows this job; None: everybody."""
        ids = list(self._followed) if id is None else [id]
        for followed in filter(None, map(self._followed.get, ids)):
            followed.rung += 1
            for bell in followed.bells:
                bell.set()


async def _rung(bell: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return False
    return True
