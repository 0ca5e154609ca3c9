"""How accounts come, go, move and return: servers on ports say so, Postgres shows what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firehose.identity import IdentityDoc
from firehose.message import account_of
from indexer.identities import settle_identity
from indexer.shadow import replay
from indexer.standing import begin_anew, show, take_down
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Handle
from storage import accounts, outbox, repos
from storage.outbox import Entry, Kind
from storage.postgres import Pool
from tests.fakenet.pds import GET_REPO_STATUS
from tests.fakenet.repo import FakeRepo
from tests.fakenet.server import Fault
from tests.fakenet.world import LIKE, PROFILE, TRACK, WHEN, comment, like, track
from tests.integration.indexer.network import (
    CATALOG,
    Net,
    Tools,
    asked,
    committed,
    equipped,
    ingesting,
    one,
    until,
)
from tests.integration.indexer.resyncing import resyncing

R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"


async def hidden(pool: Pool, repo: FakeRepo) -> bool:
    return bool(
        await one(pool, "select hidden from profile join repo on id = repo_id where did = %s", repo.did)
    )


async def standing(pool: Pool, repo: FakeRepo) -> Any:
    return await one(pool, "select active, status from repo where did = %s", repo.did)


async def entries(pool: Pool, kind: Kind) -> list[Entry]:
    async with pool.connection() as conn:
        return [
            e for batch in await outbox.after(conn, 0, rows=1000) for e in batch.entries if e.kind == kind
        ]


async def decided(pool: Pool, kind: str = "account") -> list[tuple[str, str]]:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "select outcome, reason from decision where kind = %s order by id", (kind,)
        )
        return await cursor.fetchall()


async def test_c05_an_account_goes_out_of_sight_when_its_own_pds_says_so_and_comes_back(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana, ben = net.account("ana"), net.account("ben")
    uri = f"at://{ben.did}/{TRACK}/{R1}"
    async with ingesting(net, pool, tools):
        net.write(ben, "create", TRACK, R1, track("Ben's"))
        net.write(ana, "create", "fm.plyr.like", R2, like(uri))
        net.write(ana, "create", "fm.plyr.comment", R2, comment(uri))
        await committed(pool, net)
        counts = "select likes, comments from track_stat join track_uri using (id) where uri = %s"
        assert await one(pool, counts, uri) == (1, 1)
        net.pds.set_status(ana.did, "deactivated")
        net.says(ana, "deactivated")
        await until(lambda: standing(pool, ana), (False, "deactivated"))
        assert await hidden(pool, ana)
        assert await one(pool, counts, uri) == (0, 0)
        net.pds.set_status(ana.did, None)
        net.says(ana)
        await until(lambda: standing(pool, ana), (True, None))
        assert not await hidden(pool, ana)
        assert await one(pool, counts, uri) == (1, 1)
    told = [(e.source, e.detail) for e in await entries(pool, Kind.ACCOUNT)]
    assert told == [
        (net.pds.origin, {"active": False, "status": "deactivated"}),
        (net.pds.origin, {"active": True, "status": None}),
    ]


async def read_where_it_is_now(pool: Pool, database: str) -> None:
    """What we hold of who moved is compared with the new host, and nothing differs."""
    assert await one(pool, "select state from repo") == "desynchronized"
    async with resyncing(database):
        await until(lambda: one(pool, "select state from repo"), "active")
    assert await one(pool, "select count(*) from track") == 2


async def test_t7_the_old_host_of_an_account_that_moved_hides_nothing(
    net: Net, pool: Pool, tools: Tools, database: str
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("Before"))
        await until(lambda: one(pool, "select pds from repo"), net.pds.origin)
        net.move(ana)
        net.says(ana, "deactivated")  # and no #identity: what we hold still names the old host
        net.write(ana, "create", TRACK, R2, track("After"))
        await committed(pool, net)
        await until(lambda: one(pool, "select pds from repo"), net.other.origin)
        await until(lambda: one(pool, "select count(*) from track"), 2)
        await asked(pool)
    assert await standing(pool, ana) == (True, None)
    assert not await hidden(pool, ana)
    assert net.pds.asked[GET_REPO_STATUS, ana.did] == 0
    assert net.other.asked[GET_REPO_STATUS, ana.did] == 1
    await read_where_it_is_now(pool, database)
    assert any(why.startswith("still active:") for _, why in await decided(pool))


async def test_t7_an_account_that_moved_without_a_word_is_asked_about_where_it_is_now(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("Before"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
        net.move(ana)
        net.says(ana, "deactivated")
        await committed(pool, net)
        await asked(pool)
    assert await standing(pool, ana) == (True, None)
    assert await one(pool, "select pds from repo") == net.other.origin
    assert net.pds.asked[GET_REPO_STATUS, ana.did] == 0


async def test_b06_a_key_that_changes_right_after_it_was_fetched_costs_no_commit(
    net: Net, pool: Pool
) -> None:
    ana = net.account("ana")
    clock = [0.0]
    async with (
        equipped(net, refresh_interval_s=10, now=lambda: clock[0]) as tools,
        ingesting(net, pool, tools) as upkeep,
    ):
        net.write(ana, "create", TRACK, R1, track("Before"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
        net.move(ana)
        net.write(ana, "create", TRACK, R2, track("After"))
        await until(lambda: one(pool, "select reason from rejected_event"), "bad_signature")
        assert await one(pool, "select next_attempt_at is not null from rejected_event") is True
        clock[0] += 11
        async with pool.connection() as conn:
            await conn.execute("update rejected_event set next_attempt_at = now()")
        await upkeep.retries.once()
        await until(lambda: one(pool, "select count(*) from track"), 2)
    assert await one(pool, "select count(*) from rejected_event") == 0
    assert await one(pool, "select state from repo") == "active"


async def test_a_repo_that_the_host_it_left_refuses_is_fetched_where_it_is_now(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
    net.move(ana)
    async with pool.connection() as conn:  # as a resync leaves it whom the old host refused
        await conn.execute("update repo set resync_due = null, resync_error = 'no', account_due = now()")
    async with ingesting(net, pool, tools):
        await until(lambda: one(pool, "select pds, resync_due <= now() from repo"), (net.other.origin, True))
    assert await one(pool, "select pds, resync_due <= now() from repo") == (net.other.origin, True)


@pytest.mark.parametrize("first", ["old", "new"])
async def test_c11_a_move_ends_the_same_whichever_host_is_heard_first(
    net: Net, pool: Pool, tools: Tools, database: str, first: str
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("Before"))
        await until(lambda: one(pool, "select pds from repo"), net.pds.origin)
        if first == "old":  # deactivated there before its document names the new host
            net.pds.set_status(ana.did, "deactivated")
            net.says(ana, "deactivated")
            await until(lambda: hidden(pool, ana), True)
        net.move(ana)
        net.emit("#identity", ana.identity_body(None))
        if first == "new":
            net.says(ana)
            net.write(ana, "create", TRACK, R2, track("After"))
            await until(lambda: one(pool, "select pds from repo"), net.other.origin)
            net.says(ana, "deactivated")
        else:
            net.write(ana, "create", TRACK, R2, track("After"))
        await committed(pool, net)
        await until(lambda: standing(pool, ana), (True, None))
        await asked(pool)
    assert not await hidden(pool, ana)
    assert await one(pool, "select pds from repo") == net.other.origin
    assert await one(pool, "select count(*) from track") == 2
    await read_where_it_is_now(pool, database)


@pytest.mark.parametrize("status", ["throttled", "desynchronized", "something new"])
async def test_t8_a_status_that_hides_nothing_hides_nothing(
    net: Net, pool: Pool, tools: Tools, status: str
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        net.pds.set_status(ana.did, status)
        net.says(ana, status, active=False)
        await until(lambda: standing(pool, ana), (True, status))
        await asked(pool)
    assert not await hidden(pool, ana)
    assert await one(pool, "select count(*) from record where cid is null") == 0


@pytest.mark.parametrize("status", ["takendown", "suspended"])
async def test_c04_what_its_host_took_down_is_kept_out_of_sight(
    net: Net, pool: Pool, tools: Tools, status: str
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        net.pds.set_status(ana.did, status)
        net.says(ana, status)
        await until(lambda: standing(pool, ana), (False, status))
    assert await hidden(pool, ana)
    assert await one(pool, "select count(*) from record where cid is not null") == 1


async def test_c06_a_host_that_does_not_answer_changes_nothing_and_is_asked_again(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    net.pds.fail(Fault.HTML_429, GET_REPO_STATUS, times=1)
    net.pds.fail(Fault.HTML_200, GET_REPO_STATUS, times=1)
    net.pds.fail(Fault.UNAVAILABLE, GET_REPO_STATUS, times=1)
    async with ingesting(net, pool, tools) as upkeep:
        net.write(ana, "create", TRACK, R1, track("One"))
        net.pds.set_status(ana.did, "deactivated")
        net.says(ana, "deactivated")
        for tries in (1, 2, 3):
            await until(lambda: one(pool, "select account_tries from repo"), tries)
            assert not await hidden(pool, ana)
            assert await one(pool, "select account_due > now() from repo") is True
            async with pool.connection() as conn:
                await conn.execute("update repo set account_due = now()")
            upkeep.wake()
        await until(lambda: hidden(pool, ana), True)
    assert net.pds.fired == {Fault.HTML_429: 1, Fault.HTML_200: 1, Fault.UNAVAILABLE: 1}
    assert [outcome for outcome, _ in await decided(pool)] == ["unchanged", "deactivated"]


async def test_c06_a_directory_that_does_not_answer_changes_nothing(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
        net.pds.set_status(ana.did, "deactivated")
        net.plc.set_away(True)
        net.says(ana, "deactivated")
        await until(lambda: one(pool, "select account_tries > 0 from repo"), True)
    assert not await hidden(pool, ana)
    assert await one(pool, "select handle from repo") == ana.handle


async def deleted(net: Net, pool: Pool, ana: FakeRepo) -> None:
    net.write(ana, "create", TRACK, R1, track("One"))
    net.write(ana, "create", TRACK, R2, track("Two"))
    net.write(ana, "create", PROFILE, "self", {"$type": PROFILE, "bio": "here", "createdAt": WHEN})
    await committed(pool, net)
    net.pds.drop(ana.did)
    net.says(ana, "deleted")
    await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
    await asked(pool)


async def test_c04_a_deleted_account_leaves_tombstones_and_begins_anew(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        await deleted(net, pool, ana)
    assert await one(pool, "select active, status, state, resync_due, account_due from repo") == (
        False,
        "deleted",
        "pending",
        None,
        None,
    )
    assert await one(pool, "select count(*) from track") == 0
    assert await one(pool, "select bio from profile") is None
    assert await one(pool, "select count(*) from record where block is null and rev = %s", ana.rev) == 3
    gone = await entries(pool, Kind.RECORD)
    assert {(e.collection, e.rkey) for e in gone if e.action == "delete"} == {
        (TRACK, R1),
        (TRACK, R2),
        (PROFILE, "self"),
    }


async def test_t6_a_replayed_delete_does_not_touch_the_account_that_began_anew(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        await deleted(net, pool, ana)
        net.pds.host(ana)  # under the same DID, and its revs go on
        net.says(ana)
        net.write(ana, "create", TRACK, R3, track("Reborn"))
        await until(lambda: standing(pool, ana), (True, None))
        await committed(pool, net)
        assert await one(pool, "select resync_due <= now() from repo") is True
    async with ingesting(net, pool, tools, rewind=1000):  # everything again, the deletion too
        net.write(ana, "create", "fm.plyr.like", R3, like(f"at://{ana.did}/{TRACK}/{R3}"))
        await committed(pool, net)
        await asked(pool)
    assert await standing(pool, ana) == (True, None)
    assert not await hidden(pool, ana)
    assert await one(pool, "select title from track") == "Reborn"
    assert await one(pool, "select state from repo") == "pending"


async def test_a_repo_that_its_host_does_not_know_is_gone_only_if_it_stays_so(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools) as upkeep:
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
        net.pds.drop(ana.did)
        net.says(ana, "deactivated")  # nobody says that it was deleted
        await until(lambda: standing(pool, ana), (False, "not found"))
        assert await hidden(pool, ana)
        assert await one(pool, "select count(*) from record where cid is not null") == 1
        assert await one(pool, "select account_due > now() + interval '5 minutes' from repo") is True
        async with pool.connection() as conn:
            await conn.execute("update repo set account_due = now()")
        upkeep.wake()
        await until(lambda: standing(pool, ana), (False, "deleted"))
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)


async def test_c10_a_did_that_was_given_up_is_a_deleted_account(net: Net, pool: Pool, tools: Tools) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
        net.plc.tombstone(ana.did)
        net.emit("#identity", ana.identity_body(None))  # nobody sends an #account
        await until(lambda: standing(pool, ana), (False, "deleted"))
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
    told = [(entry.did, entry.reason) for entry in await entries(pool, Kind.ACCOUNT)]
    assert told == [(ana.did, f"{ana.did}: tombstoned says deleted")]


async def test_what_a_deleted_account_wrote_and_comes_late_is_erased_too(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
        late = ana.write([("create", TRACK, R2, track("Two"))])
        net.pds.drop(ana.did)
        net.says(ana, "deleted")
        await until(lambda: standing(pool, ana), (False, "deleted"))
        await asked(pool)
        net.emit("#commit", late)
        await committed(pool, net)
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
        await asked(pool)
    assert await one(pool, "select count(*) from track") == 0
    assert await standing(pool, ana) == (False, "deleted")


async def test_a_deletion_that_was_interrupted_goes_on(net: Net, pool: Pool, tools: Tools) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
    async with pool.connection() as conn:  # where a crash leaves it: out of sight, its lease not given back
        await conn.execute("update repo set active = false, status = 'deleted', account_due = now()")
        await conn.execute("update profile set hidden = true")
    net.pds.drop(ana.did)
    async with ingesting(net, pool, tools):
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
        await asked(pool)
    assert await one(pool, "select count(*) from track") == 0


async def test_what_an_interrupted_deletion_left_is_whole(
    net: Net, pool: Pool, tools: Tools, database: str
) -> None:
    """A record goes with what was made of it, or stays with it: its account may come back before the rest."""
    ana, ben = net.account("ana"), net.account("ben")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        net.write(ben, "create", TRACK, R1, track("Two"))
        net.write(ana, "create", LIKE, R2, like(f"at://{ben.did}/{TRACK}/{R1}"))
        await committed(pool, net)
    async with (
        pool.connection() as conn,
        conn.transaction(),
    ):  # as a crash after the first of two parts leaves it
        gone = (await repos.lock(conn, [Did(ana.did)]))[Did(ana.did)]
        assert gone.rev is not None
        await show(conn, gone, active=False, taken_down=None)
        await conn.execute("update repo set active = false, status = 'deleted' where did = %s", [ana.did])
        await outbox.append(conn, await begin_anew(conn, gone, gone.rev, "its host"))
        own = Catalog.load().collections
        erased = await accounts.erase_records(conn, gone.repo.id, gone.rev, ("", ""), 1, own)
    assert [(each.collection, each.rkey) for each in erased] == [(LIKE, R2)]
    assert await one(pool, 'select count(*) from "like"') == 0
    assert await one(pool, "select sum(likes) from track_stat") == 0
    async with ingesting(net, pool, tools), resyncing(database):
        net.says(ana)
        await until(lambda: standing(pool, ana), (True, None))
        await until(lambda: one(pool, "select state from repo where did = %s", ana.did), "active")
    assert await one(pool, "select count(*) from track") == 2
    assert await one(pool, "select sum(likes) from track_stat") == 1


async def test_c08_what_we_took_down_stays_so_whatever_its_host_says(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
        async with pool.connection() as conn:
            assert await take_down(conn, Did(ana.did), "spam")
            assert not await take_down(conn, Did(ana.did), "spam")
        assert await hidden(pool, ana)
        net.pds.set_status(ana.did, "deactivated")
        net.says(ana, "deactivated")
        await until(lambda: standing(pool, ana), (False, "deactivated"))
        net.pds.set_status(ana.did, None)
        net.says(ana)
        await until(lambda: standing(pool, ana), (True, None))
        assert await hidden(pool, ana)
        async with pool.connection() as conn:
            assert await take_down(conn, Did(ana.did), None)
        assert not await hidden(pool, ana)
    assert [e.verdict for e in await entries(pool, Kind.TAKEDOWN)] == ["down", "up"]


NAMES = "select string_agg(coalesce(handle, 'none'), ' ' order by did = %s) from repo"


async def test_d04_of_two_accounts_with_one_handle_the_one_that_it_leads_to_has_it(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana, ben = net.account("ana"), net.account("ben")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        net.write(ben, "create", TRACK, R1, track("Two"))
        await until(lambda: one(pool, "select count(handle) from repo"), 2)
        ben.handle = ana.handle
        net.plc.publish(ben, net.pds.origin)  # the handle leads to ben now, though ana still claims it
        net.emit("#identity", ben.identity_body(None))
        await until(lambda: one(pool, NAMES, ben.did), f"none {ben.handle}")
        await until(lambda: one(pool, "select count(*) from repo where identity_due is not null"), 0)
    card = await one(pool, "select card from profile join repo on id = repo_id where did = %s", ana.did)
    assert "handle.invalid" in card
    lost = [e.detail for e in await entries(pool, Kind.IDENTITY) if e.did == ana.did][-1]
    assert lost == {"handle": None, "pds": net.pds.origin, "signing_key": ana.key.did_key}


async def test_d04_a_slow_answer_from_before_takes_a_handle_only_until_its_owner_is_looked_up_again(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana, ben = net.account("ana"), net.account("ben")
    async with ingesting(net, pool, tools) as upkeep:
        net.write(ana, "create", TRACK, R1, track("One"))
        net.write(ben, "create", TRACK, R1, track("Two"))
        await until(lambda: one(pool, "select count(handle) from repo"), 2)
        before = await tools.resolver.resolve(Did(ana.did))
        ben.handle = ana.handle
        net.plc.publish(ben, net.pds.origin)
        net.emit("#identity", ben.identity_body(None))
        await until(lambda: one(pool, NAMES, ben.did), f"none {ben.handle}")
        async with pool.connection() as conn, conn.transaction():
            assert await settle_identity(conn, before, CATALOG, lease=None, due_s=None)
        assert await one(pool, NAMES, ben.did) == f"{ben.handle} none"
        upkeep.wake()
        await until(lambda: one(pool, NAMES, ben.did), f"none {ben.handle}")
        await until(lambda: one(pool, "select count(*) from repo where identity_due is not null"), 0)


async def test_d04_an_answer_from_the_cache_takes_a_handle_from_nobody(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana, ben = net.account("ana"), net.account("ben")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        net.write(ben, "create", TRACK, R1, track("Two"))
        await until(lambda: one(pool, "select count(handle) from repo"), 2)
    cached = IdentityDoc(Did(ana.did), Handle(ben.handle), net.pds.origin, ana.key.did_key)
    async with pool.connection() as conn, conn.transaction():
        await settle_identity(conn, cached, CATALOG, lease=None, due_s=3)
    assert await one(pool, NAMES, ben.did) == f"none {ben.handle}"


async def test_c06_a_handle_that_cannot_be_looked_up_now_is_kept_even_by_a_new_process(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
    for unchecked, after in ((ana.handle, ana.handle), ("another.test", None)):
        doc = IdentityDoc(Did(ana.did), None, net.pds.origin, ana.key.did_key, Handle(unchecked))
        async with pool.connection() as conn, conn.transaction():
            await settle_identity(conn, doc, CATALOG, lease=None, due_s=None)
        assert await one(pool, "select handle from repo") == after


async def test_t10_an_identity_event_that_comes_during_a_lookup_is_not_lost(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await until(lambda: one(pool, "select handle from repo"), ana.handle)
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("update repo set identity_due = now()")
        lease = (await repos.take_identities(conn, limit=1, lease_s=60))[Did(ana.did)]
    old = await tools.resolver.resolve(Did(ana.did))
    async with pool.connection() as conn:
        await repos.expire_identity(conn, [Did(ana.did)])  # an #identity comes
        async with conn.transaction():
            await settle_identity(conn, old, CATALOG, lease=lease, due_s=None)
    assert await one(pool, "select identity_due <= now() from repo") is True


async def test_an_account_event_that_comes_during_a_check_is_not_lost(
    net: Net, pool: Pool, tools: Tools
) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
    async with pool.connection() as conn:
        await accounts.check(conn, [Did(ana.did)])
        (due,) = await accounts.take(conn, limit=9, lease_s=60)
        assert await accounts.take(conn, limit=9, lease_s=60) == []
        claim = account_of(ana.account_body(active=False, status="deleted") | {"seq": 99})
        await repos.expire_account(conn, [claim], "wss://relay")
        await accounts.settle(conn, due, active=True, status=None, again_s=None)
    assert await one(pool, "select account_due <= now(), account_claim from repo") == (True, "deleted")


async def test_c04_a_large_account_is_erased_in_parts(net: Net, pool: Pool, tools: Tools) -> None:
    ana = net.account("ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "create", TRACK, R1, track("One"))
        await committed(pool, net)
        async with pool.connection() as conn:
            await conn.execute(
                "insert into record select id, 'fm.plyr.like', 'k' || n, rev, 'bafy', 'x', true, null "
                "from repo, generate_series(1, 5000) n"
            )
        net.pds.drop(ana.did)
        net.says(ana, "deleted")
        await until(lambda: one(pool, "select count(*) from record where cid is not null"), 0)
        await asked(pool)
    assert len(await entries(pool, Kind.RECORD)) == 5002


async def test_all_of_it_is_computed_again_from_what_was_told(
    net: Net, pool: Pool, tools: Tools, database: str, tmp_path: Path
) -> None:
    ana, ben, carl, dora = (net.account(name) for name in ("ana", "ben", "carl", "dora"))
    async with ingesting(net, pool, tools):
        await deleted(net, pool, ana)
        for repo in (ben, carl, dora):
            net.write(repo, "create", TRACK, R1, track("One"))
            net.write(repo, "create", "fm.plyr.like", R2, like(f"at://{ben.did}/{TRACK}/{R1}"))
        await committed(pool, net)
        net.pds.host(ana)
        net.says(ana)
        net.write(ana, "create", TRACK, R3, track("Reborn"))
        net.move(ben)
        ben.handle = carl.handle
        net.plc.publish(ben, net.other.origin)
        net.emit("#identity", ben.identity_body(None))
        net.says(ben, "deactivated")
        net.pds.set_status(carl.did, "suspended")
        net.says(carl, "suspended")
        net.plc.tombstone(dora.did)
        net.emit("#identity", dora.identity_body(None))
        await until(lambda: one(pool, "select count(*) from repo where status = 'deleted'"), 1)
        await until(lambda: standing(pool, carl), (False, "suspended"))
        await until(lambda: standing(pool, ana), (True, None))
        await until(lambda: one(pool, "select pds from repo where did = %s", ben.did), net.other.origin)
        await committed(pool, net)
        await asked(pool)
        async with pool.connection() as conn:
            await take_down(conn, Did(ben.did), "spam")
        await until(lambda: one(pool, "select count(*) from repo where identity_due <= now()"), 0)
    found = await replay(database, tmp_path, "fm.plyr", promote=False, workers=1)
    assert found.differences == []
    assert found.records > 5
