"""What a job is to whoever does it.

    async def run(work: Work) -> Done: …          # one attempt, from whatever `work.job.facts` say is done

Contract: a task may be killed anywhere and is begun again with the facts that were saved; so each step is
idempotent, and is saved in the transaction of its effects. A task ends by returning, or by raising

    TaskFailed   for good: the text is for its owner
    TryLater     another attempt after `wait_s`, or when the queue thinks best; of those that count at most
                 `MOST_ATTEMPTS`

Whatever else it raises counts as `TryLater` and is logged; after the last attempt `failed` of the task is
called, so that it undoes what it began.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from storage.jobs import Job
from storage.postgres import Connection

MOST_ATTEMPTS = 8


class TaskFailed(Exception):
    """It cannot be done, ever. The text tells its owner why, and what to do."""


class TryLater(Exception):
    """Somebody is away; the text tells who. `wait_s` None: the longer, the more often it was tried. `counts`
    False: as if that attempt had not been, so whoever raises it sees to it that there is an end."""

    def __init__(self, reason: str, wait_s: float | None = None, *, counts: bool = True) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.counts = counts


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended well."""

    message: str
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Work(Protocol):
    """One attempt at a job."""

    @property
    def job(self) -> Job:
        """As it stands, with all that was saved in this attempt, be it in a transaction that came to nothing.
        Whoever undoes it sees what is in the database alone."""
        ...

    async def report(self, phase: str, message: str, progress: float | None = None) -> None:
        """Tell its owner; cheap to call often, told a few times a second at most. Raises asyncio's
        CancelledError once somebody has cancelled the job."""
        ...

    async def save(
        self, facts: Mapping[str, Any], *, warnings: Sequence[str] = (), conn: Connection | None = None
    ) -> None:
        """Write down what a step came to: in `conn`'s transaction, else in one of its own. Raises asyncio's
        CancelledError, so that the transaction comes to nothing, where the job has ended, or where this
        process was taken for dead and another attempt is on."""
        ...


Run = Callable[[Work], Awaitable[Done]]
Undo = Callable[[Work], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Task:
    """`kind` is its name in the database. `failed` undoes what was begun, also after a cancellation: it is
    idempotent, too, and the job ends when it has returned. `lane`: jobs of a lane wait for each other's
    places (`heavy`: they encode; `later`: likewise, and nobody waits for it; `mirror`: they
    wait for strangers; `light`: the rest)."""

    kind: str
    run: Run
    failed: Undo | None = None
    lane: str = "light"
    attempts: int = MOST_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of the house's own kinds, and how often it is done, in whole seconds."""

    kind: str
    every: timedelta


class Queue(Protocol):
    """Where jobs are put."""

    async def enqueue(
        self,
        conn: Connection,
        kind: str,
        *,
        did: str | None = None,
        subject: str | None = None,
        args: Mapping[str, Any] | None = None,
        delay_s: float = 0,
    ) -> UUID | None:
        """A job, in the caller's transaction: it exists when that commits. None: one of this kind about this
        subject is not finished yet. Raises UnknownTask for a kind that no task has."""
        ...

    async def cancel(self, conn: Connection, id: UUID) -> bool:
        """Ask for its end. False: it has ended already."""
        ...


class UnknownTask(Exception):
    """No task is of this kind."""
