"""A real network under load, read and answered by real processes: the index is what the network says."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Any

import psycopg
import pytest

from tests.acceptance.service import Answers, cursors
from tests.acceptance.world import World
from tests.devnet.compare import (
    Counts,
    departures,
    differences,
    indexed_counts,
    indexed_records,
    listed_records,
    planned_validity,
    recount,
)
from tests.devnet.drive import Drive
from tests.devnet.load import BSKY_PROFILE, Plan, make_plan
from tests.devnet.network import Account, Listed
from tests.devnet.records import tid
from tests.devnet.sound import melody

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(400)]

NS = "fm.plyr"
ACCOUNTS = 24
OUTSIDERS = 2
OPERATIONS = 2000
SAMPLES = 40


async def test_after_a_mixed_load_the_index_is_what_the_network_says(
    world: World, measured: Callable[[str], None]
) -> None:
    net = world.net
    accounts = await net.accounts([f"artist{i}" for i in range(ACCOUNTS)])
    blobs = {i: await net.upload_blob(accounts[i], melody([220 + 20 * i]), "audio/wav") for i in range(6)}
    plan = make_plan(
        [account.did for account in accounts], OPERATIONS, seed=4, outsiders=OUTSIDERS, blobs=blobs
    )
    drive = Drive(net, accounts, plan, steps_per_s=30)
    behind: list[int] = []
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(watch_lag(world, behind))
        await drive.run()
        watch.cancel()
    started = time.monotonic()
    await world.caught_up()
    lag_s = time.monotonic() - started
    expect_traps(plan, drive)

    listed = await listed_records(net, accounts, NS)
    assert departures(plan, listed, NS) == []
    validity = planned_validity(plan)
    expected = {uri: (record.cid, validity[uri]) for uri, record in listed.items()}
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        assert differences(await indexed_records(conn), expected) == []
        valid = [record for uri, record in listed.items() if validity[uri]]
        counts = recount(valid, NS)
        assert differences(await indexed_counts(conn), counts) == []
        tracked = {did for (did,) in await (await conn.execute("select did from repo")).fetchall()}
        assert tracked == {account.did for account in accounts[: ACCOUNTS - OUTSIDERS]}
        rejected = await (await conn.execute("select reason, detail from rejected_event")).fetchall()
        assert rejected == []
        states = await (await conn.execute("select state, count(*) from repo group by 1")).fetchall()

    await expect_answers(world.answers, accounts, valid, counts)
    measured(
        f"load: {drive.done} writes in {len(plan.steps)} requests by {ACCOUNTS} accounts"
        f" in {drive.seconds:.1f} s ({drive.done / drive.seconds:.0f}/s),"
        f" committed {lag_s * 1000:.0f} ms after the last (at most {max(behind)} events behind meanwhile);"
        f" {len(listed)} records, {len(listed) - len(valid)} of them invalid,"
        f" {len(counts)} tracks with counts; repos {dict(states)}"
    )


async def watch_lag(world: World, behind: list[int]) -> None:
    """Notes, during the load, how many events are not yet committed."""
    while True:
        newest = [await world.net.last_seq(pds.index) for pds in world.net.pds]
        seen = await cursors(world.dsn)
        behind.append(sum(newest) - sum(min(seen.get(p.source, 0), newest[p.index]) for p in world.net.pds))
        await asyncio.sleep(1)


def expect_traps(plan: Plan, drive: Drive) -> None:
    """That the load was what it claims to be."""
    assert drive.done == plan.operations >= OPERATIONS
    actions = Counter(write.action for step in plan.steps for write in step.writes)
    assert min(actions[each] for each in ("create", "update", "delete")) >= 100
    for trap in (
        "double like",
        "delete like",
        "delete track",
        "re-create",
        "update to invalid",
        "back to valid",
    ):
        assert plan.features[trap] >= 5, trap
    early = across = 0
    for (actor, collection, rkey), write in plan.final.items():
        if collection == f"{NS}.like" and write.valid and write.record is not None:
            subject = write.record["subject"]["uri"]
            rev = drive.first_rev[f"at://{plan.dids[actor]}/{collection}/{rkey}"]
            early += rev < drive.first_rev.get(subject, "")
            across += plan.dids.index(subject.split("/")[2]) % 2 != actor % 2
    assert early >= 5, "likes that came before their track"
    assert across >= 50, "likes of tracks on the other PDS"


async def expect_answers(
    answers: Answers, accounts: Sequence[Account], valid: Sequence[Listed], counts: dict[str, Counts]
) -> None:
    """That every valid record is answered as it is by each query that should show it, and nothing else is."""
    handles = {account.did: account.handle for account in accounts}
    by_kind: dict[str, dict[str, Listed]] = {}
    for record in valid:
        by_kind.setdefault(record.collection, {})[record.uri] = record
    tracks = by_kind[f"{NS}.track"]

    def seen(views: Sequence[dict[str, Any]]) -> dict[str, Any]:
        found = {view["uri"]: (view["cid"], view["record"]) for view in views}
        assert len(found) == len(views), "a view was repeated"
        return found

    def wanted(records: dict[str, Listed]) -> dict[str, Any]:
        return {uri: (record.cid, record.value) for uri, record in records.items()}

    latest = await answers.all(f"{NS}.feed.getLatest", "tracks")
    assert differences(seen(latest), wanted(tracks)) == []
    names = {
        record.uri.split("/")[2]: record.value.get("displayName")
        for record in by_kind.get(BSKY_PROFILE, {}).values()
    }
    for view in latest:
        count = counts.get(view["uri"], Counts())
        assert (view["stats"]["likes"], view["stats"]["comments"]) == (count.likes, count.comments)
        did = view["uri"].split("/")[2]
        author = view["author"]
        assert (author["did"], author["handle"], author.get("displayName")) == (
            did,
            handles[did],
            names.get(did),
        )

    uris = sorted(tracks)
    for i in range(0, len(uris), 50):
        page = await answers.good(f"{NS}.feed.getTracks", uris=uris[i : i + 50])
        assert [view["uri"] for view in page["tracks"]] == uris[i : i + 50]

    limit = asyncio.Semaphore(8)

    async def expect_track(uri: str) -> None:
        async with limit:
            about = {u: r for u, r in by_kind[f"{NS}.comment"].items() if r.value["subject"]["uri"] == uri}
            comments = await answers.all(f"{NS}.feed.getComments", "comments", uri=uri)
            assert differences(seen(comments), wanted(about)) == []
            likers = {
                record.uri.split("/")[2]
                for record in by_kind[f"{NS}.like"].values()
                if record.value["subject"]["uri"] == uri
            }
            likes = await answers.all(f"{NS}.feed.getLikes", "likes", uri=uri)
            assert {like["actor"]["did"] for like in likes} == likers

    async def expect_account(account: Account) -> None:
        async with limit:
            own = {uri: r for uri, r in tracks.items() if uri.startswith(f"at://{account.did}/")}
            shown = await answers.all(f"{NS}.feed.getActorTracks", "tracks", actor=account.did)
            assert differences(seen(shown), wanted(own)) == []
            lists = {
                uri: r for uri, r in by_kind[f"{NS}.list"].items() if uri.startswith(f"at://{account.did}/")
            }
            shown = await answers.all(f"{NS}.graph.getActorLists", "lists", actor=account.handle)
            assert differences(seen(shown), wanted(lists)) == []

    insiders = accounts[: ACCOUNTS - OUTSIDERS]
    await asyncio.gather(*map(expect_track, uris), *map(expect_account, insiders))
    for outsider in accounts[ACCOUNTS - OUTSIDERS :]:
        status, _ = await answers.get(f"{NS}.actor.getProfile", actor=outsider.did)
        assert status in (400, 404)


@pytest.mark.alone
async def test_a_new_track_is_answered_at_once(world: World, measured: Callable[[str], None]) -> None:
    artist, other = await world.net.accounts(["fresh", "fresher"])
    taken_ms: list[float] = []
    for i in range(SAMPLES):
        author = (artist, other)[i % 2]
        rkey = tid(1_770_000_000_000_000 + i)
        record = {
            "title": f"Fresh {i}",
            "artist": "Fresh",
            "fileType": "mp3",
            "audioUrl": "https://audio.example.com/fresh.mp3",
            "createdAt": "2026-03-01T12:00:00.000Z",
        }
        made = await world.net.put(author, f"{NS}.track", rkey, record)
        answered = time.perf_counter()
        async with asyncio.timeout(60):
            while True:
                status, shown = await world.answers.get(f"{NS}.feed.getTrack", uri=made["uri"])
                if status == 200:
                    break
                await asyncio.sleep(0.005)
        assert shown["track"]["record"]["title"] == f"Fresh {i}"
        taken_ms.append((time.perf_counter() - answered) * 1000)
        await asyncio.sleep(0.05)
    p95 = quantiles(taken_ms, n=20)[-1]
    measured(
        f"from PDS answer to XRPC answer, {SAMPLES} tracks: median {median(taken_ms):.0f} ms,"
        f" p95 {p95:.0f} ms, worst {max(taken_ms):.0f} ms"
        f" (the first of each account: {taken_ms[0]:.0f}, {taken_ms[1]:.0f} ms)"
    )
