"""What happened is sealed once and whole, and leaves the database no earlier than promised."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from bin import rewind
from bin.rewind import NotRewound
from firehose.relay import parse_source
from indexer.apply import apply_batch
from indexer.archivist import Archivist, is_due, seal_all
from indexer.dumper import Dumper, write
from indexer.prepare import prepare
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rev, tid_time_us
from storage import archive, cursors, outbox, segment
from storage.archive import Waiting
from storage.outbox import Entry, Kind
from storage.postgres import Connection, make_pool
from storage.question import answer
from storage.segment import BrokenSegment
from tests.fakenet.world import TRACK, World, track

RELAY = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
CATALOG = Catalog.load()


async def tell(conn: Connection, *sizes: int, source: str = RELAY) -> None:
    """Transactions with so many entries each."""
    for size in sizes:
        head = (await outbox.bounds(conn))[1]
        entries = [Entry(Kind.DOUBT, source, 1000 + head + n, Did("did:plc:a")) for n in range(size)]
        async with conn.transaction():
            await outbox.append(conn, entries)


async def seqs(conn: Connection, folder: Path) -> list[int]:
    files = [folder / one.path for one in await archive.segments(conn)]
    with segment.connect(threads=1) as db:
        text = "".join(answer(db, files, "select seq from event order by seq", shape="json", rows=0))
    return [json.loads(line)["seq"] for line in text.splitlines()]


async def test_every_entry_is_sealed_once_whatever_the_batches_were(conn: Connection, tmp_path: Path) -> None:
    await tell(conn, 3, 1, 7, 2)
    first = await archive.seal(conn, tmp_path, most=4)
    await tell(conn, 5)
    rest = await seal_all(conn, tmp_path, entries=6)
    assert first is not None
    assert [(s.first_seq, s.last_seq) for s in [first, *rest]] == [(1, 4), (5, 11), (12, 18)]
    assert await seqs(conn, tmp_path) == list(range(1, 19))
    assert await archive.seal(conn, tmp_path, most=4) is None


async def test_two_sealers_at_once_seal_everything_once(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    await tell(conn, *[5] * 20)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        await asyncio.gather(*(seal_all(one, tmp_path, entries=10) for one in (conn, other)))
    assert await seqs(conn, tmp_path) == list(range(1, 101))


async def test_a_crash_after_the_file_and_before_its_row_seals_again(
    conn: Connection, tmp_path: Path
) -> None:
    await tell(conn, 5)

    async def crash() -> None:
        async with conn.transaction():
            assert await archive.seal(conn, tmp_path, most=5) is not None
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await crash()
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert await archive.segments(conn) == []
    await tell(conn, 2)
    await seal_all(conn, tmp_path, entries=100)
    assert await seqs(conn, tmp_path) == list(range(1, 8))


async def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(
    conn: Connection, tmp_path: Path
) -> None:
    await tell(conn, 5)
    month = f"{datetime.now(UTC):%Y-%m}"
    (tmp_path / month / "000000000001-000000000005.parquet.part").mkdir(parents=True)
    with pytest.raises(BrokenSegment, match="cannot write"):
        await archive.seal(conn, tmp_path, most=5)
    assert await archive.segments(conn) == []
    assert (await archive.waiting(conn)).entries == 5


async def test_a_hole_in_the_manifest_is_told(conn: Connection, tmp_path: Path) -> None:
    await tell(conn, 2, 2)
    await seal_all(conn, tmp_path, entries=2)
    await conn.execute("delete from archive_segment where first_seq = 1")
    with pytest.raises(BrokenSegment, match="lacks seqs 1 to 2"):
        await archive.segments(conn)


@pytest.mark.parametrize(
    ("waiting", "due"),
    [
        (Waiting(0, 0), False),
        (Waiting(99, 3599), False),
        (Waiting(100, 0), True),
        (Waiting(1, 3600), True),
        (Waiting(0, 9999), False),
    ],
)
def test_sealing_is_due_when_much_waits_or_long(waiting: Waiting, due: bool) -> None:
    assert is_due(waiting, entries=100, age_s=3600) is due


async def test_the_outbox_keeps_what_is_young_and_what_is_not_sealed(
    conn: Connection, tmp_path: Path
) -> None:
    await tell(conn, 1, 1, 1)
    await conn.execute("update outbox set at = now() - interval '80 hours' where last_seq <> 2")
    await archive.seal(conn, tmp_path, most=2)
    assert await archive.prune(conn, hours=72) == 1  # 2 is young, 3 is not sealed
    assert (await outbox.bounds(conn))[0] == 2
    await seal_all(conn, tmp_path, entries=2)
    await conn.execute("update outbox set at = now() - interval '80 hours'")
    assert await archive.prune(conn, hours=72) == 2
    assert await seqs(conn, tmp_path) == [1, 2, 3]
    await tell(conn, 1)
    assert (await archive.waiting(conn)).entries == 1


async def test_the_archivist_seals_what_is_due_and_leaves_the_rest(
    database: str, conn: Connection, tmp_path: Path
) -> None:
    await tell(conn, *[10] * 5)
    async with make_pool(database, max_size=1, name="test") as pool:
        archivist = Archivist(pool=pool, folder=tmp_path, outbox_hours=72, seal_entries=20)
        assert [s.rows for s in await archivist.turn()] == [20, 20]
        assert await archivist.turn() == []
        await conn.execute("update outbox set at = now() - interval '2 hours'")
        assert [s.rows for s in await archivist.turn()] == [10]


async def test_the_dump_holds_what_the_appview_shows(conn: Connection, tmp_path: Path) -> None:
    world = World(4)
    identities = [author.identity for author in world.authors]
    batch = prepare(world.begin() + world.play(150), CATALOG)
    await apply_batch(conn, batch, catalog=CATALOG, source=RELAY, seq=None, identities=identities)
    await conn.execute("update profile set hidden = true where repo_id = 1")
    file = tmp_path / "dumps" / "plyr.parquet"
    own = CATALOG.collections.own
    count = await write(conn, CATALOG, file)
    shown = await (
        await conn.execute(
            "select did, collection, rkey, cid, record.rev from record join repo on repo.id = repo_id "
            "where cid is not null and invalid is null and repo_id <> 1 and collection = any(%s)",
            (sorted(own),),
        )
    ).fetchall()
    assert count == len(shown) > 20
    with segment.connect(threads=1) as db:
        rows = db.execute(
            """select did, collection, rkey, cid, rev, json ->> '$."$type"', epoch_us(indexed_at)
               from read_parquet($f)""",
            {"f": str(file)},
        ).fetchall()
    assert sorted(row[:5] for row in rows) == sorted(shown)
    assert all(row[5] == row[1] for row in rows)
    assert all(row[6] == tid_time_us(Rev(row[4])) for row in rows)
    assert [path.name for path in file.parent.iterdir()] == ["plyr.parquet"]


async def test_the_dump_is_written_when_the_last_is_old_enough_and_a_few_are_kept(
    database: str, conn: Connection, tmp_path: Path
) -> None:
    now = [1_783_175_888.0]  # 2026-07-04
    author = World(4).authors[0]
    made = prepare([author.create(TRACK, "3mpt222222222", track("One"))], CATALOG)
    async with make_pool(database, max_size=1, name="test") as pool:
        job = Dumper(
            pool=pool, catalog=CATALOG, folder=tmp_path, every_s=86_400, keep=2, clock=lambda: now[0]
        )

        async def night(hours: float) -> str | None:
            now[0] += hours * 3600
            file = await job.turn()
            if file is None:
                return None
            os.utime(file, (now[0], now[0]))
            return file.name

        assert await night(0) is None  # nothing is there
        await apply_batch(conn, made, catalog=CATALOG, source=RELAY, seq=None, identities=[author.identity])
        assert await night(0) == "plyr-2026-07-04.parquet"
        assert [await night(hours) for hours in (0, 23.9)] == [None, None]
        assert await night(0.2) == "plyr-2026-07-05.parquet"
        assert await night(24) == "plyr-2026-07-06.parquet"
    (tmp_path / "other.parquet").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other.parquet",
        "plyr-2026-07-05.parquet",
        "plyr-2026-07-06.parquet",
    ]


async def test_rewinding_to_a_time_finds_the_seq_in_the_archive(conn: Connection, tmp_path: Path) -> None:
    await tell(conn, 3)
    await conn.execute("update outbox set at = '2026-07-04T14:00Z'")
    await tell(conn, 2)
    await seal_all(conn, tmp_path, entries=100)
    source = parse_source(RELAY)
    assert await rewind.target(conn, tmp_path, source, "2026-07-04T14:00Z") == 1002
    assert await rewind.target(conn, tmp_path, source, "2026-07-04 15:30") == 1002
    assert await rewind.target(conn, tmp_path, source, "17") == 17
    jetstream = parse_source("jetstream+wss://jetstream.example")
    assert await rewind.target(conn, tmp_path, jetstream, "1970-01-01T00:00:02Z") == 2_000_000
    with pytest.raises(NotRewound, match="nothing from"):
        await rewind.target(conn, tmp_path, source, "2026-07-04T13:59Z")
    with pytest.raises(NotRewound, match="neither"):
        await rewind.target(conn, tmp_path, source, "yesterday")


async def test_a_cursor_goes_back_and_never_ahead(conn: Connection, database: str, tmp_path: Path) -> None:
    source = parse_source(RELAY)
    with pytest.raises(NotRewound, match="never read"):
        await rewind.put_back(conn, tmp_path, source, "5")
    await cursors.save(conn, RELAY, 900)
    with pytest.raises(NotRewound, match="ahead"):
        await rewind.put_back(conn, tmp_path, source, "901")
    assert await rewind.put_back(conn, tmp_path, source, "5") == (900, 5)
    assert await cursors.get(conn, RELAY) == 5
    async with make_pool(database, max_size=1, name=rewind.INGEST[0]) as pool:
        await pool.wait()
        with pytest.raises(NotRewound, match="stop it first"):
            await rewind.put_back(conn, tmp_path, source, "1")
