"""Schema `plyr_replay`: the tables of the index computed again, to be compared with the real ones, and to
take their place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected

from storage.postgres import Connection
from storage.queries import load

_SQL = load("shadow")
COMPARED = (
    "repo",
    "record",
    "track_uri",
    "track",
    "like",
    "comment",
    "list",
    "profile",
    "track_stat",
    "rejected_event",
    "forgotten",
)
STAGED = ("track", "profile", "comment", "list")
EXAMPLES = 5
FREEZE_TRIES = 10

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A row that differs. `columns`: name → (in the table, replayed), where both have the row."""

    key: str
    columns: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table differs from what the archive says: rows that it lacks, has too many, has wrong."""

    table: str
    missing: int
    extra: int
    wrong: int
    examples: tuple[Example, ...]


async def begin(conn: Connection) -> None:
    """Empty shadows; those of an earlier replay are gone."""
    await conn.execute(_SQL["begin"])


async def end(conn: Connection) -> None:
    await conn.execute(_SQL["end"])


def stage(conn: psycopg.Connection) -> None:
    """What a worker's own connection needs, once, before `load_rows`."""
    conn.execute(_SQL["stage"])


def load_rows(conn: psycopg.Connection, table: str, rows: Iterable[Row]) -> None:
    """Copy rows into one of the shadows, or into the stage before it; `table` as in copy_…"""
    with conn.cursor() as cursor, cursor.copy(_SQL[f"copy_{table}"]) as copy:
        for row in rows:
            copy.write_row(row)


def reserve_lists(conn: psycopg.Connection, upto: int) -> None:
    """Lists whose number the archive does not know get higher ones."""
    conn.execute(_SQL["reserve_lists"], {"upto": upto})


def unstage(conn: psycopg.Connection) -> None:
    """What this connection staged goes into the shadows."""
    for table in STAGED:
        conn.execute(_SQL[f"finish_{table}"])


def finish(conn: psycopg.Connection) -> None:
    """Accounts, set-aside events and counters: last, they look at everything else."""
    for table in ("repo", "record", "rejected", "track_stat", "track_tag"):
        conn.execute(_SQL[f"finish_{table}"])


async def snapshot(conn: Connection) -> None:
    """The first statement of a transaction: all that it reads is as of one moment."""
    await conn.execute(_SQL["snapshot"])


async def freeze(conn: Connection) -> None:
    """Nobody changes the real tables until the transaction ends. A writer that began elsewhere and waits for
    us as we wait for it is let through first. Raises DeadlockDetected if that goes on and on."""
    for tries in range(1, FREEZE_TRIES + 1):
        try:
            async with conn.transaction():
                await conn.execute(_SQL["freeze"])
            return
        except DeadlockDetected:
            if tries == FREEZE_TRIES:
                raise


async def index(conn: Connection) -> None:
    """The shadows are as durable and as quick as the real tables."""
    await conn.execute(_SQL["index"])


async def swap(conn: Connection) -> None:
    """Put the shadows in the place of the real tables, in the caller's transaction, after `freeze`."""
    await conn.execute(_SQL["swap"])


async def differences(real: Connection, shadow: Connection) -> list[Difference]:
    """Compare all tables; equal ones are left out. Both connections are in a transaction, and each sees the
    other's schema as it likes: `real` may hold a snapshot from before the replay."""
    found: list[Difference] = []
    await real.execute(_SQL["public"])
    await shadow.execute(_SQL["shadow"])
    for table in COMPARED:
        ours, replayed = await asyncio.gather(_hash(real, table), _hash(shadow, table))
        if ours != replayed:
            difference = await _difference(real, shadow, table)
            if difference is not None:
                found.append(difference)
    return found


async def _hash(conn: Connection, table: str) -> Any:
    return await (await conn.execute(_over(table, "hash"))).fetchone()


async def _difference(real: Connection, shadow: Connection, table: str) -> Difference | None:
    await shadow.execute(_over(table, "differ_begin"))
    async with (
        real.cursor().copy(_over(table, "differ_out")) as out,
        shadow.cursor().copy(_SQL["differ_in"]) as into,
    ):
        async for data in out:
            await into.write(data)
    rows = await (await shadow.execute(_over(table, "differ"))).fetchall()
    await shadow.execute(_SQL["differ_end"])
    if not rows:
        return None
    missing = sum(absent for _, absent, _, _ in rows)
    extra = sum(surplus for _, _, surplus, _ in rows)
    examples = tuple(_example(key, columns) for key, _, _, columns in rows[:EXAMPLES])
    return Difference(table, missing, extra, len(rows) - missing - extra, examples)


def _example(key: str, columns: dict[str, list[Any]] | None) -> Example:
    return Example(key, {name: (real, replayed) for name, (real, replayed) in (columns or {}).items()})


def _over(table: str, statement: str) -> sql.Composed:
    return sql.SQL(_SQL[statement]).format(facts=sql.SQL(_SQL[f"facts_{table}"]))
