"""What somebody listens to: in the index's words, for five minutes, and nothing of what cannot be seen."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from appview.jobs import house
from appview.jobs.tasks import Task
from appview.rest import shapes
from storage.postgres import make_pool
from tests.integration.appview.player.room import FRONT, Room, detail, places
from tests.integration.mentions import in_tables

TOLD = {
    "track_id": 0, "file_id": "x", "track_name": "A lie", "artist_name": "Liar", "album_name": "Lies",
    "duration_ms": 180_000, "progress_ms": 1000, "is_playing": True, "image_url": "https://evil.test/i.png",
}  # fmt: skip


async def tell(room: Room, key: str, **changes: Any) -> None:
    assert await room.told("POST", "/now-playing/", key, json=TOLD | changes) == {"status": "ok"}


async def shown(room: Room, name: str) -> Any:
    told = await room.told("GET", f"/now-playing/by-handle/{name}.test", server=1)
    msgspec.convert(told, shapes.NowPlaying)
    assert await room.told("GET", f"/now-playing/by-did/{room.names[name]}") == told
    return told


async def nothing(room: Room, name: str) -> bool:
    answers = [
        await room.ask("GET", f"/now-playing/by-handle/{name}.test"),
        await room.ask("GET", f"/now-playing/by-did/{room.names[name]}"),
    ]
    return [(answer.status, answer.body) for answer in answers] == [(204, b"")] * 2


async def test_a_track_of_ours_is_called_as_the_index_calls_it(room: Room) -> None:
    ann = await room.someone("ann")
    id, file_id = room.track(room.person("bob"), "Dawn", album="Day", imageUrl="https://img.test/d.png")
    assert await nothing(room, "ann")
    await tell(room, ann, track_id=id, progress_ms=5)
    assert await shown(room, "ann") == {
        "track_name": "Dawn", "artist_name": "Bob", "album_name": "Day", "duration_ms": 180_000,
        "progress_ms": 5, "is_playing": True, "track_id": id, "file_id": file_id,
        "track_url": f"{FRONT}/track/{id}", "image_url": "https://img.test/d.png",
        "service_base_url": "front.test",
    }  # fmt: skip
    await tell(room, ann, track_id=id, progress_ms=9000)
    assert (await shown(room, "ann"))["progress_ms"] == 9000
    assert await nothing(room, "bob")


async def test_of_what_is_no_track_here_the_players_words_are_shown(room: Room) -> None:
    ann = await room.someone("ann")
    await tell(room, ann, track_id=10**12, track_name="Else\0where", album_name=None, image_url=None)
    told = await shown(room, "ann")
    assert (told["track_name"], told["artist_name"], told["album_name"]) == ("Elsewhere", "Liar", None)


async def test_of_a_track_that_cannot_be_seen_nothing_is_said(room: Room) -> None:
    ann, bob = await room.someone("ann"), room.person("bob")
    id, _ = room.track(bob, "Dawn")
    await tell(room, ann, track_id=id)
    assert (await shown(room, "ann"))["track_name"] == "Dawn"
    await room.rows("update profile set hidden = true where repo_id = %s", bob)
    assert await nothing(room, "ann")
    await room.rows("delete from track where id = %s", id)
    assert await nothing(room, "ann")


async def test_a_pause_an_end_and_a_long_silence_are_nothing(room: Room) -> None:
    ann = await room.someone("ann")
    id, _ = room.track(room.person("bob"), "Dawn")
    await tell(room, ann, track_id=id)
    await tell(room, ann, track_id=id, is_playing=False)
    assert await nothing(room, "ann")
    await tell(room, ann, track_id=id)
    assert await room.told("DELETE", "/now-playing/", ann) == {"status": "ok"}
    assert await room.told("DELETE", "/now-playing/", ann) == {"status": "ok"}
    assert await nothing(room, "ann")
    await tell(room, ann, track_id=id)
    [(left_s,)] = await room.rows("select extract(epoch from until - now())::float from now_playing")
    assert 290 < left_s <= 300
    await room.rows("update now_playing set until = now() - interval '1 second'")
    assert await nothing(room, "ann")
    await tell(room, ann, track_id=id)
    assert (await shown(room, "ann"))["track_id"] == id


async def test_old_words_are_forgotten_by_the_house(room: Room) -> None:
    ann, bob = await room.someone("ann"), await room.someone("bob")
    for key in (ann, bob):
        await tell(room, key)
    await room.rows("update now_playing set until = now() where did = %s", room.names["bob"])
    async with make_pool(room.dsn, max_size=1, name="test") as pool:
        task = Task("playing.forget", house.forget_playing(pool))
        done = await task.run(None)  # type: ignore[arg-type]  # it looks at nothing
    assert done.result == {"players": 1}
    assert await room.rows("select did from now_playing") == [(room.names["ann"],)]


async def test_who_is_unknown_or_hidden_listens_to_nothing(room: Room) -> None:
    await room.someone("ann")
    eve = await room.someone("eve", hidden=True)
    await tell(room, eve)
    for handle in ("eve.test", "nobody.test", "%00"):
        assert detail(await room.ask("GET", f"/now-playing/by-handle/{handle}")) == (404, "user not found")
    for did in (room.names["eve"], "did:plc:nobody", "%00"):
        assert (await room.ask("GET", f"/now-playing/by-did/{did}")).status == 204
    assert (await room.ask("GET", "/now-playing/by-handle/ANN.test")).status == 204


async def test_players_that_all_speak_at_once_are_all_heard(room: Room) -> None:
    """And so are fifty words of one."""
    keys = {f"p{n}": await room.someone(f"p{n}") for n in range(10)}
    id, _ = room.track(room.person("bob"), "Dawn")
    calls = [(key, 10 * n) for n in range(10) for key in keys.values()]
    answers = await asyncio.gather(
        *(
            room.ask(
                "POST", "/now-playing/", key, json=TOLD | {"track_id": id, "progress_ms": at}, server=n % 2
            )
            for n, (key, at) in enumerate(calls)
        )
    )
    assert {answer.status for answer in answers} == {200}
    assert [(await shown(room, name))["track_id"] for name in keys] == [id] * 10


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"track_id": "x"}, "track_id"), ({"track_id": -1}, "track_id"), ({"progress_ms": -1}, "progress_ms"),
        ({"duration_ms": 2**60}, "duration_ms"), ({"track_name": None}, "track_name"),
        ({"track_name": "x" * 1025}, "track_name"), ({"is_playing": "yes"}, "is_playing"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(room: Room, changes: dict[str, Any], where: str) -> None:
    ann = await room.someone("ann")
    answer = await room.ask("POST", "/now-playing/", ann, json=TOLD | changes)
    assert places(answer) == [["body", where]]
    assert await room.rows("select from now_playing") == []


async def test_it_is_for_who_is_signed_in_and_goes_with_the_account(room: Room) -> None:
    for method in ("POST", "DELETE"):
        assert detail(await room.ask(method, "/now-playing/", json=TOLD))[0] == 401
    ann = await room.someone("ann")
    moved = await room.ask("POST", "/now-playing", ann, json=TOLD)
    assert (moved.status, moved.headers["Location"]) == (307, "/now-playing/")
    await tell(room, ann)
    await room.told("DELETE", "/account/", ann, json={"confirmation": "ann.test"})
    assert in_tables(room.dsn, [room.names["ann"]], leave_out=["account_deletion", "outbox"]) == []
