"""How the server and its tables are, by its own statistics: for `plyr doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("vitals")

# Written all the time. The first are vacuumed sooner than others: their migrations say why.
TUNED = ("queue", "now_playing", "job", "track_stat", "procrastinate.procrastinate_jobs")
HOT = (*TUNED, "session", "staged_upload", "repo", "source_cursor", "play_claim")


@dataclass(frozen=True, slots=True)
class Server:
    """`version` as 150018; `now_s` since 1970; whether it vacuums by itself."""

    version: int
    now_s: float
    vacuums: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`live` and `dead` rows. `expected_bytes`: about what its live rows take; None: not known. `vacuumed_s`
    ago, by whomever; None: never. `tuned`: it is vacuumed sooner than by default; `off`: never by itself."""

    name: str
    live: int
    dead: int
    bytes: int
    expected_bytes: int | None
    vacuumed_s: float | None
    tuned: bool
    off: bool

    @property
    def tuning(self) -> str:
        """The statement that has it vacuumed sooner, for a person to give."""
        return f"alter table {self.name} set (autovacuum_vacuum_scale_factor = 0.02)"

    @property
    def turning_on(self) -> str:
        """The one that has it vacuumed at all."""
        return f"alter table {self.name} reset (autovacuum_enabled)"


@dataclass(frozen=True, slots=True)
class Stuck:
    """A session that waits for a lock (`waits`), or that is idle in a transaction, for so long."""

    pid: int
    who: str
    waits: bool
    for_s: float


async def server(conn: Connection) -> Server:
    row = await (await conn.execute(_SQL["server"])).fetchone()
    assert row is not None
    return Server(*row)


async def tables(conn: Connection, names: Sequence[str] = HOT) -> list[Table]:
    """Those that there are."""
    async with conn.cursor(row_factory=class_row(Table)) as cursor:
        await cursor.execute(_SQL["tables"], {"names": list(names)})
        return await cursor.fetchall()


async def stuck(conn: Connection, *, waits_s: float, idle_s: float) -> list[Stuck]:
    """The ten longest."""
    async with conn.cursor(row_factory=class_row(Stuck)) as cursor:
        await cursor.execute(_SQL["stuck"], {"waits_s": waits_s, "idle_s": idle_s})
        return await cursor.fetchall()
