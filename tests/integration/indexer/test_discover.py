"""Accounts are found where hosts list them: real servers, real Postgres."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firehose.events import Info
from firehose.filter import Interest
from firehose.host_errors import HostUnreachable
from indexer.apply import apply_batch
from indexer.discover import Discoverer
from indexer.newcomers import Newcomers
from indexer.prepare import prepare
from storage import outbox, repos
from storage.outbox import Kind
from storage.postgres import Pool
from tests.fakenet.http import Page, json_page
from tests.fakenet.pds import DESCRIBE_REPO, LIST_REPOS, LIST_REPOS_BY_COLLECTION, FakePds
from tests.fakenet.repo import FakeRepo
from tests.fakenet.server import Fault, xrpc_error
from tests.fakenet.world import LIKE, POST, TRACK, like, track
from tests.integration.indexer.network import CATALOG, Tools, one, until

R1 = "3mpt222222222"
OWN = len(CATALOG.collections.own)


class Circle(FakePds):
    """Its lists never end."""

    def _listing(self, query: Any, items: list[dict[str, Any]]) -> Page:
        return json_page({"repos": items, "cursor": {"": "a", "a": "b"}.get(query.get("cursor", ""), "a")})


class Mute(FakePds):
    """One of its accounts it cannot describe, as the reference server where a DID has no document."""

    mute: str | None = None

    def page(self, nsid: str, query: dict[str, str]) -> Page:
        if nsid == DESCRIBE_REPO and query.get("repo") == self.mute:
            return xrpc_error("InvalidRequest", "Could not resolve DID")
        return super().page(nsid, query)


def with_record(host: FakePds, seed: object, collection: str = TRACK) -> FakeRepo:
    repo = FakeRepo(seed=seed)
    record = {TRACK: track("One"), LIKE: like(f"at://did:plc:x/{TRACK}/{R1}")}
    repo.write([("create", collection, R1, record.get(collection, {"$type": collection}))])
    host.host(repo)
    return repo


def looking(pool: Pool, tools: Tools, *hosts: FakePds, every_s: float = 0) -> Discoverer:
    asked = [tools.host(host.origin) for host in hosts]
    return Discoverer(pool=pool, catalog=CATALOG, hosts=asked, every_s=every_s, retry_s=0.1)


async def tracked(pool: Pool) -> set[str]:
    async with pool.connection() as conn:
        return set(await repos.tracked(conn))


async def test_e02_every_account_with_a_record_of_any_of_our_collections_is_found(
    pool: Pool, tools: Tools
) -> None:
    async with FakePds(collects=True, page_size=2) as relay:
        ours = {with_record(relay, n).did for n in range(5)} | {with_record(relay, "fan", LIKE).did}
        with_record(relay, "stranger", POST)
        assert await looking(pool, tools, relay).once() == 6
        assert relay.asked[LIST_REPOS_BY_COLLECTION, None] >= OWN + 2
    assert await tracked(pool) == ours
    assert await one(pool, "select bool_and(resync_due is not null and identity_due is not null) from repo")
    assert await one(pool, "select count(*) from decision where kind = 'discovery'") == 6
    async with pool.connection() as conn:
        told = [e for b in await outbox.after(conn, 0, rows=100) for e in b.entries if e.kind == Kind.REPO]
    assert {e.did for e in told} == ours


async def test_an_account_that_is_known_already_is_found_once(pool: Pool, tools: Tools) -> None:
    async with FakePds(collects=True) as relay:
        with_record(relay, "ana")
        assert await looking(pool, tools, relay).once() == 1
        with_record(relay, "ben")
        assert await looking(pool, tools, relay).once() == 1
    assert len(await tracked(pool)) == 2


async def test_a_list_is_not_asked_for_again_before_it_is_time(pool: Pool, tools: Tools) -> None:
    async with FakePds(collects=True) as relay:
        with_record(relay, "ana")
        await looking(pool, tools, relay, every_s=3600).once()
        asked = relay.asked.total()
        await looking(pool, tools, relay, every_s=3600).once()
        assert relay.asked.total() == asked


async def test_a07_a_list_is_asked_for_again_at_once_where_events_were_lost(pool: Pool, tools: Tools) -> None:
    async with FakePds(collects=True) as relay:
        with_record(relay, "ana")
        await looking(pool, tools, relay, every_s=3600).once()
        with_record(relay, "ben")
        lost = prepare([Info("OutdatedCursor", None)], CATALOG)
        async with pool.connection() as conn:
            await apply_batch(conn, lost, catalog=CATALOG, source="a relay", seq=None)
        assert await looking(pool, tools, relay, every_s=3600).once() == 1


async def test_e02_a_host_without_such_a_list_is_asked_about_each_of_its_accounts(
    pool: Pool, tools: Tools
) -> None:
    async with FakePds(page_size=2) as pds:
        ana, ben, gone = with_record(pds, "ana"), with_record(pds, "ben", LIKE), with_record(pds, "gone")
        pds.set_status(gone.did, "deactivated")
        stranger = with_record(pds, "stranger", POST)
        assert await looking(pool, tools, pds).once() == 2
        assert pds.asked[DESCRIBE_REPO, gone.did] == 0
        assert pds.asked[DESCRIBE_REPO, stranger.did] == 1
        asked = pds.asked[DESCRIBE_REPO, ana.did]
        await looking(pool, tools, pds).once()
        assert pds.asked[DESCRIBE_REPO, ana.did] == asked  # known by now
    assert await tracked(pool) == {ana.did, ben.did}
    assert await one(pool, "select collection from discovery") == ""


async def test_an_account_that_its_host_cannot_describe_keeps_nobody_waiting(
    pool: Pool, tools: Tools
) -> None:
    async with Mute(page_size=2) as pds:
        repos_ = [with_record(pds, n) for n in range(4)]
        pds.mute = repos_[1].did
        assert await looking(pool, tools, pds).once() == 3
        pds.mute = None
        assert await looking(pool, tools, pds).once() == 1
    assert await tracked(pool) == {repo.did for repo in repos_}


async def test_an_interrupted_list_goes_on_where_it_was(pool: Pool, tools: Tools) -> None:
    async with FakePds(page_size=1) as pds:
        for n in range(4):
            with_record(pds, n)
        calls: list[str] = []

        def third_fails(nsid: str, did: str | None, n: int) -> Fault | None:
            if nsid == LIST_REPOS:
                calls.append(nsid)
            return Fault.UNAVAILABLE if nsid == LIST_REPOS and len(calls) == 3 else None

        pds.chance = third_fails
        with pytest.raises(HostUnreachable):
            await looking(pool, tools, pds).once()
        assert pds.fired == {Fault.UNAVAILABLE: 1}
        assert len(await tracked(pool)) == 2
        assert await looking(pool, tools, pds).once() == 2
        assert len(calls) == 5  # two pages, the failure, two pages
    assert await one(pool, "select found from discovery") == 4


async def test_e02_cursors_that_run_in_a_circle_end_the_list(pool: Pool, tools: Tools) -> None:
    async with Circle(collects=True) as relay:
        with_record(relay, "ana")
        async with asyncio.timeout(60):
            assert await looking(pool, tools, relay).once() == 1
        assert relay.asked[LIST_REPOS_BY_COLLECTION, None] == 3 * OWN


async def test_e03_the_list_is_asked_for_once_the_stream_is_followed(pool: Pool, tools: Tools) -> None:
    async with FakePds(collects=True) as relay:
        with_record(relay, "ana")
        task = asyncio.create_task(looking(pool, tools, relay).run())
        try:
            await asyncio.sleep(0.3)
            assert relay.asked.total() == 0
            async with pool.connection() as conn:
                await conn.execute("insert into source_cursor (url, seq) values ('wss://relay', 1)")
            await until(lambda: one(pool, "select count(*) from repo"), 1)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_host_that_fails_does_not_end_the_search_elsewhere(pool: Pool, tools: Tools) -> None:
    async with FakePds(collects=True) as good, FakePds(collects=True) as bad:
        ana, ben = with_record(good, "ana"), with_record(bad, "ben")
        bad.fail(Fault.HTML_200, LIST_REPOS_BY_COLLECTION, times=2)
        async with pool.connection() as conn:
            await conn.execute("insert into source_cursor (url, seq) values ('wss://relay', 1)")
        task = asyncio.create_task(looking(pool, tools, bad, good).run())
        try:
            await until(lambda: tracked(pool), {ana.did, ben.did})
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert bad.fired == {Fault.HTML_200: 2}


async def test_whoever_another_process_finds_is_known_to_the_follower_too(pool: Pool, tools: Tools) -> None:
    interest = Interest(CATALOG.collections.own, set())
    async with FakePds(collects=True) as relay:
        ana = with_record(relay, "ana")
        async with pool.connection() as conn:
            newcomers = Newcomers(pool, interest, await repos.newest(conn))
        await looking(pool, tools, relay).once()
        await newcomers.once(late=False)
        assert interest.tracked == {ana.did}
        interest.tracked.clear()
        await newcomers.once(late=False)
        assert interest.tracked == set()  # not read twice
        await newcomers.once()
        assert interest.tracked == {ana.did}  # but for those that are shown late
