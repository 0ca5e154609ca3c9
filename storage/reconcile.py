"""Tables `reconcile_run` and `pulse`: what comparing with the PDSs came to, and how much usually comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from lexicons.syntax import Did, Handle, Rev
from storage.postgres import Connection
from storage.queries import load

_SQL = load("reconcile")
Scope = Literal["all", "some"]


@dataclass(frozen=True, slots=True)
class Run:
    """A sweep. Of `all` repos, those are looked at that were not compared since `started_at`."""

    id: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """What we hold of an account, as far as a PDS can confirm it."""

    id: int
    did: Did
    handle: Handle | None
    pds: str | None
    signing_key: str | None
    active: bool
    status: str | None
    state: str
    rev: Rev | None


async def unfinished(conn: Connection) -> Run | None:
    """The sweep of all that a crash interrupted."""
    row = await (await conn.execute(_SQL["open"])).fetchone()
    return None if row is None else Run(*row)


async def begin(conn: Connection, scope: Scope) -> Run:
    """Of `all`, whoever sweeps goes through it as soon as that is free, a page at a time; this is one row."""
    row = await (await conn.execute(_SQL["begin"], {"scope": scope})).fetchone()
    assert row is not None
    return Run(*row)


async def is_due(conn: Connection, every_s: float) -> bool:
    """Whether the last sweep of all began at least `every_s` ago."""
    row = await (await conn.execute(_SQL["due"], {"every_s": every_s})).fetchone()
    return row is not None and bool(row[0])


async def anybody_doubtful(conn: Connection) -> bool:
    row = await (await conn.execute(_SQL["anybody"])).fetchone()
    return row is not None and bool(row[0])


async def of_all(conn: Connection, *, after: int, since: datetime, limit: int) -> list[Held]:
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(_SQL["of_all"], {"after": after, "since": since, "limit": limit})
        return await cursor.fetchall()


async def of_doubtful(conn: Connection, *, after: int, limit: int) -> list[Held]:
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(_SQL["of_doubtful"], {"after": after, "limit": limit})
        return await cursor.fetchall()


async def of_named(conn: Connection, dids: Iterable[Did]) -> list[Held]:
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(_SQL["of_named"], {"dids": sorted(dids)})
        return await cursor.fetchall()


async def checked(conn: Connection, ids: Sequence[int]) -> None:
    await conn.execute(_SQL["checked"], {"ids": list(ids)})


async def fetch_soon(conn: Connection, ids: Sequence[int]) -> None:
    """Have these repos fetched, unless they are about to be, or are out of sight."""
    await conn.execute(_SQL["fetch_soon"], {"ids": list(ids)})


async def add(
    conn: Connection, run: Run, *, checked: int, in_step: int, healed: int, behind: int, unreachable: int
) -> None:
    params = {
        "id": run.id,
        "checked": checked,
        "in_step": in_step,
        "healed": healed,
        "behind": behind,
        "unreachable": unreachable,
    }
    await conn.execute(_SQL["add"], params)


async def finish(conn: Connection, run: Run) -> None:
    await conn.execute(_SQL["finish"], {"id": run.id})


async def pulse_at(conn: Connection) -> int | None:
    """The outbox's seq up to which records are counted."""
    row = await (await conn.execute(_SQL["pulse_at"])).fetchone()
    return None if row is None else row[0]


async def beat(conn: Connection, *, hour: datetime, records: int, last_at: datetime, seq: int) -> None:
    await conn.execute(_SQL["beat"], {"hour": hour, "records": records, "last_at": last_at, "seq": seq})
