"""Numbered migrations: each file of `storage/migrations` once, in order, in a transaction of its own; then
the queue's tables (storage/queue_tables.py).

The contract: after `migrate` the database is at the newest file, or unchanged from the last
file that succeeded. A file that was applied and edited afterwards is refused, as is a
database that has a migration which this code does not know. Several processes may call
it at once: one works, the others wait and find nothing to do.

    MigrationFailed
    ├── MigrationEdited
    ├── DatabaseTooNew
    ├── MigrationsMisnumbered
    ├── MigrationLockBusy
    └── QueueTooNew, QueueNotOurs
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg.rows import TupleRow

from storage import queue_tables
from storage.postgres import Connection
from storage.queue_tables import MigrationFailed

__all__ = [
    "DatabaseTooNew",
    "Migration",
    "MigrationEdited",
    "MigrationFailed",
    "MigrationLockBusy",
    "MigrationsMisnumbered",
    "applied",
    "migrate",
    "pending",
    "read",
]

MIGRATIONS = Path(__file__).parent / "migrations"

# Any 64-bit number that no other use of advisory locks here has.
LOCK_KEY = 0x706C7972_00000001

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_CREATE_LEDGER: LiteralString = """
create table if not exists schema_migration (
    version     int primary key,
    name        text not null,
    checksum    text not null,
    applied_at  timestamptz not null default now()
)
"""


class MigrationEdited(MigrationFailed):
    """A migration that this database has already is no longer the file that was applied."""


class DatabaseTooNew(MigrationFailed):
    """The database was migrated by a newer plyr than this one."""


class MigrationsMisnumbered(MigrationFailed):
    """The files of the migrations folder are not numbered 0001, 0002, … without a gap."""


class MigrationLockBusy(MigrationFailed):
    """Another process has been migrating this database for longer than we wait."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


def read(folder: Path = MIGRATIONS) -> list[Migration]:
    """The migrations of a folder in order. Raises MigrationsMisnumbered."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if not match or int(match[1]) != len(found) + 1:
            raise MigrationsMisnumbered(f"{path.name} is not number {len(found) + 1:04}")
        found.append(Migration(int(match[1]), match[2], path.read_text()))
    return found


def pending(known: list[Migration], applied: Mapping[int, tuple[str, str]]) -> list[Migration]:
    """What is left to apply, given {version: (name, checksum)} of the database. Raises MigrationFailed."""
    for migration in known:
        if migration.version in applied and applied[migration.version][1] != migration.checksum:
            raise MigrationEdited(
                f"{migration} was edited after this database got it; write a new one instead"
            )
    newest = max(applied, default=0)
    if newest > len(known):
        name, _ = applied[newest]
        raise DatabaseTooNew(
            f"the database is at {newest:04}_{name}, this plyr knows {len(known)} migrations"
        )
    return known[newest:]


async def migrate(
    dsn: str, folder: Path = MIGRATIONS, *, queue: bool = True, lock_timeout_s: float = 60
) -> list[str]:
    """Bring the database to the newest migration, and the `queue`; returns the names of those applied. Raises
    MigrationFailed.

    The lock is polled: a session that waits inside `pg_advisory_lock` holds a snapshot,
    and CREATE INDEX CONCURRENTLY would wait for it in turn.
    """
    known = read(folder)
    done: list[str] = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await _lock(conn, lock_timeout_s)
        await conn.execute(_CREATE_LEDGER)
        for migration in pending(known, await applied(conn)):
            async with conn.transaction():
                await conn.execute(cast(LiteralString, migration.sql))
                await conn.execute(
                    "insert into schema_migration (version, name, checksum) values (%s, %s, %s)",
                    (migration.version, migration.name, migration.checksum),
                )
            done.append(str(migration))
        if queue:
            done += await queue_tables.bring(conn)
        await conn.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))
    return done


async def applied(conn: Connection) -> dict[int, tuple[str, str]]:
    """{version: (name, checksum)} of the database; none where nothing was ever migrated."""
    row = await (await conn.execute("select to_regclass('schema_migration') is not null")).fetchone()
    if row is None or not row[0]:
        return {}
    rows = await (await conn.execute("select version, name, checksum from schema_migration")).fetchall()
    return {version: (name, checksum) for version, name, checksum in rows}


async def _lock(conn: psycopg.AsyncConnection[TupleRow], timeout_s: float) -> None:
    """Hold the migration lock until the session ends; MigrationLockBusy after `timeout_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        row = await (await conn.execute("select pg_try_advisory_lock(%s)", (LOCK_KEY,))).fetchone()
        if row and row[0]:
            return
        if loop.time() >= deadline:
            raise MigrationLockBusy(f"waited {timeout_s:g} s for another process that migrates")
        await asyncio.sleep(0.1)
