"""Old plays go into files: none is lost, none is there twice, and nobody is found in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from appview.jobs.plays import ROLL_UP, SEAL
from bin.kinds import job_queue
from storage import play_archive, plays
from storage.postgres import Connection
from tests.acceptance.service import Program
from tests.integration.appview.seed import Seed
from tests.integration.jobs.doing import ended
from tests.integration.plays.test_plays import a_track, counter, events, play, somebody

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "plays"


def sealed(folder: Path) -> list[tuple[Any, ...]]:
    files = sorted(map(str, folder.glob("*/*.parquet")))
    if not files:
        return []
    columns = 'id, track_id, epoch_us("at"), listener'
    return duckdb.read_parquet(files).project(columns).order("id").fetchall()


async def of_forty_days(conn: Connection, track: int) -> None:
    """Two listeners a day, today the last."""
    for day in range(-39, 1):
        for n in range(2):
            await play(conn, track, somebody(n), day * DAY_S)
    await plays.roll_up(conn)


async def test_what_is_older_than_five_weeks_is_in_a_file_and_no_longer_here(
    conn: Connection, seed: Seed, folder: Path
) -> None:
    track = a_track(seed)
    await of_forty_days(conn, track)
    before = await (await conn.execute("select id, track_id, at from play order by id")).fetchall()
    done = await play_archive.seal(conn, folder, now=NOW)
    assert done is not None
    assert done.rows == 8  # of the days 36 to 39 ago
    assert await play_archive.segments(conn) == [done]
    rows = sealed(folder)
    left = await (await conn.execute("select id, track_id, at from play order by id")).fetchall()
    us = timedelta(microseconds=1)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert [row[:3] for row in rows] == [(id_, t, (at - epoch) // us) for id_, t, at in before[:8]]
    assert left == before[8:]
    assert len({row[3] for row in rows}) == 2
    assert {row[3] for row in rows}.isdisjoint({somebody(0).digest, somebody(1).digest})
    assert await counter(conn, track) == 80
    assert await plays.miscounted(conn) == []
    assert await play_archive.seal(conn, folder, now=NOW) is None
    assert (folder / done.path).parent.name == "2026-10"


async def test_no_file_holds_more_than_it_should(conn: Connection, seed: Seed, folder: Path) -> None:
    await of_forty_days(conn, a_track(seed))
    found = []
    while (done := await play_archive.seal(conn, folder, now=NOW, most=3)) is not None:
        found.append(done.rows)
    assert found == [3, 3, 2]
    assert len(sealed(folder)) == 8
    assert len({row[3] for row in sealed(folder)}) == 6  # the same listener is another one in another file


async def test_what_is_not_rolled_up_stays(conn: Connection, seed: Seed, folder: Path) -> None:
    track = a_track(seed)
    await play(conn, track, somebody(1), -40 * DAY_S)
    assert await play_archive.seal(conn, folder, now=NOW) is None
    await plays.roll_up(conn)
    assert await play_archive.seal(conn, folder, now=NOW) is not None


@pytest.mark.once
async def test_a_seal_that_dies_before_its_commit_is_done_again(
    database: str, conn: Connection, seed: Seed, folder: Path
) -> None:
    await of_forty_days(conn, a_track(seed))
    dying = await psycopg.AsyncConnection.connect(database)
    await dying.execute("select")
    # Its own transaction is a savepoint in ours, which is never committed.
    assert await play_archive.seal(dying, folder, now=NOW, most=5) is not None
    await conn.execute("select pg_terminate_backend(%s)", (dying.info.backend_pid,))
    await dying.close()
    assert len(sealed(folder)) == 5
    assert await events(conn) == 80
    (folder / "2026-10" / "plays-1-2.parquet.part").write_bytes(b"half")
    (folder / "unsealed-x.part").write_bytes(b"half")
    done = await play_archive.seal(conn, folder, now=NOW)
    assert done is not None
    assert [file.name for file in folder.rglob("*") if file.is_file()] == [Path(done.path).name]
    assert len(sealed(folder)) == 8
    assert await events(conn) == 72


async def test_where_the_file_cannot_be_written_all_stays(conn: Connection, seed: Seed, folder: Path) -> None:
    await of_forty_days(conn, a_track(seed))
    folder.mkdir()
    (folder / "2026-10").write_bytes(b"in the way")
    with pytest.raises(OSError, match="2026-10"):
        await play_archive.seal(conn, folder, now=NOW)
    assert await events(conn) == 80
    assert await play_archive.segments(conn) == []


async def test_a_worker_does_what_is_due(database: str, conn: Connection, seed: Seed, tmp_path: Path) -> None:
    track = a_track(seed)
    for n in range(3):
        await plays.record(conn, track, [somebody(n)], at=datetime.now(UTC) - timedelta(days=36))
    await plays.record(conn, track, [somebody(0)], at=datetime.now(UTC))
    environ = {"PLYR_DATABASE_URL": database, "PLYR_DATA_DIR": str(tmp_path)}
    folder, queue = tmp_path / "archive" / "plays", job_queue()

    async def done(kind: str) -> Mapping[str, Any] | None:
        job = await ended(conn, await queue.enqueue(conn, kind), timeout_s=60)
        return job.result

    async with Program("worker", environ, tmp_path / "worker.log"):
        assert await done(ROLL_UP) == {"plays": 4}
        assert await done(SEAL) == {"plays": 3}
        assert await done(SEAL) == {"plays": 0}
    assert len(sealed(folder)) == 3
    assert await plays.miscounted(conn) == []
