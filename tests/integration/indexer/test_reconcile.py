"""What we hold is compared with what the PDSs say: real servers, real Postgres, a real stream."""

from __future__ import annotations

import asyncio

import pytest

from indexer.pulse import PulseCounter
from indexer.reconcile import Found, Reconciler
from lexicons.syntax import Did
from storage import health, outbox, reconcile
from storage.outbox import Kind
from storage.postgres import Pool
from tests.fakenet.pds import GET_REPO_STATUS
from tests.fakenet.plc import RESOLVE
from tests.fakenet.repo import FakeRepo
from tests.fakenet.server import Fault
from tests.fakenet.world import POST, TRACK, track
from tests.integration.indexer.network import Net, Tools, committed, ingesting, one, until

R1, R2, R3 = "3mpt222222222", "3mpt222222333", "3mpt222222444"
RUNS = "select count(*) from reconcile_run where finished_at is null"


def reconciler(pool: Pool, tools: Tools, *, every_s: float = 0, grace_s: float = 0.1) -> Reconciler:
    return Reconciler(
        pool=pool, resolver=tools.resolver, host=tools.host, every_s=every_s, grace_s=grace_s, look_s=0.05
    )


async def indexed(net: Net, pool: Pool, tools: Tools, *seeds: str) -> list[FakeRepo]:
    """Accounts with a track each, looked up and in step; nobody follows the stream any more."""
    found = [net.account(seed) for seed in seeds]
    async with ingesting(net, pool, tools):
        for repo in found:
            net.write(repo, "create", TRACK, R1, track("One"))
        await committed(pool, net)
        await until(lambda: one(pool, "select count(handle) from repo"), len(seeds))
    async with pool.connection() as conn:
        await conn.execute("delete from reconcile_run")  # begun as the source was never read before
    return found


async def outcomes(pool: Pool, repo: FakeRepo) -> list[str]:
    async with pool.connection() as conn:
        rows = await (
            await conn.execute(
                "select outcome from decision where kind = 'reconcile' and did = %s order by id", (repo.did,)
            )
        ).fetchall()
    return [outcome for (outcome,) in rows]


async def test_e09_whoever_is_in_step_is_left_alone(net: Net, pool: Pool, tools: Tools) -> None:
    await indexed(net, pool, tools, "ana", "ben")
    assert await reconciler(pool, tools).once() == {Found.IN_STEP: 2}
    assert await one(pool, "select checked, in_step, healed, unreachable from reconcile_run") == (2, 2, 0, 0)
    assert (
        await one(pool, "select count(*) from repo where checked_at is not null and resync_due is null") == 2
    )
    assert await one(pool, "select count(*) from decision where kind = 'reconcile'") == 0


async def test_t16_a_commit_that_never_came_is_missed_and_fetched(net: Net, pool: Pool, tools: Tools) -> None:
    ana, ben = await indexed(net, pool, tools, "ana", "ben")
    ana.write([("create", TRACK, R2, track("Never came"))])
    assert await reconciler(pool, tools).once() == {Found.IN_STEP: 1, Found.BEHIND: 1}
    assert await one(pool, "select state, resync_due is not null from repo where did = %s", ana.did) == (
        "desynchronized",
        True,
    )
    assert await one(pool, "select state from repo where did = %s", ben.did) == "active"
    assert await outcomes(pool, ana) == ["behind"]
    assert await one(pool, "select healed, behind from reconcile_run") == (1, 1)
    async with pool.connection() as conn:
        doubts = [e for b in await outbox.after(conn, 0, rows=99) for e in b.entries if e.kind == Kind.DOUBT]
    assert [(e.did, e.verdict) for e in doubts] == [(ana.did, "behind")]


async def test_a_commit_that_is_merely_on_its_way_is_no_gap(net: Net, pool: Pool, tools: Tools) -> None:
    (ana,) = await indexed(net, pool, tools, "ana")
    body = ana.write([("create", TRACK, R2, track("On its way"))])
    async with ingesting(net, pool, tools):
        sweep = asyncio.create_task(reconciler(pool, tools, grace_s=1.5).once())
        await until(lambda: _asked(net, ana), True)
        net.emit("#commit", body)
        assert await sweep == {Found.IN_STEP: 1}
    assert await one(pool, "select state from repo") == "active"


async def test_a_repo_whose_fetch_fails_while_it_is_compared_stays_in_error(
    net: Net, pool: Pool, tools: Tools
) -> None:
    (ana,) = await indexed(net, pool, tools, "ana")
    ana.write([("create", TRACK, R2, track("Never came"))])
    sweep = asyncio.create_task(reconciler(pool, tools, grace_s=1).once())
    await until(lambda: _asked(net, ana), True)
    async with pool.connection() as conn:
        await conn.execute("update repo set state = 'error', resync_due = now() + interval '1 hour'")
    assert await sweep == {Found.BEHIND: 1}
    assert await one(pool, "select state, jsonb_array_length(gaps) from repo") == ("error", 1)


async def _asked(net: Net, repo: FakeRepo) -> bool:
    return net.pds.asked[GET_REPO_STATUS, repo.did] > 0


async def test_t11_an_account_that_came_back_unheard_is_asked_about(
    net: Net, pool: Pool, tools: Tools
) -> None:
    (ana,) = await indexed(net, pool, tools, "ana")
    async with pool.connection() as conn:
        await conn.execute("update repo set active = false, status = 'deactivated'")
        await conn.execute("update profile set hidden = true")
    assert await reconciler(pool, tools).once() == {Found.STANDING: 1}
    async with ingesting(net, pool, tools):
        await until(lambda: one(pool, "select hidden from profile"), False)
    assert await outcomes(pool, ana) == ["stands otherwise"]


async def test_a_deletion_that_nobody_told_us_of_is_found(net: Net, pool: Pool, tools: Tools) -> None:
    (ana,) = await indexed(net, pool, tools, "ana")
    net.pds.drop(ana.did)
    assert await reconciler(pool, tools).once() == {Found.STANDING: 1}
    assert not await one(pool, "select hidden from profile")  # a sweep hides nobody by itself
    async with ingesting(net, pool, tools):
        await until(lambda: one(pool, "select hidden from profile"), True)


async def test_a_move_that_nobody_told_us_of_is_found(net: Net, pool: Pool, tools: Tools) -> None:
    (ana,) = await indexed(net, pool, tools, "ana")
    net.move(ana)
    assert await reconciler(pool, tools).once() == {Found.IDENTITY: 1}
    assert net.pds.asked[GET_REPO_STATUS, ana.did] == 0  # what the old host says does not count
    async with ingesting(net, pool, tools):
        await until(
            lambda: one(pool, "select pds, signing_key from repo"), (net.other.origin, ana.key.did_key)
        )


async def test_d04_a_handle_that_leads_nowhere_any_more_is_found(net: Net, pool: Pool, tools: Tools) -> None:
    (ana,) = await indexed(net, pool, tools, "ana")
    net.plc.fail(Fault.UNAVAILABLE, RESOLVE)
    assert await reconciler(pool, tools).once() == {Found.IN_STEP: 1}  # cannot tell is not gone
    del net.plc.handles[ana.handle]
    assert await reconciler(pool, tools).once() == {Found.IDENTITY: 1}
    async with ingesting(net, pool, tools):
        await until(lambda: one(pool, "select handle from repo"), None)


async def test_c06_a_host_that_does_not_answer_changes_nothing(net: Net, pool: Pool, tools: Tools) -> None:
    await indexed(net, pool, tools, "ana")
    before = await one(pool, "select row_to_json(repo)::text from repo")
    net.pds.fail(Fault.UNAVAILABLE, GET_REPO_STATUS)
    assert await reconciler(pool, tools).once() == {Found.UNREACHABLE: 1}
    assert net.pds.fired == {Fault.UNAVAILABLE: 1}
    assert await one(pool, "select row_to_json(repo)::text from repo") == before
    assert await one(pool, "select checked, unreachable from reconcile_run") == (1, 1)


async def test_a_sweep_that_was_interrupted_goes_on(net: Net, pool: Pool, tools: Tools) -> None:
    ana, _ = await indexed(net, pool, tools, "ana", "ben")
    async with pool.connection() as conn:
        await conn.execute("insert into reconcile_run (checked, in_step) values (1, 1)")
        await conn.execute("update repo set checked_at = now() where did = %s", (ana.did,))
    assert await reconciler(pool, tools, every_s=3600).once() == {Found.IN_STEP: 1}
    assert await one(pool, "select checked, in_step, finished_at is null from reconcile_run") == (2, 2, False)
    assert await reconciler(pool, tools, every_s=3600).once() == {}


@pytest.mark.parametrize("trap", ["t24", "a07", "no cursor"])
async def test_a07_after_events_were_lost_everybody_is_compared_without_waiting_for_the_night(
    net: Net, pool: Pool, tools: Tools, trap: str
) -> None:
    ana, ben = await indexed(net, pool, tools, "ana", "ben")
    await reconciler(pool, tools).once()
    ana.write([("create", POST, "p1", {"$type": POST, "text": "lost"})])
    if trap == "a07":
        async with ingesting(net, pool, tools):
            net.emit("#info", {"name": "OutdatedCursor", "message": "too old"})
            await until(lambda: one(pool, RUNS), 1)
    elif trap == "no cursor":  # forgotten, or another source than before
        async with pool.connection() as conn:
            await conn.execute("delete from source_cursor")
        async with ingesting(net, pool, tools):
            await until(lambda: one(pool, RUNS), 1)
    else:
        async with pool.connection() as conn:
            await reconcile.begin(conn, "all")
    assert await reconciler(pool, tools, every_s=3600).once() == {Found.IN_STEP: 1, Found.BEHIND: 1}
    assert await one(pool, "select state from repo where did = %s", ana.did) == "desynchronized"
    assert await one(pool, "select state from repo where did = %s", ben.did) == "active"
    assert await reconciler(pool, tools, every_s=3600).once() == {}


async def test_named_accounts_are_compared_now(net: Net, pool: Pool, tools: Tools) -> None:
    ana, _ = await indexed(net, pool, tools, "ana", "ben")
    assert await reconciler(pool, tools, every_s=3600).named([Did(ana.did)]) == {Found.IN_STEP: 1}
    assert await one(pool, "select scope from reconcile_run") == "some"
    assert await one(pool, "select count(*) from repo where checked_at is not null") == 1


async def test_t16_what_came_by_the_stream_is_counted_by_the_hour(net: Net, pool: Pool, tools: Tools) -> None:
    await PulseCounter(pool).once()
    ana, ben = await indexed(net, pool, tools, "ana", "ben")
    assert await PulseCounter(pool).once() == 2
    assert await PulseCounter(pool).once() == 0
    async with ingesting(net, pool, tools):
        net.write(ana, "create", POST, "p1", {"$type": POST, "text": "not ours"})
        net.write(ben, "delete", TRACK, R1)
        await committed(pool, net)
    assert await PulseCounter(pool).once() == 1
    assert await one(pool, "select sum(records) from pulse") == 3
    async with pool.connection() as conn:
        found = (await health.ask(conn)).pulse
    assert found is not None
    assert found.records == 3
    assert found.silent_s is not None
    assert found.silent_s < 60


async def test_proofs_of_versions_that_are_gone_are_swept(net: Net, pool: Pool, tools: Tools) -> None:
    [ana] = await indexed(net, pool, tools, "ana")
    async with ingesting(net, pool, tools):
        net.write(ana, "update", TRACK, R1, track("Two"))
        net.write(ana, "create", TRACK, R2, track("Three"))
        net.write(ana, "delete", TRACK, R2)
        await committed(pool, net)
    assert await one(pool, "select count(*) from commit_proof") > 1
    await reconciler(pool, tools).once()
    assert await one(pool, "select count(*) from commit_proof") == 1
    assert await one(pool, "select count(*) from commit_proof p join record using (repo_id, rev)") == 1
