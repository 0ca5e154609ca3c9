"""A queue is one on all devices: whoever writes in place of what they know loses nothing of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import orjson
import pytest

from appview.rest import shapes
from appview.rest.answers import Refused
from appview.rest.queue import file_ids, revisions
from tests.integration.appview.player.room import FRONT, Room, detail, places
from tests.integration.appview.service import Answer
from tests.integration.mentions import in_tables

EMPTY = {
    "track_ids": [], "current_index": 0, "current_track_id": None, "shuffle": False, "original_order_ids": [],
    "auto_advance": True,
}  # fmt: skip


async def write(
    room: Room, key: str, state: Any, match: str | None = None, *, server: int = 0, **headers: str
) -> Answer:
    headers |= {} if match is None else {"If-Match": match}
    return await room.ask("PUT", "/queue/", key, json={"state": state}, headers=headers, server=server)


def good(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    msgspec.convert(answer.json, shapes.Queue)
    assert answer.headers["ETag"] == f'"{answer.json["revision"]}"'
    return answer.json


async def test_a_queue_is_empty_until_it_is_written(room: Room) -> None:
    ann = await room.someone("ann")
    assert good(await room.ask("GET", "/queue/", ann)) == {"state": EMPTY, "revision": 0, "tracks": []}
    assert await room.rows("select from queue") == []
    assert detail(await room.ask("GET", "/queue/")) == (401, "not authenticated - login required")
    assert detail(await room.ask("PUT", "/queue/", json={"state": {}}))[0] == 401
    moved = await room.ask("GET", "/queue", ann)
    assert (moved.status, moved.headers["Location"]) == (307, "/queue/")


async def test_the_state_comes_back_as_it_was_sent_on_every_device(room: Room) -> None:
    ann, bob = await room.someone("ann"), await room.someone("bob")
    state = {"track_ids": ["nonsense", 5, None], "current_index": -3, "mine": {"deep": [1.5, "\0", "ü"]}}
    first = good(await write(room, ann, state))
    assert (first["state"], first["revision"]) == (state | {"auto_advance": True}, 1)
    assert good(await room.ask("GET", "/queue/", ann, server=1)) == first
    assert good(await room.ask("GET", "/queue/", bob))["revision"] == 0
    await room.told("POST", "/preferences/", ann, json={"auto_advance": False})
    assert good(await room.ask("GET", "/queue/", ann))["state"] == state | {"auto_advance": False}
    second = good(await write(room, ann, {"auto_advance": True}))
    assert (second["state"], second["revision"]) == ({"auto_advance": False}, 2)


async def test_tracks_come_with_it_in_its_order_with_all_that_belongs_to_them(room: Room) -> None:
    ann = await room.someone("ann", avatar="https://img.test/ann.png")
    bob = room.person("bob")
    one, file_one = room.track(
        bob, "One", imageUrl="https://img.test/one.png", features=[{"did": room.names["ann"]}]
    )
    two, file_two = room.track(bob, "Two", album="Twos")
    room.track(room.person("eve", hidden=True), "Hidden", audioUrl=f"https://plyr.test/audio/{'e' * 64}")
    # Somebody else has the same sound; the first of them stands for it.
    room.track(room.person("kim"), "Copy", audioUrl=f"https://plyr.test/audio/{file_two}")
    state = {"track_ids": [file_two, file_one, "f" * 64, "e" * 64, file_two], "current_index": 1}
    told = good(await write(room, ann, state))
    assert told["state"] == state | {"auto_advance": True}
    assert [track["id"] for track in told["tracks"]] == [two, one, two]
    assert [track["file_id"] for track in told["tracks"]] == [file_two, file_one, file_two]
    shown = told["tracks"][1]
    assert (shown["title"], shown["artist"], shown["artist_handle"]) == ("One", "Bob", "bob.test")
    assert (shown["image_url"], shown["is_liked"]) == ("https://img.test/one.png", False)
    assert shown["features"][0]["avatar_url"] == "https://img.test/ann.png"
    assert told["tracks"][0]["album"]["title"] == "Twos"


# `A` and `B` stand for tracks that are there.
WRITTEN = [
    '{}', '{"track_ids":[]}', '{"track_ids":"A"}', '{"track_ids":5}', '{"track_ids":{"A":"B"}}',
    '{"track_ids":["A","B","A"]}', '{"current_index":1,"track_ids":["B","A"],"original_order_ids":["A"]}',
    '{"track_ids": ["A", "B"]}', ' { "track_ids" : [ "A" ] } ', '{"track_ids":["A"\n,"B"]}',
    '{"mine":{"track_ids":["B"]},"track_ids":["A"]}', '{"mine":{"track_ids":["A"]},"track_ids":["A"]}',
    '{"mine":{"track_ids":["A"]}}', '{"mine":{"track_ids":["A"]},"track_ids":[]}',
    '{"track_ids":["B"],"track_ids":["A"]}', '{"abcdefgh":["A"],"track_ids": ["A"]}',
    '{"track_ids":["A",5,"B"]}', '{"track_ids":[5,"A"]}', '{"track_ids":["A",null]}', '{"track_ids":[5]}',
    '{"track_ids":["","A"]}', '{"track_ids":["A",""]}', '{"track_ids":[""]}', '{"track_ids":["A,B"]}',
    '{"track_ids":["A]","B"]}', '{"track_ids":["A\\",\\"B"]}', '{"track_ids":["X","A"]}',
    '{"track_ids":[["A"],"B"]}', '{"track_ids":["\\u0000","A"]}', '{"track_ids":["A\\u0062","B"]}',
    '{"mine":"\\"track_ids\\":[\\"B\\"]","track_ids":["A"]}', '{"auto_advance":1,"track_ids":["A"]}',
]  # fmt: skip


async def test_what_is_in_a_queue_is_the_same_however_it_is_written(room: Room) -> None:
    """Queues from before states were written in one way."""
    ann, bob = await room.someone("ann"), room.person("bob")
    files = [room.track(bob, title)[1] for title in ("One", "Two")]
    for written in WRITTEN:
        state = written.replace("A", files[0]).replace("B", files[1])
        await room.rows("delete from queue")
        await room.rows(
            "insert into queue (did, state, revision) values (%s, %s, 1)", room.names["ann"], state
        )
        told, meant = good(await room.ask("GET", "/queue/", ann)), orjson.loads(state)
        assert told["state"] == meant | {"auto_advance": True}, written
        shown = [track["file_id"] for track in told["tracks"]]
        assert shown == [id for id in file_ids(meant) if id in files], written
        again = good(await write(room, ann, meant))
        assert good(await room.ask("GET", "/queue/", ann)) == again
        assert (again["state"], again["tracks"]) == (told["state"], told["tracks"])


async def test_only_the_revision_that_is_known_is_replaced(room: Room) -> None:
    ann = await room.someone("ann")
    text = (
        "queue state conflict: state has been modified by another client. "
        "please fetch the latest state and retry."
    )
    assert detail(await write(room, ann, {"n": 0}, '"1"')) == (409, text)
    assert good(await write(room, ann, {"n": 1}, '"0"'))["revision"] == 1
    assert detail(await write(room, ann, {"n": 2}, '"0"')) == (409, text)
    assert good(await write(room, ann, {"n": 3}, '"1"', server=1))["revision"] == 2
    assert good(await write(room, ann, {"n": 4}, 'W/"2"'))["revision"] == 3
    assert good(await write(room, ann, {"n": 5}, "3"))["revision"] == 4
    assert good(await write(room, ann, {"n": 6}, '"2", "4"'))["revision"] == 5
    assert good(await write(room, ann, {"n": 7}, "*"))["revision"] == 6
    assert good(await write(room, ann, {"n": 8}))["revision"] == 7
    assert detail(await write(room, ann, {"n": 9}, '"6"')) == (409, text)
    assert good(await room.ask("GET", "/queue/", ann))["state"]["n"] == 8
    malformed = "invalid If-Match header format (expected quoted integer)"
    for match in ('"x"', "x", '""', '"-1"', '"1', '"1" "2"', 'w/"1"', '"' + "9" * 19 + '"'):
        assert detail(await write(room, ann, {}, match)) == (400, malformed)


async def test_of_fifty_at_once_with_the_same_revision_one_is_written(room: Room) -> None:
    """Through two processes, from the first write on; and all fifty are written by who reads again."""
    ann = await room.someone("ann")
    for revision in range(2):
        answers = await asyncio.gather(
            *(write(room, ann, {"n": n}, f'"{revision}"', server=n % 2) for n in range(50))
        )
        assert sorted(answer.status for answer in answers) == [200] + [409] * 49
        [written] = [good(answer) for answer in answers if answer.status == 200]
        assert written["revision"] == revision + 1
        assert good(await room.ask("GET", "/queue/", ann)) == written

    async def add(n: int) -> None:
        while True:
            held = good(await room.ask("GET", "/queue/", ann, server=n % 2))
            state = {"all": [*held["state"].get("all", []), n]}
            answer = await write(room, ann, state, f'"{held["revision"]}"', server=n % 2)
            if answer.status == 200:
                return
            assert answer.status == 409

    await asyncio.gather(*(add(n) for n in range(50)))
    held = good(await room.ask("GET", "/queue/", ann))
    assert (sorted(held["state"]["all"]), held["revision"]) == (list(range(50)), 52)


async def test_writes_without_a_revision_are_all_counted(room: Room) -> None:
    ann = await room.someone("ann")
    answers = await asyncio.gather(*(write(room, ann, {"n": n}, server=n % 2) for n in range(50)))
    assert sorted(good(answer)["revision"] for answer in answers) == list(range(1, 51))


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"state": null}', b'{"state": [1]}', b'{"state": {"a": 1e999}}', b'{"state": {"a": "\xff"}}',
     b'{"state": {"a": "\\ud800"}}', b'{"state": {"a": ' + b"[" * 1030 + b"]" * 1030 + b"}}", b"[", b"5"],
)  # fmt: skip
async def test_what_is_no_state_is_refused(room: Room, body: bytes) -> None:
    ann = await room.someone("ann")
    [place] = places(await room.ask("PUT", "/queue/", ann, data=body))
    assert place[0] == "body"
    assert await room.rows("select from queue") == []


@pytest.mark.parametrize("levels", [300, 5000])
async def test_a_state_that_no_answer_could_show_is_not_kept(room: Room, levels: int) -> None:
    ann = await room.someone("ann")
    first = good(await write(room, ann, {"current_index": 1}))
    deep = b"[" * levels + b"]" * levels
    refused = await room.ask("PUT", "/queue/", ann, data=b'{"state":{"mine":%b}}' % deep)
    assert (refused.status, good(await room.ask("GET", "/queue/", ann))) == (422, first)
    fits = b"[" * 200 + b"]" * 200
    good(await room.ask("PUT", "/queue/", ann, data=b'{"state":{"mine":%b}}' % fits))


async def test_a_queue_does_not_grow_without_end(room: Room) -> None:
    ann = await room.someone("ann")
    assert detail(await write(room, ann, {"a": "x" * 262_144}))[0] == 413
    bob = room.person("bob")
    files = [room.track(bob, f"Track {n}")[1] for n in range(30)]
    told = good(await write(room, ann, {"track_ids": files * 50, "original_order_ids": files * 50}))
    assert len(told["tracks"]) == 1500


async def test_the_queue_goes_with_the_account(room: Room) -> None:
    ann = await room.someone("ann")
    await write(room, ann, {"n": 1})
    await room.told("DELETE", "/account/", ann, json={"confirmation": "ann.test"})
    assert in_tables(room.dsn, [room.names["ann"]], leave_out=["account_deletion", "outbox"]) == []


async def test_a_frontend_of_another_origin_reads_the_revision(room: Room) -> None:
    ann = await room.someone("ann")
    answer = await room.ask("GET", "/queue/", ann, headers={"Origin": FRONT})
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"].split(", ")
    asked = {
        "Origin": FRONT,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "if-match",
    }
    may = await room.ask("OPTIONS", "/queue/", headers=asked)
    assert "PUT" in may.headers["Access-Control-Allow-Methods"].split(", ")
    assert may.headers["Access-Control-Allow-Headers"] == "if-match"


def test_if_match_is_read_as_it_is_meant() -> None:
    assert revisions([]) is None
    assert revisions([""]) is None
    assert revisions(['"1"', '"2" , W/"3"']) == [1, 2, 3]
    with pytest.raises(Refused):
        revisions(['*, "1"'])


def test_only_what_can_be_a_sound_is_looked_for() -> None:
    assert file_ids({}) == file_ids({"track_ids": "abc"}) == file_ids({"track_ids": [1, "X", "a" * 65]}) == []
    assert file_ids({"track_ids": ["ab", "ab", {}, "0" * 64]}) == ["ab", "ab", "0" * 64]
