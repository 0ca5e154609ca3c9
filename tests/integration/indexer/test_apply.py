"""Any permutation, duplication or split of the same events ends in the same tables."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Sequence

import msgspec
import psycopg
import pytest

from firehose.events import Event
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.replay import rebuild_projections
from indexer.standing import show
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import outbox, repos
from storage.outbox import Kind
from storage.postgres import Connection
from storage.rejected import Rejection
from tests.fakenet.tables import dump
from tests.fakenet.world import (
    BSKY,
    COMMENT,
    LIKE,
    LIST,
    POST,
    PROFILE,
    TRACK,
    WHEN,
    Author,
    World,
    album,
    bsky_profile,
    comment,
    like,
    track,
)

SOURCE = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
CATALOG = Catalog.load()
R1, R2 = "3mpt222222222", "3mpt222222333"


async def apply(conn: Connection, authors: Iterable[Author], *events: Event, seq: int | None = None) -> None:
    await apply_batch(
        conn,
        prepare(events, CATALOG),
        catalog=CATALOG,
        source=SOURCE,
        seq=seq,
        identities=[a.identity for a in authors],
    )


async def stand(conn: Connection, did: Did, *, active: bool) -> None:
    """What comes of asking an account's PDS."""
    async with conn.transaction():
        await conn.execute("update repo set active = %s where did = %s", [active, did])
        await show(conn, (await repos.lock(conn, [did]))[did], active=active, taken_down=None)


async def one(conn: Connection, query: str, *params: object) -> object:
    row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
    return None if row is None else row[0]


async def count_of(conn: Connection, uri: str) -> tuple[int, int]:
    row = await (
        await conn.execute(
            "select likes, comments from track_stat join track_uri using (id) where uri = %s", (uri,)
        )
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def batches(events: Sequence[Event], rng: random.Random) -> list[Sequence[Event]]:
    parts: list[Sequence[Event]] = []
    start = 0
    while start < len(events):
        size = rng.choice((1, 2, 5, 30, 200))
        parts.append(events[start : start + size])
        start += size
    return parts


async def index(conn: Connection, world: World, events: Sequence[Event], rng: random.Random) -> None:
    for part in batches(events, rng):
        await apply(conn, world.authors, *part)


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_and_duplication_ends_in_the_same_tables(
    conn: Connection, second: Connection, seed: int
) -> None:
    world, rng = World(seed), random.Random(seed)
    first, events = world.begin(), world.play(250)
    for database in (conn, second):
        await index(database, world, first, rng)
    await index(conn, world, events, rng)
    shuffled = events + rng.sample(events, 120)
    rng.shuffle(shuffled)
    await index(second, world, shuffled, rng)
    assert await dump(second) == await dump(conn)


@pytest.mark.parametrize("seed", range(100, 104))
async def test_tables_equal_the_world(conn: Connection, seed: int) -> None:
    world, rng = World(seed), random.Random(seed)
    await index(conn, world, world.begin() + world.play(400), rng)
    for did in world.hidden:
        await stand(conn, did, active=False)
    tables = await dump(conn)
    live = {f"at://{did}/{c}/{rkey}" for did, c, rkey, _, cid, *_ in tables["record"] if cid is not None}
    assert live == {uri for uri in world.records if uri.split("/")[3] != POST}
    assert {uri for uri, *_ in tables["track"]} == {u for u, r in world.live(TRACK).items() if r["title"]}
    assert {u: (likes, comments) for u, likes, comments, _ in tables["track_stat"]} == world.counts()
    assert {row[0] for row in tables["profile"] if row[1]} == world.hidden
    assert len(tables["like"]) == len(world.live(LIKE))
    assert len(tables["list"]) == len(world.live(LIST))


@pytest.mark.parametrize("seed", range(200, 203))
async def test_rebuild_of_what_was_indexed_live_finds_no_difference(conn: Connection, seed: int) -> None:
    world, rng = World(seed), random.Random(seed)
    await index(conn, world, world.play(300), rng)
    before = await dump(conn)
    rebuilt = await rebuild_projections(conn, CATALOG)
    assert rebuilt.differences == []
    assert rebuilt.records > 20
    assert await dump(conn) == before


async def test_rebuild_names_and_mends_what_was_changed_by_hand(conn: Connection) -> None:
    world = World(300)
    await index(conn, world, world.play(300), random.Random(0))
    before = await dump(conn)
    await conn.execute("update track set title = 'forged' where id = (select min(id) from track)")
    await conn.execute('delete from "like" where ctid = (select min(ctid) from "like")')
    await conn.execute("update track_stat set likes = likes + 7 where id = (select min(id) from track_stat)")
    await conn.execute("update profile set bio = 'forged' where repo_id = (select min(id) from repo)")
    await conn.execute("delete from list_item where ctid = (select min(ctid) from list_item)")
    checked = await rebuild_projections(conn, CATALOG, mend=False)
    assert {d.table for d in checked.differences} == {"track", "like", "track_stat", "profile", "list"}
    assert await dump(conn) != before
    by_table = {d.table: d for d in (await rebuild_projections(conn, CATALOG)).differences}
    assert (by_table["like"].missing, by_table["like"].extra, by_table["like"].wrong) == (1, 0, 0)
    assert (by_table["track"].wrong, len(by_table["track"].examples)) == (1, 1)
    assert await dump(conn) == before
    assert (await rebuild_projections(conn, CATALOG)).differences == []


async def test_rebuild_judges_records_anew(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("Good")), ana.create(TRACK, R2, track("")))
    before = await dump(conn)
    await conn.execute("update record set invalid = 'by an older lexicon' where rkey = %s", (R1,))
    await conn.execute("update record set invalid = null where rkey = %s", (R2,))
    await conn.execute("delete from track")
    rebuilt = await rebuild_projections(conn, CATALOG)
    assert {d.table: d.wrong + d.missing for d in rebuilt.differences} == {"record": 2, "track": 1}
    assert await dump(conn) == before


async def test_replayed_rev_changes_nothing(conn: Connection) -> None:
    ana = Author("ana")
    first, second = ana.create(TRACK, R1, track("One")), ana.update(TRACK, R1, track("Two"))
    await apply(conn, [ana], first, second)
    before = await dump(conn)
    await apply(conn, [ana], first)
    await apply(conn, [ana], second, first)
    assert await dump(conn) == before


async def test_like_before_its_track_counts_when_the_track_comes(conn: Connection) -> None:
    ana, ben = Author("ana"), Author("ben")
    uri = ana.uri(TRACK, R1)
    await apply(conn, [ben], ben.create(LIKE, R1, like(uri)), ben.create(COMMENT, R1, comment(uri)))
    assert await one(conn, "select count(*) from track") == 0
    await apply(conn, [ana], ana.create(TRACK, R1, track("Late")))
    assert await one(conn, "select title from track join track_stat s using (id) where likes = 1") == "Late"
    assert await count_of(conn, uri) == (1, 1)


async def test_two_likes_of_one_account_count_once_and_until_the_last_goes(conn: Connection) -> None:
    ana = Author("ana")
    uri = ana.uri(TRACK, R1)
    await apply(conn, [ana], ana.create(LIKE, R1, like(uri)), ana.create(LIKE, R2, like(uri)))
    assert await count_of(conn, uri) == (1, 0)
    await apply(conn, [ana], ana.delete(LIKE, R1))
    assert await count_of(conn, uri) == (1, 0)
    await apply(conn, [ana], ana.delete(LIKE, R2))
    assert await count_of(conn, uri) == (0, 0)


async def test_update_replaces_the_whole_record(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One", album="First", x=1)))
    await apply(conn, [ana], ana.update(TRACK, R1, track("Two")))
    card = await one(conn, "select card from track")
    assert isinstance(card, str)
    assert ("Two" in card, "First" in card, '"x"' in card) == (True, False, False)


async def test_update_to_an_invalid_record_hides_the_old_version(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("Good")))
    await apply(conn, [ana], ana.update(TRACK, R1, track("")))
    assert await one(conn, "select count(*) from track") == 0
    assert "title" in str(await one(conn, "select invalid from record"))
    await apply(conn, [ana], ana.update(TRACK, R1, track("Good again")))
    assert await one(conn, "select title from track") == "Good again"
    assert await one(conn, "select invalid from record") is None


async def test_deleting_a_track_keeps_the_likes_of_others_as_records(conn: Connection) -> None:
    ana, ben = Author("ana"), Author("ben")
    uri = ana.uri(TRACK, R1)
    await apply(conn, [ana, ben], ana.create(TRACK, R1, track("One")), ben.create(LIKE, R1, like(uri)))
    await apply(conn, [ana], ana.delete(TRACK, R1))
    assert await one(conn, "select count(*) from track") == 0
    assert await one(conn, "select count(*) from record where cid is not null") == 1
    await apply(conn, [ana], ana.create(TRACK, R1, track("Back")))
    assert await count_of(conn, uri) == (1, 0)


async def test_a_comment_that_moves_to_another_track_is_counted_there(conn: Connection) -> None:
    ana = Author("ana")
    here, there = ana.uri(TRACK, R1), ana.uri(TRACK, R2)
    await apply(conn, [ana], ana.create(COMMENT, R1, comment(here)))
    await apply(conn, [ana], ana.update(COMMENT, R1, comment(there)))
    assert (await count_of(conn, here), await count_of(conn, there)) == ((0, 0), (0, 1))


async def test_likes_of_other_things_are_kept_and_counted_nowhere(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(LIKE, R1, like(f"at://{ana.did}/app.bsky.feed.post/{R1}")))
    assert await one(conn, "select count(*) from record") == 1
    assert await one(conn, 'select count(*) from "like"') == 0
    await apply(conn, [ana], ana.delete(LIKE, R1))
    assert await one(conn, "select count(*) from record where cid is null") == 1


async def test_a_list_keeps_its_order_duplicates_and_id(conn: Connection) -> None:
    ana = Author("ana")
    uris = [ana.uri(TRACK, R2), ana.uri(TRACK, R1), ana.uri(TRACK, R2)]
    await apply(conn, [ana], ana.create(LIST, R1, album("A", uris)))
    id = await one(conn, "select id from list")
    await apply(conn, [ana], ana.update(LIST, R1, album("B", uris[::-1][:2])))
    rows = await (
        await conn.execute(
            "select position, uri from list_item join track_uri s on s.id = track_id order by 1"
        )
    ).fetchall()
    assert rows == [(0, uris[2]), (1, uris[1])]
    assert await one(conn, "select id from list where name = 'B'") == id


async def test_looks_come_from_our_profile_and_else_from_bluesky(conn: Connection) -> None:
    ana = Author("ana")
    own = {"$type": PROFILE, "avatar": "https://img.example/a.png", "createdAt": WHEN}
    await apply(
        conn, [ana], ana.create(PROFILE, "self", own), ana.create(BSKY, "self", bsky_profile("Ana Ríos"))
    )
    query = "select display_name, avatar, search::text from profile"
    assert await (await conn.execute(query)).fetchone() == ("Ana Ríos", own["avatar"], "'ana':1 'rios':2")
    await apply(conn, [ana], ana.delete(PROFILE, "self"), ana.update(BSKY, "self", bsky_profile("Ana R.")))
    assert await one(conn, "select display_name from profile where avatar is null") == "Ana R."


async def test_the_account_is_hidden_and_shown_with_all_that_it_counted(conn: Connection) -> None:
    ana, ben = Author("ana"), Author("ben")
    uri = ana.uri(TRACK, R1)
    await apply(
        conn,
        [ana, ben],
        ana.create(TRACK, R1, track("One")),
        ben.create(LIKE, R1, like(uri)),
        ben.create(COMMENT, R1, comment(uri)),
    )
    await stand(conn, ben.did, active=False)
    assert await count_of(conn, uri) == (0, 0)
    await apply(conn, [], ben.create(LIKE, R2, like(uri)), ben.create(COMMENT, R2, comment(uri)))
    assert await count_of(conn, uri) == (0, 0)
    await stand(conn, ben.did, active=True)
    assert await count_of(conn, uri) == (1, 2)


async def test_a_word_about_an_account_hides_nothing_by_itself(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")))
    assert await one(conn, "select account_due from repo") is None
    await apply(conn, [], ana.account(15, active=False, status="deleted"))
    assert await one(conn, "select hidden from profile") is False
    assert await one(conn, "select account_due <= now() from repo") is True


async def test_the_cursor_moves_with_the_effects_and_never_back(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")), seq=7)
    await apply(conn, [], seq=5)
    assert await one(conn, "select seq from source_cursor where url = %s", SOURCE) == 7


async def test_a_batch_that_fails_leaves_nothing_and_the_cursor_where_it_was(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")), seq=7)
    before = await dump(conn)
    await conn.execute("alter table track add check (length(title) < 10)")
    with pytest.raises(psycopg.errors.CheckViolation):
        await apply(conn, [ana], ana.create(TRACK, R2, track("Far too long for this")), seq=8)
    assert await dump(conn) == before
    assert await one(conn, "select seq from source_cursor where url = %s", SOURCE) == 7
    assert await one(conn, "select count(*) from outbox") == 1


async def test_the_outbox_is_told_once_and_of_everything_that_happened(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")), ana.update(TRACK, R1, track("")))
    (batch,) = await outbox.after(conn, 0, rows=9)
    kinds = [entry.kind for entry in batch.entries]
    assert kinds == [Kind.REPO, Kind.NAME, Kind.COMMIT, Kind.RECORD, Kind.COMMIT, Kind.RECORD]
    told = [(e.action, e.verdict) for e in batch.entries if e.kind is Kind.RECORD]
    assert told == [("create", "valid"), ("update", "invalid")]
    assert await one(conn, "select rev from record") == batch.entries[-1].rev


async def test_a_commit_that_comes_twice_in_a_batch_is_told_once(conn: Connection) -> None:
    ana = Author("ana")
    commit = ana.create(TRACK, R1, track("One"))
    await apply(conn, [ana], commit, copy.copy(commit))
    (batch,) = await outbox.after(conn, 0, rows=9)
    assert [e.kind for e in batch.entries] == [Kind.REPO, Kind.NAME, Kind.COMMIT, Kind.RECORD]


async def test_the_outbox_is_told_of_what_is_set_aside(conn: Connection) -> None:
    refused = Rejection(SOURCE, 7, None, "bad_frame", "odd", b"raw", None)
    await apply_batch(conn, prepare([], CATALOG), catalog=CATALOG, source=SOURCE, seq=7, rejections=[refused])
    ((entry,),) = [batch.entries for batch in await outbox.after(conn, 0, rows=9)]
    assert (entry.kind, entry.source_seq, entry.verdict, entry.reason) == (
        Kind.REJECTED,
        7,
        "bad_frame",
        "odd",
    )
    assert entry.block == b"raw"


async def test_an_account_without_a_record_of_ours_is_not_tracked(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(POST, R1, {"$type": POST, "text": "hi"}))
    assert await one(conn, "select count(*) from repo") == 0


async def test_b14_a_commit_without_our_records_advances_the_chain(conn: Connection) -> None:
    ana = Author("ana")
    events = [
        ana.create(TRACK, R1, track("One")),
        ana.create(POST, R1, {"$type": POST, "text": "hi"}),
        ana.create(TRACK, R2, track("Two")),
    ]
    await apply(conn, [ana], *events)
    assert await one(conn, "select state from repo") == "active"
    assert await one(conn, "select rev from repo") == events[-1].rev


async def test_a_gap_desynchronizes_and_still_applies_what_was_proven(conn: Connection) -> None:
    ana = Author("ana")
    first, _lost, third = (
        ana.create(TRACK, R1, track("One")),
        ana.delete(TRACK, R1),
        ana.create(TRACK, R2, track("3")),
    )
    await apply(conn, [ana], first, third)
    assert await one(conn, "select state from repo") == "desynchronized"
    assert await one(conn, "select count(*) from track") == 2
    await apply(conn, [ana], _lost)
    assert await one(conn, "select state from repo") == "active"
    assert await one(conn, "select title from track") == "3"


async def test_a_commit_lost_between_two_of_a_batch_is_missed(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")))
    second = ana.create(TRACK, R2, track("Two"))
    ana.delete(TRACK, R1)
    await apply(conn, [ana], second, ana.create(POST, R1, {"$type": POST, "text": "hi"}))
    assert await one(conn, "select state from repo") == "desynchronized"


async def test_a_commit_upon_other_data_than_ours_is_a_gap(conn: Connection) -> None:
    ana = Author("ana")
    first, second = ana.create(TRACK, R1, track("One")), ana.create(TRACK, R2, track("Two"))
    await apply(conn, [ana], first)
    await apply(conn, [ana], msgspec.structs.replace(second, prev_data=second.data))
    assert await one(conn, "select state from repo") == "desynchronized"
    assert await one(conn, "select count(*) from track") == 2


async def test_t12_history_emitted_again_is_not_taken_for_current(conn: Connection) -> None:
    ana = Author("ana")
    old = ana.create(TRACK, R1, track("Old", audioUrl="https://audio.example/old.mp3"))
    new = ana.update(TRACK, R1, track("New", audioUrl="https://audio.example/new.mp3"))
    await apply(conn, [ana], old, new)
    await apply(conn, [], old)
    assert "new.mp3" in str(await one(conn, "select card from track"))


async def test_t13_created_and_deleted_within_a_rewind_leaves_no_ghost(conn: Connection) -> None:
    ana = Author("ana")
    created, deleted = ana.create(TRACK, R1, track("Ghost")), ana.delete(TRACK, R1)
    await apply(conn, [ana], created, deleted)
    await apply(conn, [], created)
    await apply(conn, [], deleted)
    await apply(conn, [], created)
    assert await one(conn, "select count(*) from track") == 0


async def test_t14_a_late_echo_does_not_resurrect_a_like(conn: Connection) -> None:
    ana = Author("ana")
    uri = ana.uri(TRACK, R2)
    liked, unliked = ana.create(LIKE, R1, like(uri)), ana.delete(LIKE, R1)
    await apply(conn, [ana], unliked)
    await apply(conn, [], liked)
    assert await count_of(conn, uri) == (0, 0)


async def test_t15_a_record_created_again_under_its_old_rkey_is_there(conn: Connection) -> None:
    ana = Author("ana")
    events = [ana.create(TRACK, R1, track("A")), ana.delete(TRACK, R1), ana.create(TRACK, R1, track("B"))]
    await apply(conn, [ana], *events)
    assert await one(conn, "select title from track") == "B"
    await apply(conn, [], events[1])
    assert await one(conn, "select title from track") == "B"


async def test_t20_values_that_postgres_refuses_are_stored_all_the_same(conn: Connection) -> None:
    ana = Author("ana")
    nul = track("No\0thing", artist="\0", album="\0", createdAt="0000-01-01T00:00:00Z")
    words = comment(ana.uri(TRACK, R1), "a\0b", at_ms=2**62)
    await apply(
        conn,
        [ana],
        ana.create(TRACK, R1, nul),
        ana.create(COMMENT, R1, words),
        ana.create(LIST, R1, album("\0", [])),
        ana.create(BSKY, "self", bsky_profile("\0")),
        ana.create(TRACK, R2, track("Sibling")),
    )
    assert await one(conn, "select count(*) from track") == 2
    assert await one(conn, "select title from track where rkey = %s", R1) == "No\ufffdthing"
    assert await one(conn, "select sort_at = indexed_at from track where rkey = %s", R1) is True
    assert await one(conn, "select timestamp_ms from comment") == 2**62
    assert "\\u0000" in str(await one(conn, "select card from comment"))


async def test_t20_a_subject_too_long_for_an_index_is_kept_and_counted_nowhere(conn: Connection) -> None:
    ana = Author("ana")
    far = f"at://did:web:{'a.' * 1000}example/{TRACK}/{R1}"
    await apply(
        conn,
        [ana],
        ana.create(LIKE, R1, like(far)),
        ana.create(LIST, R1, album("A", [far, ana.uri(TRACK, R2)])),
    )
    assert await one(conn, "select count(*) from record where invalid is null") == 2
    assert await one(conn, 'select count(*) from "like"') == 0
    assert await one(conn, "select array_agg(position) from list_item") == [1]


async def test_a_date_in_the_future_never_sorts_first(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("Soon", createdAt="9999-01-01T00:00:00Z")))
    assert await one(conn, "select sort_at = indexed_at from track") is True
