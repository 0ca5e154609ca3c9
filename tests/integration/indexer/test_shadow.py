"""The archive replayed gives the same tables; a row that was changed by hand is found, and named."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from indexer.apply import apply_batch
from indexer.archivist import seal_all
from indexer.prepare import prepare
from indexer.shadow import Replayed, replay
from lexicons.catalog import Catalog
from storage import archive, plays, shadow
from storage.plays import Listener
from storage.postgres import Connection
from storage.queries import load
from storage.segment import BrokenSegment
from tests.fakenet.tables import dump
from tests.fakenet.world import World

SOURCE = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
CATALOG = Catalog.load()


async def live(conn: Connection, world: World, count: int, *, disorder: bool = False) -> None:
    """Let the world's accounts do so many things, and index them in batches of any size."""
    rng = random.Random(count)
    events = world.begin() + world.play(count)
    if disorder:
        events = events + rng.sample(events, count // 3)
        rng.shuffle(events)
    while events:
        size = rng.choice((1, 5, 30))
        part, events = events[:size], events[size:]
        identities = [author.identity for author in world.authors]
        await apply_batch(
            conn, prepare(part, CATALOG), catalog=CATALOG, source=SOURCE, seq=None, identities=identities
        )


async def replayed(database: str, folder: Path, *, promote: bool = False) -> Replayed:
    return await replay(database, folder, "fm.plyr", promote=promote, workers=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("disorder", [False, True])
async def test_a_replay_of_the_archive_gives_the_same_tables(
    conn: Connection, database: str, tmp_path: Path, seed: int, disorder: bool
) -> None:
    await live(conn, World(seed), 200, disorder=disorder)
    await seal_all(conn, tmp_path, entries=100)
    assert len(await archive.segments(conn)) > 1
    answer = await replayed(database, tmp_path)
    assert answer.differences == []
    assert answer.records > 50


async def test_what_is_not_sealed_yet_is_read_from_the_outbox(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    world = World(7)
    await live(conn, world, 60)
    await archive.seal(conn, tmp_path, most=50)
    assert (await archive.waiting(conn)).entries > 0
    assert (await replayed(database, tmp_path)).differences == []


CHANGES = [
    ("update track set title = 'Another' where id = (select min(id) from track)", "track", "title"),
    (
        "update record set block = '\\x00' where ctid = (select min(ctid) from record where cid is not null)",
        "record",
        "block",
    ),
    (
        "update track_stat set likes = likes + 1 where id = (select min(id) from track_stat where likes > 0)",
        "track_stat",
        "likes",
    ),
    ("update track set rest = rest || ' ' where id = (select min(id) from track)", "track", "rest"),
    ("update track set features = '{did:web:x}' where id = (select min(id) from track)", "track", "features"),
    ("update profile set hidden = true where repo_id = 2", "profile", "hidden"),
    ("update repo set data = 'bafy' where id = 1", "repo", "data"),
    ("update comment set card = card || ' ' where ctid = (select min(ctid) from comment)", "comment", "card"),
    ('update "like" set sort_at = now() where ctid = (select min(ctid) from "like")', "like", "sort_at"),
    ("update track_uri set uri = 'at://x' where id = 1", "track_uri", None),
    ("delete from track where id = (select min(id) from track)", "track", None),
    (
        "update list_item set position = position + 9 where list_id = (select min(list_id) from list_item)",
        "list",
        "tracks",
    ),
]


@pytest.mark.parametrize(("change", "table", "column"), CHANGES)
async def test_a_row_changed_by_hand_is_found_and_named(
    conn: Connection, database: str, tmp_path: Path, change: str, table: str, column: str | None
) -> None:
    await live(conn, World(3), 150)
    assert (await replayed(database, tmp_path)).differences == []
    changed = (await conn.execute(change)).rowcount  # type: ignore[arg-type]
    assert changed > 0
    found = {one.table: one for one in (await replayed(database, tmp_path)).differences}
    assert table in found
    one = found[table]
    assert one.missing + one.wrong == 1
    assert any("did:" in example.key for example in one.examples)
    if column is not None:
        assert list(one.examples[0].columns) == [column]


async def test_promoting_mends_what_was_changed_and_loses_nothing_else(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    world = World(5)
    await live(conn, world, 150)
    before = await dump(conn)
    numbers = await (await conn.execute(SHOWN)).fetchall()
    indexes = await (await conn.execute(INDEXES)).fetchall()
    await conn.execute("update track set title = 'Another'")
    await conn.execute('delete from "like"')
    assert (await replayed(database, tmp_path, promote=True)).differences
    assert await dump(conn) == before
    assert await (await conn.execute(SHOWN)).fetchall() == numbers
    assert await (await conn.execute(INDEXES)).fetchall() == indexes
    # Life goes on in the new tables, with new numbers.
    await live(conn, World(6), 100)
    assert (await replayed(database, tmp_path)).differences == []


async def test_promoting_keeps_what_no_record_says(conn: Connection, database: str, tmp_path: Path) -> None:
    await live(conn, World(5), 150)
    row = await (await conn.execute("select min(id) from track")).fetchone()
    assert row is not None
    track = row[0]
    for number in range(3):
        assert await plays.record(conn, track, [Listener(bytes([number]))]) is not None
    await plays.roll_up(conn)
    await conn.execute("update track_stat set tags = '{noise}' where id = %s", (track,))
    assert (await replayed(database, tmp_path, promote=True)).differences == []
    kept = await (await conn.execute("select tags from track_stat where id = %s", (track,))).fetchone()
    assert kept == (["noise"],)
    counted = await plays.record(conn, track, [Listener(b"4")])
    assert counted is not None
    assert counted.plays == 4
    assert await plays.miscounted(conn) == []


INDEXES = """
select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'public'
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'public'::regnamespace
union all
select 'table', relname, relpersistence::text, reloptions::text from pg_class
where relnamespace = 'public'::regnamespace and relkind = 'r'
union all
select 'column', table_name, column_name, concat(data_type, column_default, is_nullable, identity_generation)
from information_schema.columns where table_schema = 'public'
order by 1, 2, 3
"""


async def test_an_empty_database_is_filled_from_its_outbox(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    await live(conn, World(8), 120)
    before = await dump(conn)
    await conn.execute(
        'truncate repo, record, track_uri, track_stat, track, "like", comment, list, list_item, profile'
    )
    await replayed(database, tmp_path, promote=True)
    assert await dump(conn) == before


async def test_a_segment_that_was_changed_is_refused(conn: Connection, database: str, tmp_path: Path) -> None:
    await live(conn, World(9), 30)
    (sealed,) = await seal_all(conn, tmp_path, entries=10_000)
    file = tmp_path / sealed.path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BrokenSegment, match="sha-256"):
        await replayed(database, tmp_path)
    file.unlink()
    with pytest.raises(BrokenSegment, match="missing"):
        await replayed(database, tmp_path)


async def test_writers_go_on_during_a_verification(conn: Connection, database: str, tmp_path: Path) -> None:
    """What is committed after the snapshot is no difference."""
    world = World(10)
    await live(conn, world, 100)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        pending: list[asyncio.Task[None]] = []

        def progress(text: str) -> None:
            if text == "folding":
                pending.append(asyncio.create_task(live(other, World(11), 40)))

        answer = await replay(database, tmp_path, "fm.plyr", workers=1, progress=progress)
        await asyncio.gather(*pending)
    assert pending
    assert answer.differences == []
    assert (await replayed(database, tmp_path)).differences == []


@pytest.mark.parametrize("seed", range(20, 24))
async def test_whoever_indexes_while_tables_are_replaced_waits_and_loses_nothing(
    conn: Connection, database: str, tmp_path: Path, seed: int
) -> None:
    await live(conn, World(seed), 60)
    writing, replaced = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        """As ingest does: one connection, whose statements were prepared before the tables changed. It goes
        on until they have, and a while longer."""
        world = World(seed + 100)
        events = world.begin() + world.play(150)
        identities = [author.identity for author in world.authors]
        async with await psycopg.AsyncConnection.connect(
            database, autocommit=True, prepare_threshold=0
        ) as other:
            for n, event in enumerate(events):
                if n == len(events) - 30:
                    await replaced.wait()
                batch = prepare([event], CATALOG)
                await apply_batch(
                    other, batch, catalog=CATALOG, source=SOURCE, seq=None, identities=identities
                )
                if n == 10:
                    writing.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        await writing.wait()
        await replayed(database, tmp_path, promote=True)
        replaced.set()
    assert (await replayed(database, tmp_path)).differences == []
    assert await one(conn, "select count(*) from repo") == 2 * len(World(seed).authors)


async def one(conn: Connection, query: LiteralString) -> object:
    row = await (await conn.execute(query)).fetchone()
    return row and row[0]


async def test_a_lost_database_comes_back_from_its_files(
    conn: Connection, database: str, another_database: str, tmp_path: Path
) -> None:
    await live(conn, World(12), 150)
    await seal_all(conn, tmp_path, entries=100)
    async with await psycopg.AsyncConnection.connect(another_database, autocommit=True) as other:
        assert await archive.adopt(other, tmp_path) == await archive.segments(conn)
        await replayed(another_database, tmp_path, promote=True)
        assert await dump(other) == await dump(conn)
        assert (
            await (await other.execute(NUMBERS)).fetchall() == await (await conn.execute(NUMBERS)).fetchall()
        )
        # Life goes on there, and what happens next is sealed behind what was adopted.
        await live(other, World(13), 50)
        await seal_all(other, tmp_path, entries=100)
        assert (await replayed(another_database, tmp_path)).differences == []
    # The old database has missed that, and may not go its own way meanwhile.
    await live(conn, World(14), 10)
    with pytest.raises(BrokenSegment, match="by itself"):
        await archive.adopt(conn, tmp_path)


async def test_every_column_is_compared_or_said_to_be_left_out(conn: Connection) -> None:
    for table in (*shadow.COMPARED, "list_item"):
        columns = await (await conn.execute(COLUMNS, (table,))).fetchall()
        facts = load("shadow")["facts_list" if table == "list_item" else f"facts_{table}"]
        for (column,) in columns:
            compared = column in KEYS or re.search(rf"\b{column}\b", facts) is not None
            assert compared or column in LEFT_OUT.get(table, ""), f"{table}.{column}"


async def test_what_is_not_compared_stays_when_tables_are_replaced(
    conn: Connection, database: str, tmp_path: Path
) -> None:
    await live(conn, World(15), 60)
    await conn.execute(LEAVE)
    before = await (await conn.execute("select to_jsonb(repo) from repo order by id")).fetchall()
    await replayed(database, tmp_path, promote=True)
    assert await (await conn.execute("select to_jsonb(repo) from repo order by id")).fetchall() == before


SHOWN = "select 'list', id, rkey from list union all select 'comment', id, rkey from comment order by 1, 2"
NUMBERS = "select did, rkey, list.id from list join repo on repo.id = repo_id order by 1, 2"
KEYS = ("did", "uri", "rkey", "collection", "repo_id", "track_id", "list_id", "position", "source", "digest")
LEFT_OUT = {
    "repo": "first_seen_at last_seen_at identity_at identity_due identity_tries checked_at account_source "
    "account_seq account_claim account_due account_tries resync_due resync_tries resync_error",
    "rejected_event": "id seq reason detail attempts next_attempt_at rejected_at",
    "track_stat": "plays tags",
    "list": "id",
    "record": "number",
    "comment": "id",
    "forgotten": "at",
}
LEAVE = """
update repo set identity_tries = 1, identity_due = now() + '1 h', checked_at = now(), account_tries = 2,
    account_seq = 5, account_claim = 'deleted', account_due = now(), account_source = 'x', resync_due = null,
    resync_tries = 3, resync_error = 'why', first_seen_at = now() - interval '9 h'
"""


COLUMNS = (
    "select column_name from information_schema.columns where table_schema = 'public' and table_name = %s"
)
