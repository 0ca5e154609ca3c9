"""The live feed: every message above the cursor, in order, once, or an end with a reason."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psycopg
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from appview.subscriber import LiveConfig
from lexicons.catalog import Catalog
from lexicons.datamodel import cid_of, encode
from storage.outbox import Entry, Kind
from tests.integration.appview.listener import (
    ANN,
    BOB,
    EVE,
    LIKE,
    TRACK,
    account,
    happen,
    identity,
    listening,
    prune,
    record,
    takedown,
)
from tests.integration.appview.service import Server, served

Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start(database: str, catalog: Catalog) -> AsyncIterator[Start]:
    """Starts the real application with other bounds of the live feed."""
    async with AsyncExitStack() as stack:

        async def serve(**bounds: Any) -> Server:
            return await stack.enter_async_context(served(database, catalog, live=LiveConfig(**bounds)))

        yield serve


async def test_who_leaves_before_it_is_opened_is_no_failure_of_ours(
    start: Start, catalog: Catalog, caplog: pytest.LogCaptureFixture
):
    server = await start()
    url = urlsplit(server.url)
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(
            b"GET /xrpc/fm.plyr.sync.subscribe HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await writer.drain()
        writer.transport.abort()
        async with listening(server.url, catalog):  # waits for the same as the one before
            pass
    assert (logs, caplog.records) == ([], [])


async def test_what_happens_is_told_to_everybody(start: Start, database: str, catalog: Catalog):
    await happen(database, record(100), record(101))
    server = await start()
    async with listening(server.url, catalog) as one, listening(server.url, catalog, format="json") as other:
        entry = record(1)
        await happen(database, entry, identity(BOB, "bob.test"), identity(BOB, None))
        for listener in (one, other):
            first, second, third = await listener.take(3)
            assert first == {
                "$type": "record",
                "seq": 3,
                "time": first["time"],
                "did": ANN,
                "rev": entry.rev,
                "collection": TRACK,
                "rkey": entry.rkey,
                "action": "create",
                "cid": entry.cid,
                "record": {"$type": TRACK, "title": "track 1", "padding": ""},
            }
            assert (second["did"], second["handle"]) == (BOB, "bob.test")
            assert "handle" not in third
            assert [second["seq"], third["seq"]] == [4, 5]


async def test_a_record_in_cbor_is_the_signed_bytes(start: Start, database: str, catalog: Catalog):
    # 36 bytes that look like a CID, and a map whose values other encoders would write otherwise
    block = encode({"$type": TRACK, "x": b"\x01\x71\x12\x20" + b"\0" * 32, "ä": {"": [None, True, -1]}})
    cid = cid_of(block)
    await happen(database, record(1, cid=cid, block=block))
    server = await start()
    async with listening(server.url, catalog, cursor=0) as listener:
        raw = await listener.socket.recv()
    assert isinstance(raw, bytes)
    assert raw.count(block) == 1


async def test_a_cursor_goes_on_right_behind_it(start: Start, database: str, catalog: Catalog):
    await happen(database, *(record(number) for number in range(1, 6)))
    await happen(database, *(record(number) for number in range(6, 11)))
    for warm in (0, 3, 100):  # from the table alone, from both, from memory alone
        server = await start(warm_seqs=warm)
        for cursor in (0, 1, 4, 5, 9):
            async with listening(server.url, catalog, cursor=cursor) as listener:
                assert await listener.seqs(10 - cursor) == list(range(cursor + 1, 11))
        async with listening(server.url, catalog, cursor=10) as listener:
            assert await listener.nothing()
            await happen(database, record(99))
            assert (await listener.next())["rkey"] == record(99).rkey
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
            await conn.execute("delete from outbox where last_seq > 10")
            await conn.execute("update outbox_head set seq = 10")


async def test_history_and_presence_meet_without_a_gap_while_things_happen(
    start: Start, database: str, catalog: Catalog
):
    await happen(database, *(record(number) for number in range(500)), each=True)
    server = await start(warm_seqs=50)
    writing = asyncio.create_task(
        happen(database, *(record(number) for number in range(500, 1500)), each=True)
    )
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(listening(server.url, catalog, cursor=cursor))
            for cursor in (0, 100, 449, 450, 451)
        ]
        for listener, cursor in zip(listeners, (0, 100, 449, 450, 451), strict=True):
            assert await listener.seqs(1500 - cursor) == list(range(cursor + 1, 1501))
    await writing


async def test_filters_leave_out_what_is_not_wanted(start: Start, database: str, catalog: Catalog):
    await happen(
        database,
        record(1, ANN),
        record(2, ANN, LIKE),
        record(3, BOB),
        identity(BOB, "bob.test"),
        identity(ANN, "ann.test"),
        record(6, BOB, LIKE),
    )
    server = await start()
    wanted: list[tuple[dict[str, Any], list[int]]] = [
        ({"collections": [TRACK]}, [1, 3, 4, 5]),
        ({"collections": [TRACK, LIKE]}, [1, 2, 3, 4, 5, 6]),
        ({"dids": [BOB]}, [3, 4, 6]),
        ({"dids": [BOB], "collections": [LIKE]}, [4, 6]),
        ({"collections": ["fm.plyr.tracks"]}, [4, 5]),
        ({"dids": [BOB, ANN], "format": "json"}, [1, 2, 3, 4, 5, 6]),
    ]
    for warm in (0, 100):
        server = await start(warm_seqs=warm)
        for params, seqs in wanted:
            async with listening(server.url, catalog, cursor=0, **params) as listener:
                assert await listener.seqs(len(seqs)) == seqs
                assert await listener.nothing(0.05)


async def test_only_what_is_proven_is_told_and_what_is_refused_without_its_text(
    start: Start, database: str, catalog: Catalog
):
    gone = {"action": "delete", "cid": None, "block": None}
    await happen(
        database,
        record(1, verdict="unverified"),
        record(2, verdict="invalid", reason="title: is missing", block=b"\xff no cbor"),
        record(3, **gone),
        Entry(Kind.REJECTED, "wss://relay.test", did=ANN, verdict="bad_car", block=b"raw", detail={}),
        Entry(Kind.STATE, "us", did=ANN, verdict="desynchronized", reason="a gap"),
        record(6, action="update"),
    )
    server = await start()
    for form in ("cbor", "json"):
        async with listening(server.url, catalog, cursor=0, format=form) as listener:
            refused, deleted, updated = await listener.take(3)
            assert refused["invalid"] == "title: is missing"
            assert "record" not in refused
            assert refused["cid"] == record(2).cid
            assert (deleted["action"], deleted.get("cid"), deleted.get("record")) == ("delete", None, None)
            assert (updated["seq"], updated["action"]) == (6, "update")


@pytest.mark.parametrize("warm", [0, 100])
async def test_x21_records_of_hidden_accounts_are_not_told(
    start: Start, database: str, catalog: Catalog, warm: int
):
    """Neither what they wrote before, nor what they write, from memory or from the table."""
    await happen(database, record(1, ANN), record(2, EVE), record(3, BOB))
    await happen(database, takedown(EVE, "down"), record(5, EVE), account(BOB, False, "suspended"))
    await happen(database, record(7, BOB), identity(EVE, "eve.test"))
    await hide(database, EVE, BOB)
    server = await start(warm_seqs=warm)
    async with listening(server.url, catalog, cursor=0) as listener:
        told = await listener.take(4)
        assert [message["seq"] for message in told] == [1, 4, 6, 8]
        assert (told[1]["active"], told[1]["status"]) == (False, "takendown")
        assert (told[2]["active"], told[2]["status"]) == (False, "suspended")

        await happen(database, account(EVE, True), record(10, EVE), record(11, ANN))
        still, after = await listener.take(2)
        assert (still["$type"], still["active"], still["status"]) == ("account", False, "takendown")
        assert after["seq"] == 11

        await happen(database, takedown(EVE, "up"), record(13, EVE), account(BOB, True), record(15, BOB))
        up, eve, active, bob = await listener.take(4)
        assert (up["active"], active["active"]) == (True, True)
        assert (eve["seq"], bob["seq"]) == (13, 15)


async def hide(database: str, eve: str, bob: str) -> None:
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await conn.execute("insert into repo (did, taken_down) values (%s, 'asked to')", (eve,))
        await conn.execute("insert into repo (did, active, status) values (%s, false, 'suspended')", (bob,))


async def test_x21_who_comes_by_later_does_not_see_what_was_hidden_since(
    start: Start, database: str, catalog: Catalog
):
    server = await start()
    async with listening(server.url, catalog, cursor=0) as early:
        await happen(database, record(1, EVE), record(2, ANN))
        assert await early.seqs(2) == [1, 2]
        await happen(database, takedown(EVE, "down"))
        assert await early.seqs(1) == [3]
        async with listening(server.url, catalog, cursor=0) as late:
            assert await late.seqs(2) == [2, 3]


async def test_a_slow_subscriber_is_dropped_with_code_and_reason_resumes_and_misses_nothing(
    start: Start, database: str, catalog: Catalog
):
    server = await start(ring_bytes=2_000_000, high_water_bytes=50_000, chunk_bytes=50_000, warm_seqs=0)
    count, size = 3000, 4000
    async with (
        listening(server.url, catalog, cursor=0) as quick,
        listening(server.url, catalog, cursor=0, receive_bytes=50_000) as slow,
    ):
        await happen(database, record(0))
        seen = await slow.seqs(1)
        assert await quick.seqs(1) == [1]
        for start_at in range(1, count, 100):  # the slow one reads nothing meanwhile
            await happen(database, *(record(n, size=size) for n in range(start_at, start_at + 100)))
            await quick.take(100)
        (*told, error), close = await slow.end()
        assert error["error"] == "ConsumerTooSlow"
        assert close.code == 1008
        assert close.reason.startswith("ConsumerTooSlow: ")
        seen += [message["seq"] for message in told]
        assert len(seen) < count
    async with listening(server.url, catalog, cursor=seen[-1]) as again:
        last = 1 + 100 * -(-(count - 1) // 100)
        seen += await again.seqs(last - seen[-1])
    assert seen == list(range(1, last + 1))
    metrics = (await server.request("GET", "/metrics")).body.decode()
    assert 'plyr_live_dropped_total{reason="ConsumerTooSlow"} 1.0' in metrics


@pytest.mark.parametrize("warm", [0, 100_000])
async def test_a_subscriber_that_takes_nothing_is_dropped_after_a_while(
    start: Start, database: str, catalog: Catalog, warm: int
):
    await happen(database, *(record(n, size=4000) for n in range(2000)))
    server = await start(
        stall_s=0.5, high_water_bytes=50_000, chunk_bytes=50_000, warm_seqs=warm, ring_bytes=2**26
    )
    async with listening(server.url, catalog, cursor=0, receive_bytes=20_000) as slow:
        await slow.seqs(1)
        async with asyncio.timeout(60):
            while (
                'plyr_live_dropped_total{reason="ConsumerTooSlow"} 1.0'
                not in (await server.request("GET", "/metrics")).body.decode()
            ):
                await asyncio.sleep(0.1)
    async with listening(server.url, catalog, cursor=1) as again:
        assert await again.seqs(1) == [2]


async def test_a_subscriber_that_answers_no_ping_is_dropped(start: Start, database: str, catalog: Catalog):
    server = await start(ping_s=0.2, stall_s=0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(
        b"GET /xrpc/fm.plyr.sync.subscribe HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with asyncio.timeout(60):
        received = await reader.read()
    assert b"\x89\x00" in received
    assert b"ConsumerTooSlow: a ping was not answered" in received
    writer.close()


async def test_a_quiet_subscription_keeps_a_young_cursor(start: Start, database: str, catalog: Catalog):
    server = await start(ping_s=0.2)
    async with listening(server.url, catalog, cursor=0, collections=[LIKE]) as listener:
        await happen(database, *(record(number) for number in range(20)))
        message = await listener.next()
        while message["seq"] < 20:
            assert message["$type"] == "position"
            message = await listener.next()
        assert (message["$type"], message["seq"]) == ("position", 20)


@pytest.mark.parametrize("warm", [0, 100])
async def test_an_outdated_cursor_is_told_once_and_goes_on_with_the_oldest(
    start: Start, database: str, catalog: Catalog, warm: int
):
    await happen(database, *(record(number) for number in range(10)), each=True)
    await prune(database, 6)
    server = await start(warm_seqs=warm)
    for cursor in (1, 5):
        async with listening(server.url, catalog, cursor=cursor) as listener:
            info, *rest = await listener.take(5)
            assert (info["$type"], info["name"]) == ("info", "OutdatedCursor")
            assert [message["seq"] for message in rest] == [7, 8, 9, 10]
            assert await listener.nothing(0.05)
    for cursor in (0, 6, 7):  # nothing is missing
        async with listening(server.url, catalog, cursor=cursor) as listener:
            assert await listener.seqs(10 - max(cursor, 6)) == list(range(max(cursor, 6) + 1, 11))
    await prune(database, 10)
    async with listening((await start()).url, catalog, cursor=3) as listener:
        assert (await listener.next())["name"] == "OutdatedCursor"
        await happen(database, record(99))
        assert (await listener.next())["seq"] == 11


@pytest.mark.parametrize("form", ["cbor", "json"])
async def test_a_cursor_from_the_future_is_refused(start: Start, database: str, catalog: Catalog, form: str):
    await happen(database, record(1))
    server = await start()
    async with listening(server.url, catalog, cursor=2, format=form) as listener:
        (error,), close = await listener.end()
        assert error["error"] == "FutureCursor"
        assert (close.code, close.reason[:13]) == (1008, "FutureCursor:")


@pytest.mark.parametrize(
    "params",
    [{"cursor": "-1"}, {"cursor": "x"}, {"collections": "*"}, {"dids": "ann.test"}, {"format": "xml"}],
)
async def test_x4_wrong_parameters_are_refused_before_the_upgrade(
    start: Start, catalog: Catalog, params: dict[str, Any]
):
    server = await start()
    with pytest.raises(InvalidStatus) as refused:
        async with listening(server.url, catalog, **params):
            pass
    assert refused.value.response.status_code == 400
    assert b'"error":"InvalidRequest"' in refused.value.response.body


async def test_without_a_database_there_is_no_subscription(catalog: Catalog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with served(f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/x", catalog) as server:
            with pytest.raises(InvalidStatus) as refused:
                async with listening(server.url, catalog):
                    pass
    assert refused.value.response.status_code == 503
    assert b'"error":"ServiceUnavailable"' in refused.value.response.body


async def test_x1_it_is_a_websocket_and_nothing_else(start: Start):
    server = await start()
    for verb in ("GET", "POST"):
        answer = await server.request(verb, "/xrpc/fm.plyr.sync.subscribe")
        assert (answer.status, answer.json["error"]) == (400, "InvalidRequest")


async def test_there_are_no_more_subscribers_than_places(start: Start, database: str, catalog: Catalog):
    server = await start(max_subscribers=2)
    async with listening(server.url, catalog), listening(server.url, catalog):
        with pytest.raises(InvalidStatus) as refused:
            async with listening(server.url, catalog):
                pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "30"
        assert b"TooManySubscribers" in refused.value.response.body
    await asyncio.sleep(0.1)
    async with listening(server.url, catalog, cursor=0) as listener:
        await happen(database, record(1))
        assert await listener.seqs(1) == [1]


async def test_a_server_that_stops_says_so(database: str, catalog: Catalog):
    async with AsyncExitStack() as clients:
        async with served(database, catalog) as server:
            listener = await clients.enter_async_context(listening(server.url, catalog, cursor=0))
            await happen(database, record(1))
            assert await listener.seqs(1) == [1]
        messages, close = await listener.end()
        assert messages == []
        assert (close.code, close.reason) == (1001, "the server stops")


@pytest.mark.once
async def test_a_database_that_went_away_and_came_back_costs_nothing(
    start: Start, database: str, catalog: Catalog
):
    server = await start()
    async with listening(server.url, catalog, cursor=0) as listener:
        await happen(database, record(1))
        assert await listener.seqs(1) == [1]
        for round_ in range(3):
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
                await conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            await happen(database, record(10 + round_))
            assert await listener.seqs(1) == [2 + round_]


async def test_an_outbox_that_begins_anew_ends_all_subscriptions(
    start: Start, database: str, catalog: Catalog
):
    server = await start()
    async with listening(server.url, catalog, cursor=0) as listener:
        await happen(database, *(record(number) for number in range(10)))
        await listener.seqs(10)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
            await conn.execute("delete from outbox")
            await conn.execute("update outbox_head set seq = 0")
        (error,), close = await listener.end()
        assert error["error"] == "ServiceUnavailable"
        assert close.code == 1013
    await happen(database, record(1))
    async with listening(server.url, catalog, cursor=0) as listener:
        assert await listener.seqs(1) == [1]


async def test_another_client_reads_it_too(start: Start, database: str):
    server = await start()
    await happen(database, record(1))
    url = server.url + "/xrpc/fm.plyr.sync.subscribe?cursor=0&format=json"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as client:
        assert (await client.receive_json(timeout=60))["$type"] == "fm.plyr.sync.subscribe#record"
