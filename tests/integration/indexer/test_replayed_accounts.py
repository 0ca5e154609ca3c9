"""Accounts that went, came back, moved or were taken down are replayed as they are now."""

from __future__ import annotations

from pathlib import Path

from firehose.identity import IdentityDoc
from indexer.identities import settle_identity
from indexer.shadow import replay
from indexer.standing import take_down
from lexicons.syntax import Did, Handle
from storage import outbox
from storage.postgres import Pool
from tests.fakenet.world import PROFILE, TRACK, WHEN, comment, like, track
from tests.integration.indexer.network import (
    CATALOG,
    Net,
    Tools,
    asked,
    committed,
    ingesting,
    one,
    until,
)
from tests.integration.indexer.resyncing import resyncing

R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"


async def test_what_became_of_accounts_is_replayed(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path
) -> None:
    ana, ben, cleo, dan = (net.account(name) for name in ("ana", "ben", "cleo", "dan"))
    uri = f"at://{ben.did}/{TRACK}/{R1}"
    active = "select active from repo where did = %s"
    async with ingesting(net, pool, tools):
        net.write(ben, "create", TRACK, R1, track("Ben's"))
        for fan in (ana, cleo, dan):
            net.write(fan, "create", "fm.plyr.like", R2, like(uri))
            net.write(fan, "create", "fm.plyr.comment", R3, comment(uri))
            net.write(fan, "create", PROFILE, "self", {"$type": PROFILE, "bio": "hello", "createdAt": WHEN})
        await committed(pool, net)
        await until(lambda: one(pool, "select count(handle) from repo"), 4)
        net.pds.set_status(ana.did, "deactivated")  # stays away
        net.says(ana, "deactivated")
        net.pds.drop(cleo.did)  # is gone
        net.says(cleo, "deleted")
        await until(lambda: one(pool, active, ana.did), False)
        await until(lambda: one(pool, active, cleo.did), False)
        live = "select count(*) from record join repo on id = repo_id where did = %s and cid is not null"
        await until(lambda: one(pool, live, cleo.did), 0)
        async with pool.connection() as conn:
            assert await take_down(conn, Did(dan.did), "stolen songs")
            doc = IdentityDoc(Did(ben.did), Handle("ben.example"), net.pds.origin, ben.key.did_key)
            async with conn.transaction():
                await outbox.append(conn, await settle_identity(conn, doc, CATALOG, lease=None, due_s=None))
        net.write(ben, "update", TRACK, R1, track("Ben's, remastered"))
        await committed(pool, net)
    async with pool.connection() as conn:  # something is missing, and read again
        await conn.execute("update repo set resync_due = now() where active")
    async with resyncing(database):
        await until(lambda: one(pool, "select count(*) from repo where resync_due is not null"), 0)
    assert await one(pool, "select count(*) from profile where hidden") == 3
    answer = await replay(database, tmp_path, "fm.plyr", workers=1)
    assert answer.differences == []
    async with pool.connection() as conn:
        assert await take_down(conn, Did(dan.did), None)
        before = await one(pool, "select likes from track_stat join track_uri using (id) where uri = %s", uri)
        assert before == 1
        await replay(database, tmp_path, "fm.plyr", workers=1, promote=True)
        assert (
            await one(pool, "select likes from track_stat join track_uri using (id) where uri = %s", uri) == 1
        )
    assert (await replay(database, tmp_path, "fm.plyr", workers=1)).differences == []


async def test_an_account_that_comes_back_as_it_was_has_everything_again(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
        net.pds.drop(ana.did)
        net.says(ana, "deleted")
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
        await asked(pool)
        net.pds.host(ana)  # at the rev that it had
        net.says(ana)
        await until(lambda: one(pool, "select active from repo"), True)
        await asked(pool)
    async with resyncing(database):
        await until(lambda: one(pool, "select state from repo"), "active")
    assert await one(pool, "select title from track") == "One"
    assert await one(pool, "select count(*) from record where cid is not null and rev = %s", ana.rev) == 1
    found = await replay(database, tmp_path, "fm.plyr", promote=False, workers=1)
    assert found.differences == []
