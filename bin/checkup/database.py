"""The database: whether it is there, at our version, on our time, and nobody stands in the way."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from bin.checkup.clocks import clock
from bin.checkup.verdict import Finding, fail, ok, warn
from indexer.explain import span
from storage import migrate, queue_tables, vitals
from storage.migrate import Migration
from storage.postgres import Connection
from storage.queue_tables import MigrationFailed

OLDEST = 14
WAITS_S, IDLE_S = 30.0, 300.0


async def reachable(conn: Connection) -> list[Finding]:
    """Its version."""
    major = (await vitals.server(conn)).version // 10_000
    if major < OLDEST:
        return [fail("database", f"Postgres {major} is too old", f"use {OLDEST} or newer")]
    return [ok("database", f"Postgres {major}")]


async def on_time(conn: Connection) -> list[Finding]:
    asked_s = time.time()
    server = await vitals.server(conn)
    told_s = time.time()
    ahead_s = server.now_s - (asked_s + told_s) / 2
    return [clock("clocks", "the database", ahead_s, (told_s - asked_s) / 2)]


async def migrated(conn: Connection) -> list[Finding]:
    findings = [ledger(migrate.read(), await migrate.applied(conn))]
    try:
        behind = await queue_tables.behind(conn)
    except MigrationFailed as error:
        return [*findings, fail("schema", str(error), "use the plyr that made it, or another database")]
    if behind:
        text = f"the queue of jobs lacks {len(behind)} steps of procrastinate"
        findings.append(fail("schema", text, "plyr migrate"))
    return findings


def ledger(known: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> Finding:
    """What the database notes of its migrations, against our files."""
    try:
        todo = migrate.pending(list(known), applied)
    except MigrationFailed as error:
        return fail("schema", str(error), "use the plyr whose files these are")
    if todo:
        return fail("schema", f"{len(todo)} migrations are to do, from {todo[0]} on", "plyr migrate")
    lost = [str(migration) for migration in known if migration.version not in applied]
    if lost:
        text = f"it is not noted that {', '.join(lost)} was applied, and newer ones were"
        return fail("schema", text, "restore schema_migration from a backup, or the whole database")
    return ok("schema", f"{len(known)} migrations, all as our files")


async def locks(conn: Connection) -> list[Finding]:
    stuck = await vitals.stuck(conn, waits_s=WAITS_S, idle_s=IDLE_S)
    if not stuck:
        return [ok("locks", "nobody waits for long, no transaction is forgotten")]
    return [
        warn(
            "locks",
            f"{each.who} (pid {each.pid}) "
            + ("waits for a lock" if each.waits else "holds a transaction and does nothing")
            + f" for {span(each.for_s)}",
            "see pg_blocking_pids(pid)" if each.waits else f"select pg_terminate_backend({each.pid})",
        )
        for each in stuck
    ]
