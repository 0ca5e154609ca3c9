"""The tables of procrastinate, in the schema `procrastinate`, out of the package's own files.

Contract: after `bring` they are what the installed package wants. What an older package made gets the
package's migrations since, each in a transaction of its own; what a newer one made is refused, as is a schema
of that name that plyr did not make. Every function of the schema finds its tables whoever calls it.

    MigrationFailed
    ├── QueueTooNew
    └── QueueNotOurs
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import LiteralString, cast

from storage.postgres import Connection
from storage.queries import load

_SQL = load("queue_tables")
_NOT_OURS = "the database has a schema procrastinate already, and not from plyr; rename it"


class MigrationFailed(Exception):
    """The database could not be brought to this version of the code."""


class QueueTooNew(MigrationFailed):
    """The queue's tables are those of a newer procrastinate than the installed one."""


class QueueNotOurs(MigrationFailed):
    """There is a schema `procrastinate` that plyr did not make."""


def steps() -> list[Path]:
    """The package's migrations in order. Importing the package for that would slow every command down."""
    found = find_spec("procrastinate")
    assert found is not None
    assert found.origin is not None
    return sorted((Path(found.origin).parent / "sql" / "migrations").glob("*.sql"))


def missing(known: list[str], made: str) -> list[str]:
    """Names of the steps after `made`, the newest that the database has. Raises QueueTooNew."""
    if made not in known:
        raise QueueTooNew(
            f"the queue's tables are at {made}, the installed procrastinate knows only {known[-1]}"
        )
    return known[known.index(made) + 1 :]


async def behind(conn: Connection) -> list[str]:
    """Names of the package's steps that the database lacks. Raises MigrationFailed."""
    known = [file.stem for file in steps()]
    row = await (await conn.execute(_SQL["found"])).fetchone()
    assert row is not None
    schema, ledger = row
    if not schema:
        return known
    if not ledger:
        raise QueueNotOurs(_NOT_OURS)
    row = await (await conn.execute(_SQL["made"])).fetchone()
    return known if row is None else missing(known, row[0])


async def bring(conn: Connection) -> list[str]:
    """Returns what was done, by name. `conn` is autocommit, and holds the lock of migrations. Raises
    MigrationFailed."""
    files = steps()
    known = [file.stem for file in files]
    row = await (await conn.execute(_SQL["found"])).fetchone()
    assert row is not None
    schema, ledger = row
    if not schema:
        await _make(conn, known[-1])
        await conn.execute(_SQL["vacuum_soon"])
        return [f"procrastinate {known[-1]}"]
    if not ledger:
        raise QueueNotOurs(_NOT_OURS)
    row = await (await conn.execute(_SQL["made"])).fetchone()
    assert row is not None
    todo = missing(known, row[0])
    for file in files:
        if file.stem in todo:
            await _apply(conn, file.read_text(), file.stem)
    await conn.execute(_SQL["vacuum_soon"])
    return [f"procrastinate {name}" for name in todo]


async def _make(conn: Connection, newest: str) -> None:
    from procrastinate.schema import SchemaManager

    async with conn.transaction():
        await conn.execute(_SQL["create_schema"])
        await conn.execute(_SQL["create_ledger"])
        await _apply(conn, SchemaManager.get_schema(), newest)


async def _apply(conn: Connection, text: str, name: str) -> None:
    async with conn.transaction():
        await conn.execute(_SQL["look_inside"])
        await conn.execute(cast(LiteralString, text))
        await conn.execute(_SQL["bind_functions"])
        await conn.execute(_SQL["look_outside"])
        await conn.execute(_SQL["note"], {"name": name})
