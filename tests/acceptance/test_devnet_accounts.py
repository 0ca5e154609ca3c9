"""What happens to accounts on their PDS, seen through a running plyr."""

from __future__ import annotations

from typing import Any

import aiohttp
import psycopg
import pytest

from tests.acceptance.service import Answers, until
from tests.acceptance.world import World
from tests.devnet.compare import indexed_records
from tests.devnet.records import tid
from tests.devnet.sound import melody

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(300)]

NS = "fm.plyr"
CLIP = melody([440])


async def test_an_account_that_goes_takes_everything_along_and_brings_it_back(world: World) -> None:
    net, answers = world.net, world.answers
    artist, fan = await net.accounts(["artist", "fan"])
    track = await net.put(artist, f"{NS}.track", tid(1), a_track("Here and Gone"))
    other = await net.put(fan, f"{NS}.track", tid(1), a_track("Always Here"))
    for author, subject in ((fan, track), (artist, other)):
        await net.put(author, f"{NS}.like", tid(2), a_like(subject))
        await net.put(author, f"{NS}.comment", tid(2), a_like(subject) | {"text": "!", "timestampMs": 1})
    await world.caught_up()

    async def shown() -> tuple[set[str], int, int]:
        """Tracks in the feed, and what is counted about the fan's."""
        latest = await answers.all(f"{NS}.feed.getLatest", "tracks")
        stats = (await answers.good(f"{NS}.feed.getTrack", uri=other["uri"]))["track"]["stats"]
        return {view["uri"] for view in latest}, stats["likes"], stats["comments"]

    async def wait_for(state: tuple[set[str], int, int]) -> None:
        async def there() -> bool:
            return await shown() == state

        await until(there, 60, f"the answers to be {state}")

    both = {track["uri"], other["uri"]}
    await wait_for((both, 1, 1))
    await net.call("com.atproto.server.deactivateAccount", artist, body={})
    await wait_for(({other["uri"]}, 0, 0))
    for method, params in (
        ("feed.getTrack", {"uri": track["uri"]}),
        ("feed.getComments", {"uri": track["uri"]}),
        ("feed.getActorTracks", {"actor": artist.did}),
        ("actor.getProfile", {"actor": artist.handle}),
    ):
        status, answer = await answers.get(f"{NS}.{method}", **params)
        assert (status, "error" in answer) == (400, True), f"{method} {params}: {answer}"
    for query in ("Here", "Gone"):
        assert (await answers.good(f"{NS}.feed.searchTracks", q=query))["tracks"] in (
            [],
            [
                view
                for view in await answers.all(f"{NS}.feed.getLatest", "tracks")
                if view["uri"] == other["uri"]
            ],
        )
    assert await answers.all(f"{NS}.feed.getLikes", "likes", uri=other["uri"]) == []

    await net.call("com.atproto.server.activateAccount", artist, data=b"")
    await wait_for((both, 1, 1))


async def test_a_handle_change_is_seen(world: World) -> None:
    net, answers = world.net, world.answers
    artist = await net.account("before")
    await net.put(artist, f"{NS}.track", tid(1), a_track("Same Old Song"))
    await expect_handle(answers, artist.did, artist.handle)
    renamed = artist.handle.replace("before", "after")
    await net.call("com.atproto.identity.updateHandle", artist, body={"handle": renamed})
    await expect_handle(answers, artist.did, renamed)
    assert (await answers.good(f"{NS}.actor.getProfile", actor=renamed))["did"] == artist.did
    status, _ = await answers.get(f"{NS}.actor.getProfile", actor=artist.handle)
    assert status == 400


async def expect_handle(answers: Answers, did: str, handle: str) -> None:
    async def there() -> bool:
        status, profile = await answers.get(f"{NS}.actor.getProfile", actor=did)
        latest = await answers.all(f"{NS}.feed.getLatest", "tracks")
        return status == 200 and {profile["handle"], *(view["author"]["handle"] for view in latest)} == {
            handle
        }

    await until(there, 60, f"the handle to be {handle}")


async def test_a_deleted_track_keeps_its_likes_as_records_but_out_of_sight(world: World) -> None:
    net, answers = world.net, world.answers
    artist, fan = await net.accounts(["artist", "fan"])
    track = await net.put(artist, f"{NS}.track", tid(1), a_track("Short Life"))
    like = await net.put(fan, f"{NS}.like", tid(2), a_like(track))
    await net.put(fan, f"{NS}.comment", tid(2), a_like(track) | {"text": "oh", "timestampMs": 1})
    await world.caught_up()
    assert len(await answers.all(f"{NS}.feed.getActorLikes", "likes", actor=fan.did)) == 1

    await net.delete(artist, f"{NS}.track", tid(1))
    await world.caught_up()
    for method in ("getTrack", "getLikes", "getComments"):
        status, _ = await answers.get(f"{NS}.feed.{method}", uri=track["uri"])
        assert status == 400, method
    assert await answers.all(f"{NS}.feed.getActorLikes", "likes", actor=fan.did) == []
    assert await answers.all(f"{NS}.feed.getTop", "tracks") == []
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        assert like["uri"] in await indexed_records(conn)

    await net.put(artist, f"{NS}.track", tid(1), a_track("Second Life"))
    await world.caught_up()
    view = (await answers.good(f"{NS}.feed.getTrack", uri=track["uri"]))["track"]
    assert (view["record"]["title"], view["stats"]["likes"], view["stats"]["comments"]) == (
        "Second Life",
        1,
        1,
    )


async def test_a_blob_is_heard_where_its_account_lives(world: World) -> None:
    net = world.net
    artist = await net.account("artist", pds=1)
    blob = await net.upload_blob(artist, CLIP, "audio/wav")
    record = a_track("With Audio") | {"audioBlob": blob}
    del record["audioUrl"]
    track = await net.put(artist, f"{NS}.track", tid(1), record)
    await world.caught_up()
    audio = (await world.answers.good(f"{NS}.feed.getTrack", uri=track["uri"]))["track"]["audio"]
    assert audio["mimeType"] == "audio/wav"
    async with aiohttp.ClientSession() as session, session.get(audio["url"]) as answer:
        assert await answer.read() == CLIP


def a_track(title: str) -> dict[str, Any]:
    return {
        "title": title,
        "artist": "A",
        "fileType": "wav",
        "audioUrl": "https://audio.example.com/a.wav",
        "createdAt": "2026-03-01T12:00:00.000Z",
    }


def a_like(subject: dict[str, Any]) -> dict[str, Any]:
    return {
        "subject": {"uri": subject["uri"], "cid": subject["cid"]},
        "createdAt": "2026-03-01T12:00:00.000Z",
    }
