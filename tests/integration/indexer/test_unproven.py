"""Records that nobody signed come in, say so, and give way: one event from two sources has one effect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bin.ingest import JETSTREAM_REWIND_US, PATIENCE_S, limits_of
from firehose.events import Commit, Event, Unproven
from firehose.filter import Interest
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from firehose.relay import SourceStatus, parse_source
from indexer.apply import apply_batch
from indexer.ingest import Follower, Limits
from indexer.prepare import prepare
from indexer.verifier import Verifier
from lexicons.catalog import Catalog
from storage import outbox, repos
from storage.outbox import Entry, Kind
from storage.postgres import Connection, Pool
from tests.fakenet.jetstream import FakeJetstream, identity, messages_of
from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import START_US, FakeRepo, frame
from tests.fakenet.tables import dump
from tests.fakenet.world import POST, TRACK, Author, World, like, track

CATALOG = Catalog.load()
RELAY, JETSTREAM = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos", "wss://jet.example/subscribe"
R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"


def hearsay(commit: Commit) -> list[Unproven]:
    """The same commit as a source without proofs tells of it."""
    return [Unproven(commit.seq, commit.did, commit.rev, commit.time, op) for op in commit.ops]


async def apply(conn: Connection, authors: Sequence[Author], *events: Event, source: str = RELAY) -> None:
    await apply_batch(
        conn,
        prepare(events, CATALOG),
        catalog=CATALOG,
        source=source,
        seq=None,
        identities=[author.identity for author in authors],
    )


async def one(conn: Connection, query: str, *params: object) -> Any:
    row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
    return None if row is None else row[0]


async def entries(conn: Connection) -> list[Entry]:
    return [entry for batch in await outbox.after(conn, 0, rows=1000) for entry in batch.entries]


@pytest.mark.parametrize("seed", range(6))
async def test_the_same_events_from_two_sources_in_any_order_have_one_effect(
    conn: Connection, second: Connection, seed: int
) -> None:
    world, rng = World(seed), random.Random(seed)
    events = [e for e in (*world.begin(), *world.play(150)) if isinstance(e, Commit)]
    for event in events:
        await apply(conn, world.authors, event)
    told: list[Event] = [*events, *(said for event in events for said in hearsay(event))]
    told += rng.sample(told, 60)
    rng.shuffle(told)
    while told:
        size = rng.choice((1, 3, 20))
        part, told = told[:size], told[size:]
        proven = [event for event in part if isinstance(event, Commit)]
        await apply(second, world.authors, *proven)
        await apply(second, world.authors, *(e for e in part if e not in proven), source=JETSTREAM)
    assert await dump(second) == await dump(conn)


async def test_an_unproven_record_is_shown_says_so_and_makes_its_repo_due(conn: Connection) -> None:
    ana = Author("ana")
    commit = ana.create(TRACK, R1, track("One"))
    await apply(conn, [ana], *hearsay(commit), source=JETSTREAM)
    assert await one(conn, "select verified from record") is False
    assert '"verified":false' in await one(conn, "select card from track")
    assert await one(conn, "select state from repo where resync_due is not null") == "pending"
    (record,) = [e for e in await entries(conn) if e.kind is Kind.RECORD]
    assert (record.verdict, record.source, record.cid) == ("unverified", JETSTREAM, commit.ops[0].cid)


async def test_an_unproven_record_makes_a_repo_due_that_was_in_step(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")))
    assert await one(conn, "select state from repo") == "active"
    await apply(conn, [ana], *hearsay(ana.create(TRACK, R2, track("Two"))), source=JETSTREAM)
    assert await one(conn, "select state from repo where resync_due is not null") == "desynchronized"


async def test_a_later_proof_makes_it_verified_and_counts_nothing_twice(
    conn: Connection,
) -> None:
    ana, bob = Author("ana"), Author("bob")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")))
    commit = bob.create("fm.plyr.like", R2, like(ana.uri(TRACK, R1)))
    await apply(conn, [ana, bob], *hearsay(commit), source=JETSTREAM)
    assert await one(conn, "select max(likes) from track_stat") == 1
    await apply(conn, [ana, bob], commit)
    assert await one(conn, "select max(likes) from track_stat") == 1
    assert await one(conn, "select bool_and(verified) from record") is True
    said = [(e.verdict, e.source) for e in await entries(conn) if e.rkey == R2]
    assert said == [("unverified", JETSTREAM), ("valid", RELAY)]
    before = await entries(conn)
    await apply(conn, [ana, bob], *hearsay(commit), source=JETSTREAM)
    await apply(conn, [ana, bob], commit)
    assert await entries(conn) == before


async def test_a_lie_about_the_same_rev_gives_way_to_what_was_signed(conn: Connection) -> None:
    ana, liar = Author("ana"), Author("liar")
    truth = ana.create(TRACK, R1, track("True"))
    lie = liar.create(TRACK, R1, track("False"))
    false = Unproven(1, truth.did, truth.rev, truth.time, lie.ops[0])
    await apply(conn, [ana], false, source=JETSTREAM)
    assert await one(conn, "select title from track") == "False"
    await apply(conn, [ana], truth)
    assert await one(conn, "select title from track") == "True"
    assert '"verified":true' in await one(conn, "select card from track")
    await apply(conn, [ana], false, source=JETSTREAM)
    assert await one(conn, "select title from track") == "True"


async def test_what_was_proven_already_is_not_doubted(conn: Connection) -> None:
    ana = Author("ana")
    commits = [ana.create(TRACK, R1, track("One")), ana.create(TRACK, R2, track("Two"))]
    await apply(conn, [ana], *commits)
    assert await one(conn, "select state from repo") == "active"
    for commit in commits:
        await apply(conn, [ana], *hearsay(commit), source=JETSTREAM)
    assert await one(conn, "select state from repo") == "active"
    assert await one(conn, "select bool_and(verified) from record") is True


async def test_hearsay_about_other_apps_moves_nothing(conn: Connection) -> None:
    ana = Author("ana")
    await apply(conn, [ana], ana.create(TRACK, R1, track("One")))
    post = ana.create(POST, R2, {"$type": POST, "text": "hello", "createdAt": "2026-07-04T14:00:00Z"})
    before = await entries(conn)
    await apply(conn, [ana], *hearsay(post), source=JETSTREAM)
    assert await one(conn, "select state from repo") == "active"
    assert await entries(conn) == before


# -- from the sockets


@dataclass
class Running:
    jetstream: FakeJetstream
    relay: FakeRelay
    followers: list[Follower]


@asynccontextmanager
async def ingesting(pool: Pool, *, start: int | None = 0) -> AsyncIterator[Running]:
    """A relay and a Jetstream, both followed into one database."""
    async with (
        FakeJetstream() as jetstream,
        FakeRelay() as relay,
        GuardedClient(allow_loopback=True) as client,
    ):
        async with pool.connection() as conn:
            keys = await repos.tracked(conn)
        verifier = Verifier(IdentityResolver(client, "http://127.0.0.1:9"), keys)
        interest = Interest(CATALOG.collections.own, set(keys))
        followers = [
            Follower(
                source,
                pool=pool,
                catalog=CATALOG,
                interest=interest,
                verifier=verifier,
                status=SourceStatus(source.url),
                start=start,
                limits=Limits(rewind=0, cursor_every_s=0.05),
            )
            for source in (parse_source(jetstream.url), parse_source(relay.url))
        ]
        tasks = [asyncio.create_task(follower.run()) for follower in followers]
        try:
            yield Running(jetstream, relay, followers)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def known(pool: Pool, repo: FakeRepo) -> None:
    """The account is tracked, with its key."""
    async with pool.connection() as conn:
        await repos.track(conn, [repos.NewRepo(Author("").did, None, None)])
        await conn.execute("update repo set did = %s, signing_key = %s", (repo.did, repo.key.did_key))


async def until(pool: Pool, query: str, wanted: Any) -> None:
    seen: Any = None
    for _ in range(1500):
        async with pool.connection() as conn:
            seen = await one(conn, query)
        if seen == wanted:
            return
        await asyncio.sleep(0.02)
    assert seen == wanted


async def test_one_commit_over_both_sockets_ends_verified_and_once(pool: Pool) -> None:
    ana = FakeRepo(seed="ana")
    await known(pool, ana)
    body = ana.write([("create", TRACK, R1, track("One"))])
    async with ingesting(pool) as running:
        running.jetstream.tell(messages_of(body, START_US))
        await until(pool, "select verified from record", False)
        running.relay.emit(1, frame("#commit", body, 1))
        await until(pool, "select verified from record", True)
        running.jetstream.tell(messages_of(body, START_US + 1))
        await until(pool, "select seq from source_cursor where url like '%%/subscribe'", START_US + 1)
    async with pool.connection() as conn:
        assert await one(conn, "select count(*) from track") == 1
        assert [e.verdict for e in await entries(conn) if e.kind is Kind.RECORD] == ["unverified", "valid"]


async def test_a_record_that_is_not_what_its_cid_names_is_kept_with_its_reason(pool: Pool) -> None:
    ana = FakeRepo(seed="ana")
    await known(pool, ana)
    good = ana.write([("create", TRACK, R1, track("One"))])
    bad = messages_of(ana.write([("create", TRACK, R2, track("Two"))]), START_US)
    bad[0]["commit"]["record"]["title"] = "another"
    async with ingesting(pool) as running:
        running.jetstream.tell(bad)
        running.jetstream.tell(messages_of(good, START_US + 1))
        await until(pool, "select count(*) from record", 1)
        await until(pool, "select reason from rejected_event", "mismatch")
    async with pool.connection() as conn:
        assert b'"another"' in await one(conn, "select raw from rejected_event")
        assert await one(conn, "select did from rejected_event") == ana.did


async def test_a_jetstream_that_forgot_a_day_has_every_repo_checked(pool: Pool) -> None:
    ana = FakeRepo(seed="ana")
    await known(pool, ana)
    async with ingesting(pool) as running:
        running.jetstream.tell([identity(ana.did, START_US)])
        await until(pool, "select max(seq) from source_cursor", START_US)
        running.jetstream.log.clear()
        running.jetstream.tell([])
        running.jetstream.log.append(identity(ana.did, START_US + 86_400_000_000))
        assert running.jetstream.cut() == 1
        await until(pool, "select max(seq) from source_cursor", START_US + 86_400_000_000)
    async with pool.connection() as conn:
        assert await one(conn, "select count(*) from reconcile_run where finished_at is null") == 2


def test_a_jetstream_waits_for_sources_with_proofs_where_there_are_any() -> None:
    jet, relay = parse_source("jetstream+wss://jet.example"), parse_source("wss://relay.example")
    assert limits_of(jet, [jet, relay], 7) == Limits(rewind=JETSTREAM_REWIND_US, patience_s=PATIENCE_S)
    assert limits_of(jet, [jet], 7).patience_s == 0
    assert limits_of(relay, [jet, relay], 7) == Limits(rewind=7)
