"""JSON without proofs: what is read, what is refused, and how its cursor goes, on a real websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest

from firehose import jetstream
from firehose.events import Action, Frame
from firehose.filter import Interest
from firehose.frames import BadFrame
from firehose.message import CommitRejected
from firehose.relay import BadSource, Source, SourceKind, SourceStatus, Timing, parse_source, stream
from lexicons.syntax import Did, Nsid
from tests.fakenet.jetstream import FakeJetstream, account, identity, messages_of
from tests.fakenet.repo import START_US, FakeRepo, frame

NOW_US = START_US + 60_000_000
TRACK, LIKE = Nsid("fm.plyr.track"), Nsid("fm.plyr.like")
QUICK = Timing(open_timeout_s=10, pause_min_s=0.01, pause_base_s=0.02, pause_cap_s=0.05)
SONG: dict[str, Any] = {
    "$type": "fm.plyr.track",
    "title": "Grüße 🎵",
    "artist": "somebody",
    "audioUrl": "https://example.com/a.mp3",
    "fileType": "mp3",
    "duration": -(2**53),
    "nested": {"": [None, True, {"b": 1, "aa": 2}], "bytes": b"\x00\xff"},
    "createdAt": "2026-07-04T12:00:00Z",
}


def told(action: str = "create", collection: str = TRACK, seed: object = 1) -> dict[str, Any]:
    repo = FakeRepo(seed=seed)
    body = repo.write([("create", collection, "3k2aaaaaaaaaa", SONG | {"$type": collection})])
    if action == "delete":
        body = repo.write([("delete", collection, "3k2aaaaaaaaaa", None)])
    return messages_of(body, START_US)[0]


def raw(message: object) -> bytes:
    return orjson.dumps(message)


def interest(*tracked: str) -> Interest:
    return Interest(frozenset({TRACK, LIKE}), {Did(did) for did in tracked})


def sifted(message: object, *tracked: str) -> Frame | None:
    _, found = jetstream.sift(interest(*tracked), raw(message))
    assert found is None or isinstance(found, Frame)
    return found


# -- records


def test_a_record_comes_out_as_the_bytes_that_its_author_signed() -> None:
    message = told()
    found = sifted(message)
    assert found is not None
    event = jetstream.unproven_of(found.body, NOW_US)
    assert (event.did, event.rev, event.seq) == (message["did"], message["commit"]["rev"], START_US)
    assert (event.op.action, event.op.collection, event.op.rkey) == (Action.CREATE, TRACK, "3k2aaaaaaaaaa")
    repo = FakeRepo(seed=1)
    repo.write([("create", TRACK, "3k2aaaaaaaaaa", SONG)])
    assert event.op.block in repo.blocks.values()
    assert event.op.cid == message["commit"]["cid"]
    assert event.time == "2026-07-04T14:38:08.000Z"


def test_a_delete_has_neither_cid_nor_bytes() -> None:
    found = sifted(told("delete"))
    assert found is not None
    event = jetstream.unproven_of(found.body, NOW_US)
    assert (event.op.action, event.op.cid, event.op.block) == (Action.DELETE, None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"record": {"$type": TRACK, "title": "another"}},
        {"record": {"$type": TRACK, "title": "another", "extra": 1.5}},
        {"record": None},
        {"record": []},
        {"cid": None},
        {"cid": "bafyreib2rxk3rw6putwbcnhlzrfbdhqdpzrapmnyvtrrw5hnrcixwkmnae"},
        {"operation": "resurrect"},
        {"collection": "not an nsid"},
        {"rkey": ".."},
        {"rev": "yesterday"},
        {"rev": "zzzzzzzzzzzzz"},
        {"rev": "7zzzzzzzzzzzz"},
    ],
)
def test_what_does_not_fit_together_is_refused_with_a_reason(change: dict[str, Any]) -> None:
    message = told()
    message["commit"] |= change
    found = sifted(message, message["did"])
    assert found is not None
    with pytest.raises(CommitRejected) as refused:
        jetstream.unproven_of(found.body, NOW_US)
    assert refused.value.detail


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"did": "did:plc:a"}',
        b'{"did": 1, "time_us": 1, "kind": "commit"}',
        b'{"did": "did:plc:a", "time_us": -1, "kind": "commit"}',
        b'{"did": "did:plc:a", "time_us": 9223372036854775808, "kind": "commit"}',
        b'{"did": "did:plc:a", "time_us": 1, "kind": "\xff"}',
        b'{"did": "did:plc:a", "time_us": 1, "kind": "commit", "commit": {"rev": 1}}',
        b'{"did": "did:plc:tracked", "time_us": 1, "kind": "commit"}',
        b'{"did": "did:plc:tracked", "time_us": 1, "kind": "account", "account": {"active": "yes"}}',
        b'{"did": "did:plc:a", "time_us": 1, "kind": "commit", "commit": ' + b"[" * 5000,
    ],
)
def test_what_is_no_message_is_a_bad_frame_and_nothing_worse(text: bytes) -> None:
    with pytest.raises(BadFrame):
        jetstream.sift(interest("did:plc:tracked"), text)


def test_a_kind_of_tomorrow_is_passed_over() -> None:
    seq, found = jetstream.sift(
        interest("did:plc:a"), raw({"did": "did:plc:a", "time_us": 5, "kind": "sync"})
    )
    assert (seq, found) == (5, None)


# -- what concerns us


def test_t28_only_exactly_our_collections_are_ours() -> None:
    assert sifted(told(collection="fm.plyr.track")) is not None
    for near in ("fm.plyr.trackfoo", "fm.plyr.tracks", "fm.plyr.dev.track", "fm.plyr", "app.bsky.feed.post"):
        message = told(collection="fm.plyr.track")
        message["commit"]["collection"] = near
        assert sifted(message) is None


def test_what_a_tracked_account_does_always_concerns_us() -> None:
    did = FakeRepo(seed=1).did
    post = told()
    post["commit"]["collection"] = "app.bsky.actor.profile"
    for message in (post, identity(did, 7), account(did, 8, active=False, status="deactivated")):
        assert sifted(message) is None
        assert sifted(message, did) is not None


def test_words_about_accounts_come_out_as_a_relay_would_say_them() -> None:
    found = sifted(account("did:plc:a", 8, active=False, status="takendown"), "did:plc:a")
    assert found == Frame(
        "#account",
        {
            "did": "did:plc:a",
            "seq": 8,
            "time": "1970-01-01T00:00:00.000Z",
            "active": False,
            "status": "takendown",
        },
    )
    found = sifted(identity("did:plc:a", 8), "did:plc:a")
    assert found is not None
    assert (found.type, found.body["handle"]) == ("#identity", None)


def test_a_message_of_either_kind_of_source_can_be_read_again() -> None:
    assert jetstream.read_any(raw(told())).type == "#unproven"  # type: ignore[union-attr]
    body = FakeRepo(seed=1).write([("create", TRACK, "3k2aaaaaaaaaa", SONG)])
    assert jetstream.read_any(frame("#commit", body, 1)).type == "#commit"  # type: ignore[union-attr]


# -- the source


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("jetstream+wss://jetstream2.us-west.bsky.network", "wss://jetstream2.us-west.bsky.network"),
        ("JETSTREAM+wss://jetstream2.us-west.bsky.network/", "wss://jetstream2.us-west.bsky.network"),
        ("jetstream+jetstream2.us-west.bsky.network", "wss://jetstream2.us-west.bsky.network"),
        ("wss://jetstream2.us-west.bsky.network/subscribe", "wss://jetstream2.us-west.bsky.network"),
        ("jetstream+ws://localhost:6008/subscribe", "ws://localhost:6008"),
    ],
)
def test_a_jetstream_is_told_by_prefix_or_path(text: str, url: str) -> None:
    assert parse_source(text) == Source(f"{url}/subscribe", SourceKind.JETSTREAM)


@pytest.mark.parametrize(
    "text",
    ["jetstream+", "jetstream+ws://example.com", "jetstream+wss://a.example/xrpc/x", "jetstreamwss://a.b"],
)
def test_what_is_no_jetstream_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadSource):
        parse_source(text)


@asynccontextmanager
async def reading(
    server: FakeJetstream, cursor: int | None, collections: set[Nsid], frames: list[bytes]
) -> AsyncIterator[SourceStatus]:
    source = parse_source(server.url)
    status = SourceStatus(source.url)
    saved = [cursor]

    async def read() -> None:
        chunks = stream(source, lambda: saved[0], status, collections=collections, timing=QUICK)
        async with aclosing(chunks):
            async for chunk in chunks:
                frames.extend(chunk)
                saved[0] = orjson.loads(chunk[-1])["time_us"]

    task = asyncio.create_task(read())
    try:
        yield status
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(frames: list[bytes], count: int) -> None:
    async with asyncio.timeout(30):
        while len(frames) < count:
            await asyncio.sleep(0.005)


async def test_texts_are_read_from_the_cursor_on_by_exact_collection_and_after_a_cut_from_the_last() -> None:
    frames: list[bytes] = []
    async with FakeJetstream() as server:
        server.tell([identity("did:plc:a", n) for n in range(1, 6)])
        async with reading(server, 3, {TRACK, LIKE}, frames) as status:
            await until(frames, 3)
            assert server.cut() == 1
            server.tell([identity("did:plc:a", 6)])
            await until(frames, 5)
            server.tell([told(), told(collection="fm.plyr.trackfoo")])
            await until(frames, 6)
            assert (status.strays, status.connects) == (0, 2)
    assert [orjson.loads(text)["time_us"] for text in frames] == [3, 4, 5, 5, 6, START_US]
    assert [dial.cursor for dial in server.dials] == [3, 5]
    assert server.dials[0].path == "/subscribe"
    assert server.dials[0].collections == {"fm.plyr.track", "fm.plyr.like"}


async def test_a_large_record_and_many_small_ones_come_whole() -> None:
    frames: list[bytes] = []
    sizes = [10, 100, 200, 70_000, 1_000_000, 3, 900_000, 65_536]
    async with FakeJetstream() as server, reading(server, 0, {TRACK}, frames):
        server.tell([identity("did:plc:a", n, "x" * size) for n, size in enumerate(sizes)])
        await until(frames, len(sizes))
    assert [len(orjson.loads(text)["identity"]["handle"]) for text in frames] == sizes


def test_a_jetstream_that_forgot_what_came_after_our_cursor_is_noticed() -> None:
    hour_us = 3_600_000_000
    assert jetstream.lost(NOW_US, NOW_US + hour_us)
    assert not jetstream.lost(NOW_US, NOW_US + 1_000_000)
    assert not jetstream.lost(None, NOW_US)
    assert not jetstream.lost(0, NOW_US)


async def test_a_chunk_is_held_back_until_others_had_their_chance() -> None:
    now_s = 100.0

    async def chunks() -> AsyncGenerator[list[bytes], None]:
        for made_s in (100.0, 90.0, 500.0):  # just now, long ago, and a clock that runs ahead
            yield [raw(identity("did:plc:a", int(made_s * 1_000_000)))]
        yield [b"no message"]

    loop = asyncio.get_running_loop()
    waits: list[float] = []
    before = loop.time()
    async for _ in jetstream.held_back(chunks(), 0.4, lambda: now_s):
        waits.append(loop.time() - before)
        before = loop.time()
    assert [wait > 0.39 for wait in waits] == [True, False, True, True]
