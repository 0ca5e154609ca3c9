"""An account that asks to be forgotten: what is counted, what is tried again, and that no crash stops it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from structlog.testing import capture_logs

from appview.auth.credentials import CredentialStore
from appview.auth.deletion import PATIENCE, Deletions
from appview.auth.keyring import KeyFile, KeyRing
from appview.pds import Pds
from indexer.archivist import seal_all
from indexer.deletion import MOVES, IllegalMove, Step, Wiper, first, move, wait_s
from indexer.shadow import replay
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import deletions as rows
from storage import forgotten, sessions, turns
from storage.postgres import Pool, make_pool
from storage.sessions import Kind, NewSession
from tests.acceptance.stops import Stop, stops_in
from tests.conftest import ROOT
from tests.fakenet.world import TRACK
from tests.integration.appview.auth.forgetting import NAME, HomeClient, HomeServer
from tests.integration.appview.auth.signing import House, bearer, detail, housed
from tests.integration.appview.listener import listening
from tests.integration.appview.service import served
from tests.integration.farewell import TITLES, Story
from tests.integration.mentions import in_files, in_tables

OURS = [f"{TRACK}/3mpt2222{n:05d}" for n in range(120)] + ["fm.plyr.actor.profile/self"]


@dataclass
class Home:
    """Ana's account here, with sessions; her PDS; and everything that deletes it, on `pool`."""

    dsn: str
    pool: Pool
    server: HomeServer
    store: CredentialStore
    pds: Pds
    story: Story
    keys: Path
    folder: Path

    def deletions(self, patience: timedelta = PATIENCE) -> Deletions:
        own = Catalog.load().collections.own
        return Deletions(self.pool, self.pds, self.store, own, patience=patience, settle_s=0)

    async def session(self, kind: Kind = Kind.BROWSER, *, key: bytes | None = None) -> int:
        did = self.story.ana.did
        async with self.pool.connection() as conn:
            new = NewSession(
                kind=kind,
                did=did,
                handle="ana.example",
                scope="atproto",
                issuer=self.server.url,
                credentials=self.store.sealed(self.server.credentials(did)),
                life_s=3600,
                token_hash=key,
            )
            return await sessions.add(conn, new)

    async def finish(self, deletions: Deletions) -> None:
        """Everything that is due, again and again as long as something is done."""
        wiper = Wiper(self.pool, archive=self.story.archive, dumps=self.story.dumps)
        while await deletions.duty.once() + await wiper.duty.once():
            pass

    async def fact(self, statement: str, *params: object) -> Any:
        async with self.pool.connection() as conn:
            row = await (await conn.execute(statement.encode(), params)).fetchone()
            return None if row is None else row[0]

    async def time_passes(self) -> None:
        """Leases run out, and waits are over."""
        async with self.pool.connection() as conn:
            await conn.execute("update account_deletion set due = now() where due is not null")
            await conn.execute("update session set lease_until = now() where lease_until is not null")


@pytest.fixture
async def home(database: str, tmp_path: Path) -> AsyncIterator[Home]:
    keys = tmp_path / "encryption.keys"
    async with (
        HomeServer() as server,
        make_pool(database, max_size=4, name="test") as pool,
        aiohttp.ClientSession() as http,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
    ):
        client = HomeClient(http)
        async with CredentialStore(pool, KeyRing(KeyFile(keys)), client) as store:
            story = Story(conn, tmp_path)
            server.records = list(OURS)
            yield Home(database, pool, server, store, Pds(store, client), story, keys, tmp_path)


# -- the way


def test_a_deletion_goes_one_way() -> None:
    assert first(remove_records=True) is Step.RECORDS
    way = [first(remove_records=False)]
    while following := MOVES[way[-1]]:
        way.append(move(way[-1], *following))
    assert way == [Step.ACCESS, Step.ERASE, Step.FILES, Step.DONE]
    for before in Step:
        for after in set(Step) - MOVES[before]:
            with pytest.raises(IllegalMove):
                move(before, after)
    waits = [wait_s(n) for n in range(40)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (5, 3600)


# -- killed at every step


async def _run(home: Home) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.appview.auth.forgetting",
        home.dsn,
        str(home.keys),
        str(home.story.archive),
        str(home.story.dumps),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _until(check: Any, process: asyncio.subprocess.Process | None = None) -> None:
    async with asyncio.timeout(60):
        while not await check():
            if process is not None and process.returncode is not None:
                _, said = await process.communicate()
                raise AssertionError(f"it ended before: {said.decode()[-2000:]}")
            await asyncio.sleep(0.05)


async def _kill(home: Home, process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    assert process.returncode == -signal.SIGKILL


@asynccontextmanager
async def _killed_behind(home: Home, lock: str) -> AsyncIterator[None]:
    """The program runs until it waits for what `lock` holds, and is killed there."""
    async with await psycopg.AsyncConnection.connect(home.dsn) as holder:
        await holder.execute(lock.encode())
        process = await _run(home)
        waits = (
            "select count(*) from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"
        )

        async def blocked() -> bool:
            return await home.fact(waits, NAME) > 0

        await _until(blocked, process)
        yield
        await _kill(home, process)
        await holder.rollback()

    async def gone() -> bool:
        there = "select count(*) from pg_stat_activity where application_name = %s"
        return await home.fact(there, NAME) == 0

    await _until(gone)


async def _killed_while(home: Home, word: str) -> None:
    """The same, while its request stands still at the server."""
    home.server.stall = word
    home.server.arrived.clear()
    process = await _run(home)

    async def arrived() -> bool:
        return home.server.arrived.is_set()

    await _until(arrived, process)
    await _kill(home, process)
    home.server.stall = None


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_deletion_that_is_killed_at_each_step_is_finished(home: Home, catalog: Catalog) -> None:
    story, did = home.story, home.story.ana.did
    await story.play(popular=False)
    key = b"k" * 32
    session = await home.session(key=key)
    await home.session(Kind.TOKEN)
    id = await home.deletions().ask(did, session, remove_records=True)
    assert await home.fact("select array_agg(event) from audit_event where did = %s", did) == [
        "deletion_requested"
    ]

    async def step() -> str:
        return await home.fact("select step from account_deletion where id = %s", id)

    async with served(home.dsn, catalog) as server:  # out of sight at once
        assert (await server.ask("feed.getLatest"))["tracks"][0]["record"]["title"] == "Ben's"
        assert await server.refused("actor.getProfile", {"actor": did}) == (400, "ActorNotFound")

    await _killed_while(home, "before writes")
    assert (await step(), len(home.server.records)) == ("records", len(OURS))
    await _killed_while(home, "after writes")
    assert (await step(), len(home.server.records)) == ("records", len(OURS) - 50)
    async with _killed_behind(home, "lock table session in share mode"):
        assert (await step(), home.server.records) == ("access", [])
    await _killed_while(home, "revoke")
    async with _killed_behind(home, "lock table oauth_flow in share mode"):
        assert (await step(), len(home.server.revoked)) == ("access", 2)
    async with _killed_behind(home, "lock table record in share mode"):
        assert (await step(), await home.fact("select count(*) from session")) == ("erase", 0)
    async with _killed_behind(home, "lock table outbox in share mode"):  # and all of that is undone
        assert (await step(), await home.fact("select count(*) from record")) == ("erase", 7)
    async with _killed_behind(home, "select from outbox for update"):
        assert (await step(), await home.fact("select count(*) from record")) == ("files", 1)
    async with _killed_behind(home, "select from archive_segment for update"):
        assert await step() == "files"
        assert list(story.archive.glob("*/*.2.parquet"))  # written, and not in the manifest yet
    async with _killed_behind(home, "select pg_advisory_xact_lock_shared(hashtextextended('plyr dumps', 0))"):
        assert await step() == "files"
    process = await _run(home)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()[-2000:]

    counts = await home.fact("select counts from account_deletion where id = %s", id)
    assert counts == {
        "tracks": 1, "albums": 1, "likes": 1, "comments": 1, "r2_objects": 0,
        "atproto_found": len(OURS), "atproto_records": len(OURS),
    }  # fmt: skip
    noted = "select array_agg((event, did, detail ->> 'deletion')::text) from audit_event"
    assert await home.fact(noted) == [f"(account_deleted,,{id})"]
    await nothing_mentions(home, catalog)


@pytest.mark.parametrize(
    "writing",
    [
        "insert into job (kind, did, state) values ('upload', %s, 'running')",
        "insert into write_turn (did, what, held_until) values (%s, 'like 1', now() + interval '1 h')",
        "insert into comment_claim values (%s, '3mpt222222222', 1, now() + interval '1 h')",
    ],
)
async def test_records_are_listed_only_once_nothing_more_is_written(home: Home, writing: str) -> None:
    await home.story.play(popular=False)
    did, deletions = home.story.ana.did, home.deletions()
    async with home.pool.connection() as conn:
        await conn.execute(writing.encode(), [did])
    id = await deletions.ask(did, await home.session(), remove_records=True)
    await home.finish(deletions)
    assert await home.fact("select step from account_deletion where id = %s", id) == "records"
    assert home.server.records == OURS
    # A job is told to end, and nobody may write for her any more.
    assert not await home.fact("select exists (select from job where cancel_asked_at is null)")
    async with home.pool.connection() as conn:
        assert await sessions.grants(conn, did, None) == []
        await conn.execute("update job set updated_at = now() - interval '6 minutes'")  # its worker died
        await conn.execute("update write_turn set held_until = now()")
        await conn.execute("update comment_claim set held_until = now()")
    await home.time_passes()
    await home.finish(deletions)
    assert home.server.records == []
    assert await home.fact("select step from account_deletion where id = %s", id) == "done"


async def test_a_turn_whose_process_died_is_not_waited_for(home: Home) -> None:
    did, deletions = home.story.ana.did, home.deletions()
    async with await psycopg.AsyncConnection.connect(home.dsn, autocommit=True) as conn:
        assert await turns.take(conn, did, "like 1", None, lease_s=3600)
        assert await is_writing(home, did)
    id = await deletions.ask(did, await home.session(), remove_records=True)
    await home.finish(deletions)
    assert home.server.records == []
    assert await home.fact("select step from account_deletion where id = %s", id) == "done"


async def is_writing(home: Home, did: Did) -> bool:
    async with home.pool.connection() as conn:
        return await rows.is_writing(conn, did)


async def nothing_mentions(home: Home, catalog: Catalog) -> None:
    """No table, file, route or message does, but the one that tells followers."""
    story, did = home.story, home.story.ana.did
    texts = [did, *TITLES, f"refresh-{did}"]
    assert [row.split(":")[0] for row in in_tables(home.dsn, texts)] == ["outbox"]
    assert in_files(home.folder, texts) == []
    assert (await replay(home.dsn, story.archive, "fm.plyr", workers=1)).differences == []
    async with served(home.dsn, catalog) as server:
        head = await home.fact("select seq from outbox_head")
        told: list[Any] = []
        async with listening(server.url, catalog, cursor=0, format="json") as listener:
            while not told or told[-1]["seq"] < head:
                told.append(await listener.next())
        about = [message for message in told if did in str(message) or any(t in str(message) for t in TITLES)]
        assert [(m["$type"], m["did"], m["active"], m["status"]) for m in about] == [
            ("account", did, False, "deleted")
        ]
        for actor in (did, "ana.example"):
            assert (await server.refused("actor.getProfile", {"actor": actor}))[0] == 400
            assert (await server.refused("feed.getActorTracks", {"actor": actor}))[0] == 400
        assert (await server.refused("sync.getRepoState", {"did": did}))[0] == 400
        answers = [
            await server.ask("feed.getLatest"),
            await server.ask("feed.getTop"),
            await server.ask("feed.searchTracks", {"q": "Unforgettable"}),
            await server.ask("actor.searchActors", {"q": "ana"}),
            await server.ask("actor.getProfile", {"actor": story.ben.did}),
            await server.ask("feed.getComments", {"uri": story.ben.uri(TRACK, "3mpt222222222")}),
            await server.ask("feed.getLikes", {"uri": story.ben.uri(TRACK, "3mpt222222222")}),
            await server.ask("server.getStats"),
            await server.ask("server.describe"),
            (await server.request("GET", "/")).body.decode(),
            (await server.request("GET", "/metrics")).body.decode(),
        ]
        assert [text for text in texts if text in str(answers)] == []
    # What is sealed later does not bring it back.
    await seal_all(story.conn, story.archive, entries=10)
    assert in_files(home.folder, texts) == []


# -- what does not work out at once


async def test_a_pds_that_fails_is_asked_again(home: Home, catalog: Catalog) -> None:
    await home.story.play(popular=False)
    deletions = home.deletions()
    home.server.status = 503
    id = await deletions.ask(home.story.ana.did, await home.session(), remove_records=True)
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    assert (outcome.step, outcome.error) == ("records", "the PDS says 503 Elsewhere")
    assert await home.fact("select due > now() + interval '3 seconds' from account_deletion")
    home.server.status = 200
    await home.time_passes()
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    assert (outcome.step, outcome.counts["atproto_records"], outcome.warnings) == ("done", len(OURS), [])
    await nothing_mentions(home, catalog)


async def test_a_pds_cannot_fill_our_memory_with_what_it_lists(home: Home) -> None:
    """A page has as many records as were asked for, however long it is."""
    deletions = home.deletions()
    home.server.page = 101
    home.server.records = [f"{TRACK}/{n}" for n in range(101)]
    id = await deletions.ask(home.story.ana.did, await home.session(), remove_records=True)
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    assert (outcome.step, outcome.error) == ("records", "the PDS lists more records than it was asked for")


async def test_who_cannot_be_reached_for_a_day_holds_nobody(home: Home) -> None:
    await home.story.play(popular=False)
    deletions = home.deletions(patience=timedelta(0))
    home.server.status = 503
    id = await deletions.ask(home.story.ana.did, await home.session(), remove_records=True)
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    assert (outcome.step, outcome.counts["atproto_records"]) == ("done", 0)
    assert outcome.warnings == ["your records on your PDS were not all removed: the PDS says 503 Elsewhere"]
    assert home.server.records == OURS


@pytest.mark.parametrize("status", [401, 403])
async def test_a_grant_that_does_not_allow_it_ends_the_removal(home: Home, status: int) -> None:
    deletions = home.deletions()
    home.server.status = status
    id = await deletions.ask(home.story.ana.did, await home.session(), remove_records=True)
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    assert outcome.step == "done"
    assert [warning.rpartition(": ")[2] for warning in outcome.warnings] == [
        f"the PDS says {status} Elsewhere"
    ]


async def test_files_that_cannot_be_written_are_tried_again(home: Home) -> None:
    await home.story.play(popular=False)
    deletions = home.deletions()
    id = await deletions.ask(home.story.ana.did, await home.session(), remove_records=False)
    file = next(home.story.archive.glob("*/*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    assert (outcome.step, file.name in str(outcome.error)) == ("files", True)
    file.write_bytes(whole)
    await home.time_passes()
    await home.finish(deletions)
    assert (await deletions.outcome(id, within_s=0)).step == "done"
    assert in_files(home.folder, TITLES) == []


async def test_records_stay_unless_asked_for_and_orphans_are_told(home: Home) -> None:
    await home.story.play(popular=True)
    deletions = home.deletions()
    id = await deletions.ask(home.story.ana.did, await home.session(), remove_records=False)
    await home.finish(deletions)
    outcome = await deletions.outcome(id, within_s=0)
    told = "other people's records still point at your tracks: 1 like, 2 comments, 1 list"
    assert outcome.warnings == [told]
    assert (outcome.counts["atproto_records"], home.server.records) == (0, OURS)


@pytest.mark.once
async def test_two_processes_do_not_do_it_twice(home: Home) -> None:
    await home.story.play(popular=False)
    both = [home.deletions(), home.deletions()]
    session = await home.session()
    ids = [await each.ask(home.story.ana.did, session, remove_records=True) for each in both]
    assert ids[0] == ids[1]
    await asyncio.gather(*(home.finish(each) for each in both))
    assert home.server.batches == 3
    assert await home.fact("select count(*) from account_deletion where finished_at is not null") == 1


async def test_who_signs_in_meanwhile_stays_signed_in_and_begins_anew(home: Home) -> None:
    await home.story.play(popular=False)
    deletions, did = home.deletions(), home.story.ana.did
    await deletions.ask(did, await home.session(), remove_records=False)
    later = await home.session(key=b"l" * 32)
    await home.finish(deletions)
    assert await home.fact("select array_agg(id) from session") == [later]
    assert await home.fact("select count(*) from repo where did = %s", did) == 1
    async with home.pool.connection() as conn:
        assert not await forgotten.has(conn, did)
    assert in_files(home.story.archive, [did, *TITLES]) == []


def test_whoever_adds_a_table_about_accounts_says_who_empties_it(database: str) -> None:
    """A deletion must not forget a table that came later."""
    erased = {"repo", "record", "track", "track_tag", "like", "comment", "list", "profile", "commit_proof"}
    erased |= {"decision", "rejected_event", "session", "oauth_flow", "exchange_token", "used_token"}
    erased |= {"audit_event", "account_deletion", "track_uri", "track_stat", "list_item", "staged_upload"}
    erased |= {"copyright_scan", "foreign_label", "sensitive_image"}
    wiped = {"outbox", "archive_segment", "forgotten"}
    nobodys = {"source_cursor", "outbox_head", "discovery", "reconcile_run", "pulse", "client_key"}
    nobodys |= {
        "far_sound",
        "foreign_labeler",
        "link_check",
        "schema_migration",
        "play_day",
        "play_rollup",
        "play_salt",
        "play_segment",
    }
    private = {"job", "mirror", "play", "play_claim", "track_media", "track_revision", "blob_owner"}
    private |= {"preference", "queue", "now_playing", "write_turn", "comment_claim", "list_look"}
    collected = {
        "blob",
        "sound",
        "image_drawn",
        "image_rendition",
        "sound_rendition",
        "fingerprint",
    }  # once nobody owns them
    # What was judged, by whom and of whom, is not undone by leaving: docs/operations.md says why.
    kept = {"moderation_case", "moderation_event", "moderation_notice", "label", "label_head", "label_key"}
    with psycopg.connect(database) as conn:
        tables = conn.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert {name for (name,) in tables} == erased | private | collected | wiped | nobodys | kept


# -- over HTTP


@pytest.fixture
async def house(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[House]:
    async with housed(database, tmp_path / "keys", catalog, frontend_url="https://front.test") as house:
        yield house


async def test_what_breaks_is_told_at_once_and_deletions_go_on(house: House, database: str) -> None:
    ann = await house.person()
    await ann.sign_in("ann")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        with capture_logs() as logs:
            await conn.execute("alter table account_deletion rename to away")
            async with asyncio.timeout(60):
                while not logs:
                    await asyncio.sleep(0.01)
            await conn.execute("alter table away rename to account_deletion")
    assert {(each["event"], each["loop"]) for each in logs} == {("a loop broke, it begins anew", "deletions")}
    answer = await ann.ask("DELETE", "/account/", json={"confirmation": "ann.test"})
    assert (answer.status, answer.json["finished"]) == (200, True)


async def test_a_person_deletes_their_account(house: House, database: str) -> None:
    ann, ann_elsewhere, bob = [await house.person() for _ in range(3)]
    await ann.sign_in("ann")
    await ann_elsewhere.sign_in("ann")
    await bob.sign_in("bob")
    wrong = await ann.ask("DELETE", "/account/", json={"confirmation": "bob.test"})
    assert detail(wrong) == (400, "confirmation must match your handle: ann.test")
    assert (await ann.ask("DELETE", "/account/", json={})).status == 422
    nobody = await house.person()
    refused = await nobody.ask("DELETE", "/account/", json={"confirmation": "ann.test"})
    assert detail(refused)[0] == 401
    moved = await ann.ask("DELETE", "/account", json={"confirmation": "ann.test"})
    assert (moved.status, moved.headers["Location"]) == (307, "/account/")
    assert (await ann.me())["handle"] == "ann.test"

    answer = await ann.ask("DELETE", "/account/", json={"confirmation": "Ann.test"})
    assert answer.status == 200, answer.body
    assert answer.json == {
        "deleted": {
            "tracks": 0, "albums": 0, "likes": 0, "comments": 0, "r2_objects": 0, "atproto_records": 0,
        },
        "finished": True,
        "warnings": [],
    }  # fmt: skip
    assert "session_id" not in ann.cookies()
    assert (await ann_elsewhere.ask("GET", "/auth/me")).status == 401
    assert (await bob.me())["handle"] == "bob.test"
    did = house.village.dids["ann"]
    assert sorted(house.village.revoked) == [did, did]
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from session where did = %s", (did,)).fetchone() == (0,)
        assert conn.execute("select count(*) from audit_event where did = %s", (did,)).fetchone() == (0,)
        assert conn.execute("select count(*) from forgotten").fetchone() == (1,)

    await ann.sign_in("ann")  # changed their mind
    assert (await ann.me())["did"] == did
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from forgotten").fetchone() == (0,)
        assert conn.execute("select count(*) from repo where did = %s", (did,)).fetchone() == (1,)


ERASING = Stop("update on account_deletion", "new.step = 'erase'", kept=True)
ERASED_OR_WAITS = """
select step = 'files' or (select count(*) from pg_locks l join pg_database d on d.oid = l.database
                          where locktype = 'advisory' and not granted and datname = current_database()) > 1
from account_deletion
"""
ARRIVED = Stop("insert on session", "new.kind = 'browser'", kept=True)


async def test_who_signs_in_while_they_are_forgotten_begins_anew(house: House, database: str) -> None:
    """Their session is committed only once the last that is asked before the rows go was asked."""
    ann, elsewhere = await house.person(), await house.person(server=1)
    await ann.sign_in("ann")
    async with stops_in(database, [ERASING, ARRIVED]) as held, asyncio.timeout(30):
        await held.hold(ERASING)
        leaving = asyncio.create_task(ann.ask("DELETE", "/account/", json={"confirmation": "ann.test"}))
        await held.caught(ERASING)
        await held.hold(ARRIVED)
        arriving = asyncio.create_task(elsewhere.sign_in("ann"))
        await held.caught(ARRIVED)
        await held.let_go(ERASING)
        while await (await held.conn.execute(ERASED_OR_WAITS)).fetchone() != (True,):
            await asyncio.sleep(0.02)
        await held.let_go(ARRIVED)
        assert (await leaving).json["finished"]
        await arriving
    assert (await elsewhere.me())["did"] == house.village.dids["ann"]
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from forgotten").fetchone() == (0,)
        assert conn.execute("select count(*) from repo").fetchone() == (1,)


async def test_a_program_deletes_by_its_key_and_hears_what_its_grant_cannot_do(house: House) -> None:
    ann = await house.person()
    await ann.sign_in("ann")
    key = ann.cookies()["session_id"]
    program = await house.person("curl/8")
    body = {"confirmation": "@ann.test", "delete_atproto_records": True}
    answer = await program.ask("DELETE", "/account/", json=body, headers=bearer(key))
    assert answer.status == 200, answer.body
    assert (answer.json["finished"], len(answer.json["warnings"])) == (True, 1)
    assert "the PDS says 401" in answer.json["warnings"][0]
    assert (await program.ask("GET", "/auth/me", headers=bearer(key))).status == 401
