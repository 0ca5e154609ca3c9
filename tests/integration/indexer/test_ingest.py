"""From a relay's socket to committed rows: a real websocket server, a real directory, real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

import psycopg
import pytest

from firehose.events import Frame
from firehose.filter import Interest
from firehose.hosts import SyncHost
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from firehose.relay import SourceStatus, parse_source, stream
from indexer.inbox import Inbox
from indexer.ingest import Follower, Limits
from indexer.upkeep import Upkeep
from indexer.verifier import Received, Verifier
from storage import repos
from storage.postgres import Pool
from tests.fakenet.http import FakeWeb, Page, json_page
from tests.fakenet.relay import FakeRelay, Say
from tests.fakenet.repo import FakeRepo, edit_blocks, error_frame, frame
from tests.fakenet.tls import Authority
from tests.fakenet.world import POST, TRACK, comment, like, track
from tests.integration.indexer.network import CATALOG, QUICK, one, until

R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"


@dataclass
class Network:
    """A relay, and a web server that is the directory and every handle's host."""

    relay: FakeRelay
    web: FakeWeb
    accounts: dict[str, FakeRepo] = field(default_factory=dict[str, FakeRepo])
    seq: int = 0

    def account(self, seed: object, *, known: bool = True) -> FakeRepo:
        repo = FakeRepo(seed=seed)
        self.accounts[repo.did] = repo
        if known:
            self.publish_identity(repo)
        return repo

    def publish_identity(self, repo: FakeRepo) -> None:
        self.web.pages[f"{self.web.origin}/{repo.did}"] = json_page(repo.did_doc("https://pds.example.com"))
        url = f"{self.web.origin}/xrpc/com.atproto.identity.resolveHandle?handle={repo.handle}"
        self.web.pages[url] = json_page({"did": repo.did})

    def emit(self, kind: str, body: Mapping[str, Any]) -> bytes:
        self.seq += 1
        raw = frame(kind, body, self.seq)
        self.relay.emit(self.seq, raw)
        return raw

    def emit_raw(self, raw: bytes) -> None:
        self.seq += 1
        self.relay.emit(self.seq, raw)

    def write(self, repo: FakeRepo, action: str, collection: str, rkey: str, record: Any = None) -> bytes:
        return self.emit("#commit", repo.write([(action, collection, rkey, record)]))


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def network(authority: Authority) -> AsyncIterator[Network]:
    async with FakeRelay() as relay, FakeWeb(authority) as web:
        yield Network(relay, web)


@dataclass
class Running:
    follower: Follower
    upkeep: Upkeep
    status: SourceStatus


@asynccontextmanager
async def ingesting(
    network: Network, pool: Pool, *, rewind: int = 0, wait_s: float = 2.0, plc_url: str | None = None
) -> AsyncIterator[Running]:
    """What `plyr ingest` builds, with quick pauses; stopped at the end of the block."""
    async with GuardedClient(allow_loopback=True) as client:
        async with pool.connection() as conn:
            keys = await repos.tracked(conn)
        resolver = IdentityResolver(
            client,
            plc_url or network.web.origin,
            handle_resolvers=[network.web.origin],
            refresh_interval_s=0,
            negative_ttl_s=0,
            retry_s=0,
        )
        verifier = Verifier(resolver, keys)
        upkeep = Upkeep(
            pool=pool,
            catalog=CATALOG,
            resolver=resolver,
            verifier=verifier,
            host=lambda origin: SyncHost(client, origin),
        )
        source = parse_source(network.relay.url)
        status = SourceStatus(source.url)
        follower = Follower(
            source,
            pool=pool,
            catalog=CATALOG,
            interest=Interest(CATALOG.collections.own, set(keys)),
            verifier=verifier,
            status=status,
            start=0,
            limits=Limits(rewind=rewind, cursor_every_s=0.05, identity_wait_s=wait_s, alive_every_s=0.1),
            expired=upkeep.wake,
        )
        chunks = stream(source, follower.cursor, status=status, timing=QUICK)
        tasks = [asyncio.create_task(follower.run(chunks)), asyncio.create_task(upkeep.run())]
        try:
            yield Running(follower, upkeep, status)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await chunks.aclose()


async def committed(pool: Pool, network: Network) -> None:
    await until(lambda: one(pool, "select seq from source_cursor"), network.seq)


async def reasons(pool: Pool) -> dict[str, int]:
    async with pool.connection() as conn:
        return dict(
            await (await conn.execute("select reason, count(*) from rejected_event group by 1")).fetchall()
        )


async def test_a_frame_becomes_rows_and_the_cursor_moves_with_them(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, network)
        assert await one(pool, "select title from track") == "One"
        await until(lambda: one(pool, "select handle from repo"), ana.handle)


async def test_frames_of_others_move_the_cursor_alone(network: Network, pool: Pool) -> None:
    stranger = network.account("stranger")
    async with ingesting(network, pool):
        for n in range(50):
            network.write(stranger, "create", POST, f"p{n}", {"$type": POST, "text": "hi"})
        await committed(pool, network)
    assert await one(pool, "select count(*) from repo") == 0
    assert network.web.requests == []


async def test_a_commit_of_other_records_right_behind_the_first_of_ours_is_not_dropped(
    network: Network, pool: Pool
) -> None:
    ana = network.account("ana")
    network.write(ana, "create", TRACK, R1, track("One"))
    network.write(ana, "create", POST, "p1", {"$type": POST, "text": "hi"})
    network.write(ana, "create", TRACK, R2, track("Two"))
    async with ingesting(network, pool):
        await committed(pool, network)
    assert await one(pool, "select state from repo") == "active"


def test_a_part_of_the_inbox_moves_the_cursor_up_to_its_last_frame() -> None:
    inbox = Inbox(9, [Received(seq, b"", Frame("#commit", {})) for seq in (3, 5, 8)], seq=20)
    taken, _, seq = inbox.take(2)
    assert ([each.seq for each in taken], seq) == ([3, 5], 5)
    taken, _, seq = inbox.take(2)
    assert ([each.seq for each in taken], seq) == ([8], 20)


async def test_a_late_frame_leaves_the_cursor_where_the_one_before_it_was(
    network: Network, pool: Pool
) -> None:
    """Both come while the first is still waiting for its account's key."""
    ana = network.account("ana")
    document = json_page(ana.did_doc("https://pds.example.com"))
    network.web.pages[f"{network.web.origin}/{ana.did}"] = replace(document, delay_s=0.5)
    late = frame("#commit", ana.write([("create", POST, "p1", {"$type": POST, "text": "hi"})]), 8)
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        await until(lambda: asked(network, ana.did), 1)
        network.seq = 8
        network.write(ana, "create", TRACK, R2, track("Two"))
        network.relay.emit(8, late)
        await committed(pool, network)
        assert await one(pool, "select count(*) from track") == 2


async def asked(network: Network, did: str) -> int:
    return network.web.asked(did)


async def test_a_restart_goes_on_a_little_behind_the_cursor(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        for n in range(20):
            network.write(ana, "create", TRACK, f"3mpt2222222{n + 22}", track(f"Song {n}"))
        await committed(pool, network)
    async with ingesting(network, pool, rewind=5):
        network.write(ana, "create", POST, "p1", {"$type": POST, "text": "hi"})
        await committed(pool, network)
    assert [dial.cursor for dial in network.relay.dials] == [0, 15]


async def test_b06_a_rotated_key_is_asked_for_once_and_then_believed(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, network)
        # Whoever looks it up as new would be given the document of before, and the commit wait for its retry.
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
        ana.rotate_key("another")
        network.publish_identity(ana)
        network.write(ana, "create", TRACK, R2, track("Two"))
        await committed(pool, network)
        assert await one(pool, "select count(*) from track") == 2
        await until(lambda: one(pool, "select signing_key from repo"), ana.key.did_key)


async def test_b06_a_forged_signature_is_rejected_and_kept(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    forger = FakeRepo(did=ana.did, seed="forger")
    async with ingesting(network, pool):
        raw = network.write(forger, "create", TRACK, R1, track("Forged"))
        await committed(pool, network)
    assert await one(pool, "select count(*) from track") == 0
    assert await reasons(pool) == {"bad_signature": 1}
    assert await one(pool, "select raw from rejected_event") == raw


async def test_a_rejection_that_comes_again_is_one_row(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    network.write(FakeRepo(did=ana.did, seed="forger"), "create", TRACK, R1, track("Forged"))
    for _ in range(2):
        async with ingesting(network, pool, rewind=10):
            await until(lambda: reasons(pool), {"bad_signature": 1})
            network.write(ana, "create", POST, str(network.seq), {"$type": POST})
            await committed(pool, network)
    assert await one(pool, "select count(*) from rejected_event") == 1


async def test_a04_a_frame_that_cannot_be_read_is_kept_and_its_siblings_are_applied(
    network: Network, pool: Pool
) -> None:
    ana = network.account("ana")
    network.write(ana, "create", TRACK, R1, track("Before"))
    network.emit_raw(b"\xff\xff not a frame")
    network.emit_raw(frame("#commit", {"repo": [], "ops": {}}, 3))
    network.write(ana, "create", TRACK, R2, track("After"))
    async with ingesting(network, pool):
        await committed(pool, network)
    assert await one(pool, "select count(*) from track") == 2
    assert (await reasons(pool))["bad_frame"] == 1


async def test_t20_a_did_that_cannot_be_stored_stops_nobody(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    body = network.account("ben").write([("create", TRACK, R1, track("Nobody's"))])
    network.emit("#commit", body | {"repo": "did:plc:\0"})
    network.write(ana, "create", TRACK, R2, track("After"))
    async with ingesting(network, pool):
        await until(lambda: one(pool, "select count(*) from track"), 1)
    assert await one(pool, "select count(*) from rejected_event where did is null") == 1


async def test_a_directory_that_is_away_sets_the_event_aside_and_it_is_applied_later(
    network: Network, pool: Pool
) -> None:
    ana = network.account("ana", known=False)
    network.web.pages[f"{network.web.origin}/{ana.did}"] = Page(b"busy", 503)
    async with ingesting(network, pool) as running:
        network.write(ana, "create", TRACK, R1, track("Patience"))
        await until(lambda: reasons(pool), {"identity_unreachable": 1})
        assert await one(pool, "select next_attempt_at > now() from rejected_event") is True
        assert await one(pool, "select count(*) from track") == 0
        network.publish_identity(ana)
        async with pool.connection() as conn:
            await conn.execute("update rejected_event set next_attempt_at = now()")
        assert await running.upkeep.retries.once() == 1
    assert await one(pool, "select title from track") == "Patience"
    assert await reasons(pool) == {}


async def test_an_event_set_aside_that_postgres_then_refuses_waits_for_a_person(
    network: Network, pool: Pool
) -> None:
    ana = network.account("ana", known=False)
    network.web.pages[f"{network.web.origin}/{ana.did}"] = Page(b"busy", 503)
    async with ingesting(network, pool) as running:
        network.write(ana, "create", TRACK, R1, track("Far too long for this"))
        await until(lambda: reasons(pool), {"identity_unreachable": 1})
        network.publish_identity(ana)
        async with pool.connection() as conn:
            await conn.execute("alter table track alter title type varchar(10)")
            await conn.execute("update rejected_event set next_attempt_at = now()")
        assert await running.upkeep.retries.once() == 1
        assert await running.upkeep.retries.once() == 0
    assert await reasons(pool) == {"storage": 1}
    assert await one(pool, "select next_attempt_at is null from rejected_event") is True


async def test_t35_an_identity_that_never_answers_holds_up_nobody_else(network: Network, pool: Pool) -> None:
    slow, ana = network.account("slow"), network.account("ana")
    network.web.pages[f"{network.web.origin}/{slow.did}"] = Page(b"{}", delay_s=30)
    async with ingesting(network, pool, wait_s=0.2):
        network.write(slow, "create", TRACK, R1, track("Slow"))
        network.write(ana, "create", TRACK, R1, track("Quick"))
        await committed(pool, network)
    assert await one(pool, "select title from track") == "Quick"
    assert await reasons(pool) == {"identity_unreachable": 1}


async def test_t09_an_identity_event_without_a_handle_is_acted_on(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
        ana.handle = "renamed.test"
        network.publish_identity(ana)
        network.emit("#identity", ana.identity_body(None))
        await until(lambda: one(pool, "select handle from repo"), "renamed.test")
        assert "renamed.test" in await one(pool, "select card from profile")


async def test_t23_a_missing_block_rejects_the_commit_and_keeps_it(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        body = ana.write([("create", TRACK, R1, track("One")), ("create", TRACK, R2, track("Two"))])
        lost = body["ops"][1]["cid"]
        network.emit("#commit", edit_blocks(body, lambda blocks: blocks.pop(lost)))
        await committed(pool, network)
        assert await reasons(pool) == {"missing_block": 1}
        network.emit("#commit", body)
        await committed(pool, network)
    assert await one(pool, "select count(*) from track") == 2


async def test_t23_what_a_rejected_commit_had_besides_is_fetched(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, network)
        body = ana.write([("create", TRACK, R2, track("Two")), ("create", TRACK, R3, track("Three"))])
        lost = body["ops"][1]["cid"]
        network.emit("#commit", edit_blocks(body, lambda blocks: blocks.pop(lost)))
        await committed(pool, network)
    assert await one(pool, "select state from repo where resync_due is not null") == "desynchronized"


async def test_t22_a_commit_without_prev_data_is_kept_and_the_stream_goes_on(
    network: Network, pool: Pool
) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        legacy = ana.write([("create", TRACK, R2, track("Legacy"))])
        network.emit("#commit", {k: v for k, v in legacy.items() if k != "prevData"})
        network.write(ana, "create", TRACK, R3, track("Three"))
        await committed(pool, network)
    assert await reasons(pool) == {"not_inductive": 1}
    assert await one(pool, "select count(*) from track") == 2
    assert await one(pool, "select state from repo") == "desynchronized"


async def test_t24_another_relay_starts_with_a_cursor_of_its_own(
    network: Network, pool: Pool, authority: Authority
) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        for n in range(9):
            network.write(ana, "create", TRACK, f"3mpt22222222{n % 6 + 2}", track("x")) if n < 6 else None
        await committed(pool, network)
    async with FakeRelay() as another:
        moved = Network(another, network.web)
        async with ingesting(moved, pool):
            moved.write(network.account("ben"), "create", TRACK, R1, track("There"))
            await until(lambda: one(pool, "select count(*) from source_cursor"), 2)
        assert [dial.cursor for dial in another.dials] == [0]


async def test_a16_a_quiet_source_is_there_until_its_connection_ends(network: Network, pool: Pool) -> None:
    ana = network.account("ana")
    network.write(ana, "create", TRACK, R1, track("One"))
    async with ingesting(network, pool):
        await committed(pool, network)
        said = await one(pool, "select updated_at from source_cursor")
        await until(
            lambda: one(pool, "select updated_at > %s + interval '0.3 s' from source_cursor", said), True
        )
        assert await one(pool, "select seq from source_cursor") == network.seq
        await network.relay.stop()
        await asyncio.sleep(0.2)
        said = await one(pool, "select updated_at from source_cursor")
        await asyncio.sleep(0.4)
        assert await one(pool, "select updated_at from source_cursor") == said


async def test_a08_a_future_cursor_is_reported_and_never_reset(network: Network, pool: Pool) -> None:
    async with pool.connection() as conn:
        url = parse_source(network.relay.url).url
        await conn.execute("insert into source_cursor (url, seq) values (%s, 900)", (url,))
    network.relay.publish(1, 2, 3)
    async with ingesting(network, pool) as running:
        for _ in range(600):
            if len(network.relay.dials) >= 2:
                break
            await asyncio.sleep(0.05)
        assert "FutureCursor" in (running.status.last_error or "")
        assert "FutureCursor" in (running.follower.progress.notice or "")
    assert {dial.cursor for dial in network.relay.dials} == {900}
    assert await one(pool, "select seq from source_cursor") == 900


async def test_t24_a_host_that_starts_again_from_seq_1_is_reported_and_its_events_are_applied(
    network: Network, pool: Pool
) -> None:
    async with pool.connection() as conn:
        url = parse_source(network.relay.url).url
        await conn.execute("insert into source_cursor (url, seq) values (%s, 900)", (url,))
    ana = network.account("ana")
    fresh = frame("#commit", ana.write([("create", TRACK, R1, track("Fresh start"))]), 1)
    network.relay.publish(900)  # what its log now ends with, so that it doesn't call our cursor future
    network.relay.script.append(Say((fresh,), code=None))
    async with ingesting(network, pool) as running:
        await until(lambda: one(pool, "select title from track"), "Fresh start")
        assert "went back from seq 900 to 1" in (running.follower.progress.notice or "")
    assert await one(pool, "select seq from source_cursor") == 900


async def test_t25_a_consumer_that_was_too_slow_goes_on_from_where_it_is(
    network: Network, pool: Pool
) -> None:
    ana = network.account("ana")
    frames = [
        frame("#commit", ana.write([("create", TRACK, r, track("x"))]), n) for n, r in ((1, R1), (2, R2))
    ]
    network.relay.script.append(Say((*frames, error_frame("ConsumerTooSlow", "slow")), code=1008))
    network.relay.log.update({1: frames[0], 2: frames[1]})
    network.seq = 2
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R3, track("Three"))
        await committed(pool, network)
        await until(lambda: one(pool, "select count(*) from track"), 3)
    assert [dial.cursor for dial in network.relay.dials] == [0, 2]


async def test_t27_a_flood_is_taken_in_bounded_batches(network: Network, pool: Pool) -> None:
    authors = [network.account(f"author {n}") for n in range(4)]
    for n in range(1500):
        author = authors[n % 4]
        subject = f"at://{authors[(n + 1) % 4].did}/{TRACK}/{R1}"
        record = like(subject) if n % 3 else comment(subject, str(n), n)
        network.write(
            author,
            "create",
            record["$type"],
            f"3mpt{n:09d}".replace("0", "a").replace("1", "b").replace("8", "c").replace("9", "d"),
            record,
        )
    async with ingesting(network, pool) as running:
        await until(lambda: one(pool, "select seq from source_cursor"), network.seq, 30)
        assert running.follower.progress.matched == 1500
    assert await reasons(pool) == {}
    assert await one(pool, "select count(*) from record where invalid is null") == 1500


async def test_a_database_that_goes_away_is_waited_for(network: Network, pool: Pool, database: str) -> None:
    ana = network.account("ana")
    async with ingesting(network, pool):
        network.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, network)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as admin:
            cut = await (
                await admin.execute(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
            ).fetchone()
        assert cut is not None
        assert cut[0] > 0
        network.write(ana, "create", TRACK, R2, track("Two"))
        await committed(pool, network)
    assert await one(pool, "select count(*) from track") == 2


@pytest.mark.parametrize(
    "limit",
    [
        "alter table track alter title type varchar(10)",
        "alter table track add check (length(title) < 10)",
        """create function refuse() returns trigger language plpgsql as
           $$ begin raise 'index row too large' using errcode = 'program_limit_exceeded'; end $$;
           create trigger refuse before insert on track
           for each row when (length(new.title) > 10) execute function refuse()""",
    ],
)
async def test_t20_an_event_that_postgres_refuses_is_rejected_alone(
    network: Network, pool: Pool, limit: LiteralString
) -> None:
    """A value that passes every check of ours, yet not one of the database."""
    async with pool.connection() as conn:
        await conn.execute(limit)
    ana, ben = network.account("ana"), network.account("ben")
    network.write(ana, "create", TRACK, R1, track("Far too long for this"))
    network.write(ben, "create", TRACK, R1, track("Short"))
    async with ingesting(network, pool):
        await committed(pool, network)
    assert await one(pool, "select title from track") == "Short"
    assert await reasons(pool) == {"storage": 1}


async def test_t20_what_postgres_refuses_of_one_account_hides_no_doubt_about_another(
    network: Network, pool: Pool
) -> None:
    async with pool.connection() as conn:
        await conn.execute("alter table track add check (length(title) < 10)")
    ana, ben = network.account("ana"), network.account("ben")
    network.write(ana, "create", TRACK, R1, track("Far too long for this"))
    body = ben.write([("create", TRACK, R1, track("Short"))])
    network.emit("#commit", edit_blocks(body, lambda blocks: blocks.pop(body["ops"][0]["cid"])))
    async with ingesting(network, pool):
        await committed(pool, network)
    assert await reasons(pool) == {"storage": 1, "missing_block": 1}
    assert (
        await one(pool, "select count(*) from repo where did = %s and resync_due is not null", ben.did) == 1
    )
