"""An account moves, and its old host writes on: the index ends as the new host says, whatever is heard
when, and though the account itself never writes again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from indexer.reconcile import Found, Reconciler
from indexer.replay import rebuild_projections
from indexer.shadow import replay
from storage.postgres import Pool
from tests.fakenet.pds import GET_REPO, GET_REPO_STATUS
from tests.fakenet.repo import START_US, FakeRepo
from tests.fakenet.server import Fault
from tests.fakenet.world import TRACK, track
from tests.integration.indexer.network import (
    CATALOG,
    Net,
    Tools,
    committed,
    ingesting,
    one,
    until,
)
from tests.integration.indexer.resyncing import due_now, resyncing

R1, R2, R3, R4 = "3mpt222222222", "3mpt222222333", "3mpt222222444", "3mpt222222555"
TITLES = "select string_agg(title, ', ' order by rkey) from track"


def reconciler(pool: Pool, tools: Tools, *, grace_s: float = 0.1) -> Reconciler:
    return Reconciler(
        pool=pool, resolver=tools.resolver, host=tools.host, every_s=0, grace_s=grace_s, look_s=0.05
    )


def moved(net: Net, repo: FakeRepo, *, new_key: bool = True) -> FakeRepo:
    """Exported, and imported at the other host, which signs it anew. Gives the old host's copy; the document
    still names that one."""
    kept = repo.frozen()
    net.pds.host(kept)
    if new_key:
        repo.rotate_key(f"{repo.did} moved")
    repo.write([])
    net.other.host(repo)
    return kept


def ghost(kept: FakeRepo) -> dict[str, Any]:
    """What the old host writes after the export: something new, something changed, something gone."""
    writes = [
        ("create", TRACK, R4, track("Ghost")),
        ("update", TRACK, R1, track("Ghostly")),
        ("delete", TRACK, R2, None),
    ]
    return kept.write(writes, START_US + 60_000_000)


async def pointed(net: Net, pool: Pool, repo: FakeRepo, *, heard: bool = True) -> None:
    """Its document names the new host."""
    net.pds.set_status(repo.did, "deactivated")
    net.plc.publish(repo, net.other.origin)
    if heard:
        net.emit("#identity", repo.identity_body(None))
        await until(lambda: one(pool, "select pds from repo"), net.other.origin)


async def in_step(pool: Pool, repo: FakeRepo) -> None:
    """We are where the account's host is, and nothing is missing."""
    query = "select rev, state, resync_due is null from repo where did = %s"
    await until(lambda: one(pool, query, repo.did), (repo.rev, "active", True))


async def sung(net: Net, pool: Pool, seed: str = "ana") -> FakeRepo:
    """Somebody with two tracks, whose identity was looked up."""
    repo = net.account(seed)
    net.write(repo, "create", TRACK, R1, track("One"))
    net.write(repo, "create", TRACK, R2, track("Two"))
    await committed(pool, net)
    await until(lambda: one(pool, "select handle from repo where did = %s", repo.did), repo.handle)
    return repo


async def sound(pool: Pool, database: str, folder: Path) -> None:
    """The projections are what the records say, and a replay gives the same tables."""
    async with pool.connection() as conn:
        assert (await rebuild_projections(conn, CATALOG, mend=False)).differences == []
    found = await replay(database, folder, "fm.plyr", promote=False, workers=1)
    assert found.differences == []


@pytest.mark.parametrize("new_key", [True, False])
async def test_c11_what_the_old_host_wrote_after_the_export_goes_without_a_further_commit(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path, new_key: bool
) -> None:
    async with ingesting(net, pool, tools), resyncing(database):
        ana = await sung(net, pool)
        written = ghost(moved(net, ana, new_key=new_key))
        net.emit("#commit", written)
        await until(lambda: one(pool, TITLES), "Ghostly, Ghost")
        await pointed(net, pool, ana)
        await in_step(pool, ana)
        assert await one(pool, TITLES) == "One, Two"
        net.emit("#commit", written)  # as after a reconnection
        await committed(pool, net)
        await in_step(pool, ana)
        assert await one(pool, TITLES) == "One, Two"
        net.emit("#commit", ana.write([("create", TRACK, R3, track("Three"))]))  # below the ghost's rev
        await committed(pool, net)
        await in_step(pool, ana)
        assert await one(pool, TITLES) == "One, Two, Three"
    await sound(pool, database, tmp_path)


async def test_c11_a_commit_of_the_old_host_that_comes_after_the_new_one_was_read_goes(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path
) -> None:
    """With the same key nothing but the host's own word tells them apart."""
    async with ingesting(net, pool, tools), resyncing(database):
        ana = await sung(net, pool)
        kept = moved(net, ana, new_key=False)
        await pointed(net, pool, ana)
        await in_step(pool, ana)
        net.emit("#commit", ghost(kept))
        await until(lambda: one(pool, TITLES), "Ghostly, Ghost")
        assert await reconciler(pool, tools).everybody() == {Found.AHEAD: 1}
        await in_step(pool, ana)
        assert await one(pool, TITLES) == "One, Two"
        assert await reconciler(pool, tools).everybody() == {Found.IN_STEP: 1}
    await sound(pool, database, tmp_path)


async def test_c11_commits_of_both_hosts_at_once_end_as_the_new_one_says(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path
) -> None:
    """The new host's commit is older than the old one's last, and comes first."""
    async with ingesting(net, pool, tools), resyncing(database):
        ana = await sung(net, pool)
        kept = moved(net, ana)
        await pointed(net, pool, ana, heard=False)
        body = ana.write([("create", TRACK, R3, track("Three"))])
        net.emit("#commit", ghost(kept) | {"time": "2026-07-04T14:39:08.000Z"})
        await until(lambda: one(pool, TITLES), "Ghostly, Ghost")
        net.emit("#commit", body)  # another key: looked up, and a PDS with it
        await until(lambda: one(pool, "select pds from repo"), net.other.origin)
        await in_step(pool, ana)
        assert await one(pool, TITLES) == "One, Two, Three"
    await sound(pool, database, tmp_path)


async def test_a_new_host_with_an_older_copy_at_hand_removes_nothing_that_it_has(
    net: Net, pool: Pool, tools: Tools, database: str
) -> None:
    async with ingesting(net, pool, tools):
        ana = await sung(net, pool)
        moved(net, ana)
        net.other.remember(ana.did)
        body = ana.write([("create", TRACK, R3, track("Three"))])
        net.other.fail(Fault.STALE, GET_REPO, ana.did)
        await pointed(net, pool, ana)
        net.emit("#commit", body)
        await committed(pool, net)
        assert await one(pool, TITLES) == "One, Two, Three"
        async with resyncing(database):
            await until(lambda: one(pool, "select resync_tries from repo"), 1)
            assert net.other.fired[Fault.STALE] == 1
            assert await one(pool, TITLES) == "One, Two, Three"
            assert await one(pool, "select state from repo") == "desynchronized"
            async with pool.connection() as conn:
                await due_now(conn)
            await in_step(pool, ana)
    assert await one(pool, TITLES) == "One, Two, Three"


async def test_a_host_that_is_asked_a_moment_before_its_newest_commit_shows_is_not_ahead(
    net: Net, pool: Pool, tools: Tools
) -> None:
    async with ingesting(net, pool, tools):
        ana = await sung(net, pool)
        net.pds.host(ana.frozen())
        net.emit("#commit", ana.write([("create", TRACK, R3, track("Three"))]))
        await committed(pool, net)
        sweep = asyncio.create_task(reconciler(pool, tools, grace_s=0.5).everybody())
        await until(lambda: asked(net, ana), True)
        net.pds.host(ana)
        assert await sweep == {Found.IN_STEP: 1}
    assert await one(pool, "select state, gaps::text from repo") == ("active", "[]")


async def asked(net: Net, repo: FakeRepo) -> bool:
    return net.pds.asked[GET_REPO_STATUS, repo.did] > 0


async def test_a_deletion_after_a_fork_is_computed_again_from_what_was_told(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path
) -> None:
    """Its tombstones have the newest rev that was ever told, the ghost's."""
    async with ingesting(net, pool, tools), resyncing(database):
        ana = await sung(net, pool)
        told = ghost(moved(net, ana))
        net.emit("#commit", told)
        await committed(pool, net)
        await pointed(net, pool, ana)
        await in_step(pool, ana)
        net.other.drop(ana.did)
        net.says(ana, "deleted")
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
        await until(lambda: one(pool, "select account_due is null from repo"), True)
    newest, there = await one(pool, "select max(rev), count(cid) from record")
    assert (newest, there) == (told["rev"], 0)
    await sound(pool, database, tmp_path)
