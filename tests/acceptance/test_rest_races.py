"""Everybody at once over two `plyr web` on one database: no failure, no lost change, and counters that are
what a recount gives."""

from __future__ import annotations

import asyncio
import io
import random
import wave
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from appview.auth.keyring import KeyFile, KeyRing
from appview.own_comments import MOST
from lexicons.syntax import Did
from tests.acceptance.service import Program, free_port, until, web
from tests.conftest import new_database
from tests.fakenet.home import HomePds
from tests.fakenet.world import COMMENT, LIKE, TRACK, track
from tests.integration.appview.service import Answer
from tests.integration.appview.social.square import RKEY, Square
from tests.integration.mentions import in_tables
from tests.music import music

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def square(
    postgres_dsn: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Square]:
    folder = tmp_path_factory.mktemp("races")
    with new_database(postgres_dsn, migrated_template) as dsn:
        async with HomePds() as pds, aiohttp.ClientSession() as http:
            environ = {
                "PLYR_DATABASE_URL": dsn,
                "PLYR_DATA_DIR": str(folder / "data"),
                "PLYR_DEV_LOOPBACK": "true",
                "PLYR_PLC_URL": pds.url,
                "PLYR_PLAYS_PER_ADDRESS": "100000",
            }
            async with (
                web(environ, folder / "one.log") as one,
                web(environ | {"PLYR_PORT": str(free_port())}, folder / "two.log") as two,
                Program("worker", environ, folder / "worker.log"),
            ):
                ring = KeyRing(KeyFile(folder / "data" / "keys" / "encryption.keys"))
                square = Square([one.origin, two.origin], dsn, pds, ring, http)
                await square.begin()
                yield square


@pytest.fixture
def rng() -> random.Random:
    return random.Random(6)


def statuses(answers: Sequence[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


async def another_track(square: Square, rkey: str) -> None:
    await square.echo(square.pds.write(square.ana.did, "create", TRACK, rkey, track(f"Track {rkey}")))
    [(square.track_id,)] = await square.rows("select id from track where rkey = %s", rkey)


async def people(square: Square, *names: str) -> list[Did]:
    return [await square.person(name) for name in names]


async def test_a_like_given_fifty_times_is_one_record(square: Square) -> None:
    [bob] = await people(square, "bob")
    answers = await asyncio.gather(*(square.like(bob, at=n) for n in range(60)))
    assert statuses(answers) == {200: 60}
    assert sum("atproto_uri" in answer.json for answer in answers) == 1
    assert len(square.pds.records(bob, LIKE)) == 1
    assert await square.counted() == (1, 0)


async def test_likes_and_unlikes_of_one_track(square: Square, rng: random.Random) -> None:
    await another_track(square, "3mpt222222224")
    everybody = await people(square, "kim", "lea", "max")
    calls = [(who, do) for who in everybody for do in (square.like, square.unlike) for _ in range(15)]
    rng.shuffle(calls)
    answers = await asyncio.gather(*(do(who, at=n) for n, (who, do) in enumerate(calls)))
    assert statuses(answers) == {200: 90}
    there = {who for who in everybody if square.pds.records(who, LIKE)}
    assert all(len(square.pds.records(who, LIKE)) <= 1 for who in everybody)
    assert await square.counted() == (len(there), 0)
    found = 'select did from "like" l join repo r on r.id = l.repo_id where track_id = %s'
    assert {did for (did,) in await square.rows(found, square.track_id)} == there
    # The firehose brings it all, in any order.
    commits = [commit for who in everybody for commit in square.pds.commits[who]]
    rng.shuffle(commits)
    for commit in commits:
        await square.echo(commit)
    assert await square.counted() == (len(there), 0)
    assert {did for (did,) in await square.rows(found, square.track_id)} == there
    await asyncio.gather(*(square.unlike(who, at=n) for n, who in enumerate(everybody)))
    assert await square.counted() == (0, 0)


async def test_comments_that_say_the_same(square: Square) -> None:
    await another_track(square, "3mpt222222225")
    [nan] = await people(square, "nan")
    answers = await asyncio.gather(*(square.comment(nan, "yes", 7, at=n) for n in range(50)))
    assert statuses(answers) == {200: MOST, 400: 50 - MOST}
    ids = {answer.json["id"] for answer in answers if answer.status == 200}
    assert len(ids) == len(square.pds.records(nan, COMMENT)) == MOST
    assert {each["id"] for each in (await square.comments())["comments"]} == ids
    assert await square.counted() == (0, MOST)


async def test_edits_of_one_comment(square: Square) -> None:
    await another_track(square, "3mpt222222226")
    [ole] = await people(square, "ole")
    id = (await square.comment(ole)).json["id"]
    path = f"/tracks/comments/{id}"
    answers = await asyncio.gather(
        *(square.ask("PATCH", path, ole, at=n, json={"text": f"n{n}"}) for n in range(50))
    )
    assert statuses(answers) == {200: 50}
    assert {answer.json["id"] for answer in answers} == {id}
    assert len(square.pds.commits[ole]) == 51
    [record] = square.pds.records(ole, COMMENT).values()
    assert [each["text"] for each in (await square.comments())["comments"]] == [record["text"]]


async def test_edits_of_one_track(square: Square) -> None:
    """What is beyond the limit on changes is told so; every other change is in the record's history."""
    ana = square.ana.did
    [(id,)] = await square.rows("select id from track where rkey = %s", RKEY)
    before = len(square.pds.commits[ana])

    async def edit(n: int) -> Answer:
        form = aiohttp.FormData({"title": f"T{n}"}, default_to_multipart=True)
        return await square.ask("PATCH", f"/tracks/{id}", ana, at=n, data=form)

    answers = await asyncio.gather(*(edit(n) for n in range(50)))
    found = statuses(answers)
    assert found.keys() <= {200, 429}
    assert found[200] >= 20
    assert len(square.pds.commits[ana]) == before + found[200]
    record = square.pds.records(ana, TRACK)[RKEY]
    assert record == track("One") | {"title": record["title"]}
    assert record["title"] in {f"T{n}" for n, answer in enumerate(answers) if answer.status == 200}
    shown = (await square.ask("GET", f"/tracks/{id}")).json
    assert (shown["title"], shown["atproto_record_uri"]) == (record["title"], square.ana.uri(TRACK, RKEY))


async def test_plays_of_one_track(square: Square) -> None:
    await another_track(square, "3mpt222222227")
    path = f"/tracks/{square.track_id}/play"

    async def play(n: int, agent: str) -> Answer:
        url = square.urls[n % 2] + path
        async with aiohttp.ClientSession(headers={"User-Agent": agent}) as http, http.post(url) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    agents = [f"player {n}" for n in range(60)] + ["the same"] * 50
    answers = await asyncio.gather(*(play(n, agent) for n, agent in enumerate(agents)))
    assert statuses(answers) == {200: 110}
    assert max(answer.json["play_count"] for answer in answers) == 61
    [(plays, rows)] = await square.rows(
        "select plays, (select count(*) from play p where p.track_id = s.id) from track_stat s where id = %s",
        square.track_id,
    )
    assert plays == rows == 61


async def test_writes_of_one_queue(square: Square) -> None:
    [rob] = await people(square, "rob")

    async def put(n: int, **headers: str) -> Answer:
        url, key = square.urls[n % 2] + "/queue/", {"Authorization": f"Bearer {square.keys[rob]}"}
        body = {"state": {"track_ids": [], "current_index": n}}
        async with square.http.put(url, json=body, headers=key | headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    answers = await asyncio.gather(*(put(n) for n in range(50)))
    assert statuses(answers) == {200: 50}
    assert sorted(answer.json["revision"] for answer in answers) == list(range(1, 51))
    answers = await asyncio.gather(*(put(n, **{"If-Match": '"50"'}) for n in range(50)))
    assert statuses(answers) == {200: 1, 409: 49}
    [written] = [answer.json for answer in answers if answer.status == 200]
    assert (await square.ask("GET", "/queue/", rob)).json == written
    assert written["revision"] == 51


def sound(seed: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes((music(0.5, channels=1, seed=seed) * 32767).astype(np.int16).tobytes())
    return out.getvalue()


async def test_an_account_that_is_deleted_while_it_uploads_leaves_nothing(square: Square) -> None:
    [pia] = await people(square, f"pia{len(square.keys)}")  # another one when the test is run again

    async def upload(n: int) -> Answer:
        form = aiohttp.FormData({"title": f"Upload {n}"}, default_to_multipart=True)
        form.add_field("file", io.BytesIO(sound(n)), filename="a.wav", content_type="audio/wav")
        return await square.ask("POST", "/tracks/", pia, at=n, data=form)

    async def leave() -> Answer:
        await asyncio.sleep(0.3)
        wish = {"confirmation": pia, "delete_atproto_records": True}
        return await square.ask("DELETE", "/account/", pia, json=wish)

    # One is a track already when she leaves, and others are on their way to be.
    assert (await upload(99)).status == 200

    async def published() -> bool:
        return len(square.pds.records(pia, TRACK)) == 1

    await until(published, 60, "the first upload to be a track")
    await square.like(pia)
    left, *answers = await asyncio.gather(leave(), *(upload(n) for n in range(60)))
    assert left.status == 200, left.body
    assert statuses(answers).keys() <= {200, 401, 403, 429}
    assert left.json["deleted"]["tracks"] >= 1
    assert left.json["deleted"]["likes"] == 1
    assert left.json["deleted"]["r2_objects"] >= 1

    async def erased() -> bool:
        return await square.rows("select step from account_deletion where did = %s", pia) == [("files",)]

    await until(erased, 60, "the account to be erased")
    assert square.pds.records(pia, TRACK) == square.pds.records(pia, LIKE) == {}
    # The last step, with the archive, is another process's.
    assert in_tables(square.dsn, [pia], leave_out=["outbox", "account_deletion", "track_uri"]) == []

    async def unstaged() -> bool:
        return await square.rows("select name from staged_upload") == []

    await until(unstaged, 30, "what was on its way in to be dropped")
    assert await square.rows("select kind, owner from blob_owner where kind in ('track', 'job')") == []
    assert (await square.like(pia)).status == 401
