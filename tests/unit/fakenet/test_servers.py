"""The fakes answer as real servers do, and fail as they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest

from firehose.car import BadCar
from firehose.fetch_errors import TimedOut, TooLarge, Unreachable
from firehose.identity import IdentityResolver, IdentityTombstoned
from firehose.keys import PublicKey
from firehose.message import CommitRejected
from firehose.net import GuardedClient, Response
from firehose.repo import read_repo
from lexicons.syntax import Did
from tests.fakenet.pds import (
    DESCRIBE_REPO,
    GET_LATEST_COMMIT,
    GET_REPO,
    GET_REPO_STATUS,
    LIST_REPOS,
    LIST_REPOS_BY_COLLECTION,
    FakePds,
)
from tests.fakenet.plc import FakePlc
from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import FakeRepo
from tests.fakenet.server import CAR_FAULTS, Fault
from tests.fakenet.world import PROFILE, TRACK, WHEN, track

RKEY = "3mpt222222222"


@dataclass
class Scene:
    client: GuardedClient
    pds: FakePds
    ana: FakeRepo

    async def get(self, nsid: str, *, timeout_s: float = 5, **query: str) -> Response:
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        url = f"{self.pds.origin}/xrpc/{nsid}?{parameters}"
        return await self.client.get_bytes(url, max_bytes=10_000_000, timeout_s=timeout_s)

    async def error(self, nsid: str) -> str:
        answer = await self.get(nsid, did=self.ana.did)
        return orjson.loads(answer.body)["error"] if answer.status == 400 else f"status {answer.status}"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    ana = FakeRepo(seed="ana", handle="ana.test")
    ana.write([("create", PROFILE, "self", {"$type": PROFILE, "createdAt": WHEN})])
    ana.write([("create", TRACK, f"{RKEY[:-2]}{n}", track(f"Song {n}")) for n in range(22, 52)])
    async with GuardedClient(allow_loopback=True) as client, FakePds(patience_s=2) as pds:
        pds.host(ana)
        yield Scene(client, pds, ana)


async def test_a_pds_gives_a_repo_that_reads_whole(scene: Scene) -> None:
    answer = await scene.get(GET_REPO, did=scene.ana.did)
    repo = read_repo(answer.body, PublicKey.parse(scene.ana.key.did_key))
    assert (repo.rev, len(repo.records)) == (scene.ana.rev, 31)


async def test_a_pds_says_how_an_account_stands(scene: Scene) -> None:
    assert orjson.loads((await scene.get(GET_REPO_STATUS, did=scene.ana.did)).body) == {
        "did": scene.ana.did,
        "active": True,
        "rev": scene.ana.rev,
    }
    scene.pds.set_status(scene.ana.did, "deactivated")
    assert orjson.loads((await scene.get(GET_REPO_STATUS, did=scene.ana.did)).body) == {
        "did": scene.ana.did,
        "active": False,
        "status": "deactivated",
    }
    assert await scene.error(GET_REPO) == await scene.error(GET_LATEST_COMMIT) == "RepoDeactivated"
    scene.pds.set_status(scene.ana.did, "throttled")
    assert await scene.error(GET_REPO) == "status 200"
    scene.pds.drop(scene.ana.did)
    assert await scene.error(GET_REPO) == await scene.error(GET_REPO_STATUS) == "RepoNotFound"


async def test_a_pds_lists_its_repos_page_by_page_but_not_by_collection(scene: Scene) -> None:
    others = [FakeRepo(seed=n) for n in range(4)]
    for repo in others:
        repo.write([("create", "app.bsky.feed.post", "p", {"$type": "app.bsky.feed.post"})])
        scene.pds.host(repo)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = orjson.loads((await scene.get(LIST_REPOS, timeout_s=5, limit="2", **cursor)).body)
        seen += [each["did"] for each in page["repos"]]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert seen == sorted(scene.pds.repos)
    assert (await scene.get(LIST_REPOS_BY_COLLECTION, collection=TRACK)).status == 501
    described = orjson.loads((await scene.get(DESCRIBE_REPO, repo=scene.ana.did)).body)
    assert described["collections"] == [PROFILE, TRACK]


async def test_a_relay_lists_repos_by_collection_on_the_port_of_its_stream(scene: Scene) -> None:
    accounts = FakePds(collects=True)
    accounts.host(scene.ana)
    async with FakeRelay(listing=accounts.page) as relay:
        url = f"http://localhost:{relay.port}/xrpc/{LIST_REPOS_BY_COLLECTION}?collection="
        found = await scene.client.get_json(url + TRACK, max_bytes=1000, timeout_s=5)
        assert found == {"repos": [{"did": scene.ana.did}]}
        none = await scene.client.get_json(url + "fm.plyr.like", max_bytes=1000, timeout_s=5)
        assert none == {"repos": []}
        assert relay.dials == []


@pytest.mark.parametrize("fault", [f for f in CAR_FAULTS if f is not Fault.STALE])
@pytest.mark.parametrize("request_number", [1, 2])
async def test_a_spoilt_car_does_not_read_as_the_repo_that_was_asked_for(
    scene: Scene, fault: Fault, request_number: int
) -> None:
    if request_number == 2:
        await scene.get(GET_REPO, did=scene.ana.did)
    scene.pds.fail(fault, GET_REPO, scene.ana.did)
    answer = await scene.get(GET_REPO, did=scene.ana.did)
    assert (answer.status, scene.pds.fired[fault]) == (200, 1)
    with pytest.raises((CommitRejected, BadCar)):
        read_repo(answer.body, PublicKey.parse(scene.ana.key.did_key))


async def test_a_stale_host_gives_the_repo_of_a_while_ago(scene: Scene) -> None:
    before = scene.ana.rev
    scene.pds.remember(scene.ana.did)
    scene.ana.write([("delete", TRACK, f"{RKEY[:-2]}22", None)])
    scene.pds.fail(Fault.STALE, GET_REPO)
    old, new = [(await scene.get(GET_REPO, did=scene.ana.did)).body for _ in range(2)]
    assert read_repo(old, None).rev == before
    assert read_repo(new, None).rev == scene.ana.rev


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.HTML_429, 429),
        (Fault.RETRY_AFTER, 429),
        (Fault.UNAVAILABLE, 503),
        (Fault.HTML_200, 200),
    ],
)
async def test_an_answer_that_is_none_fails_only_as_often_as_it_was_told_to(
    scene: Scene, fault: Fault, status: int
) -> None:
    scene.pds.fail(fault, GET_REPO)
    answer = await scene.get(GET_REPO, did=scene.ana.did)
    assert (answer.status, scene.pds.fired[fault]) == (status, 1)
    assert answer.headers.get("Content-Type") != "application/vnd.ipld.car"
    assert answer.headers.get("Retry-After") == ("1" if fault is Fault.RETRY_AFTER else None)
    assert (await scene.get(GET_REPO, did=scene.ana.did)).body == scene.ana.car()


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.CUT, Unreachable), (Fault.SLOW, TimedOut), (Fault.ENDLESS, TooLarge)]
)
async def test_a_body_that_does_not_come_to_its_end_is_no_answer(
    scene: Scene, fault: Fault, error: type[Exception]
) -> None:
    scene.pds.fail(fault, GET_REPO)
    with pytest.raises(error):
        await scene.get(GET_REPO, did=scene.ana.did, timeout_s=1)
    assert scene.pds.fired[fault] == 1


async def test_a_host_that_is_away_closes_without_a_word(scene: Scene) -> None:
    scene.pds.set_away(True)
    with pytest.raises(Unreachable):
        await scene.get(GET_REPO, did=scene.ana.did)
    assert scene.pds.refused > 0
    scene.pds.set_away(False)
    assert (await scene.get(GET_REPO, did=scene.ana.did)).status == 200


async def test_the_directory_says_who_a_did_is_and_that_it_is_given_up(scene: Scene) -> None:
    async with FakePlc() as plc:
        plc.publish(scene.ana, scene.pds.origin)
        resolver = IdentityResolver(
            scene.client, plc.origin, handle_resolvers=[plc.origin], refresh_interval_s=0, negative_ttl_s=0
        )
        doc = await resolver.resolve(Did(scene.ana.did))
        assert (doc.handle, doc.pds, doc.signing_key) == (
            "ana.test",
            scene.pds.origin,
            scene.ana.key.did_key,
        )
        plc.tombstone(scene.ana.did)
        with pytest.raises(IdentityTombstoned):
            await resolver.resolve(Did(scene.ana.did), refresh=True)
