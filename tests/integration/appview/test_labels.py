from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from structlog.testing import capture_logs

from appview.moderation.labels import NoLabel
from firehose.keys import PublicKey
from lexicons.catalog import Catalog
from lexicons.dagcbor import encode
from storage import labels as tables
from tests.integration.appview.labelling import SRC, Bench, following, labelling

ANN = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
TRACK = f"at://{ANN}/fm.plyr.track/3jzfcijpj2z2a"
CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"


@pytest.fixture
async def bench(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Bench]:
    async with labelling(database, catalog, tmp_path / "keys") as bench:
        yield bench


def verified(label: dict[str, Any], did_key: str) -> bool:
    """Whether this key signed exactly the fields that came, in JSON or in CBOR."""
    fields = dict(label)
    sig = fields.pop("sig")
    if isinstance(sig, dict):
        sig = base64.b64decode(sig["$bytes"] + "==")
    return PublicKey.parse(did_key).verify(encode(fields), sig)


async def test_l1_a_label_is_signed_over_exactly_its_fields(bench: Bench):
    until = datetime.now(UTC) + timedelta(days=1)
    await bench.emit(TRACK, "copyright-violation", cid=CID, exp=until)
    await bench.emit(ANN, "spam")
    key = await bench.key()
    first, second = (await bench.query("*"))["labels"]
    assert set(first) == {"ver", "src", "uri", "cid", "val", "cts", "exp", "sig"}
    assert set(second) == {"ver", "src", "uri", "val", "cts", "sig"}
    assert (first["ver"], first["src"], first["cid"]) == (1, SRC, CID)
    assert len(base64.b64decode(first["sig"]["$bytes"] + "==")) == 64
    assert verified(first, key)
    assert verified(second, key)
    assert not verified(first | {"val": "spam"}, key)
    assert not verified(second | {"neg": False}, key)


async def test_the_did_document_declares_a_labeler(bench: Bench):
    document = await bench.document()
    assert [each["id"] for each in document["service"]] == ["#plyr_appview", "#atproto_labeler"]
    assert document["service"][1]["type"] == "AtprotoLabeler"
    assert document["verificationMethod"][0]["type"] == "Multikey"


async def test_l4_the_last_word_counts(bench: Bench):
    await bench.emit(TRACK, "spam")
    await bench.emit(TRACK, "porn")
    await bench.emit(TRACK, "spam", neg=True)
    assert await bench.vals(TRACK) == [(TRACK, "porn")]
    await bench.emit(TRACK, "spam")
    assert await bench.vals(TRACK) == [(TRACK, "porn"), (TRACK, "spam")]
    async with following(bench, 0) as follower:
        told = [(await follower.next())["labels"][0] for _ in range(4)]
    assert [label.get("neg", False) for label in told] == [False, False, True, False]
    of_spam = [label["cts"] for label in told if label["val"] == "spam"]
    assert of_spam == sorted(set(of_spam))
    assert all([verified(label, await bench.key()) for label in told])


async def test_an_expired_label_holds_no_more_and_is_told_all_the_same(bench: Bench):
    await bench.emit(TRACK, "spam", exp=datetime.now(UTC) - timedelta(seconds=1))
    await bench.emit(ANN, "spam", exp=datetime.now(UTC) + timedelta(days=1))
    assert await bench.vals("*") == [(ANN, "spam")]
    async with bench.pool.connection() as conn:
        assert [row.uri for row in await tables.active(conn, [TRACK, ANN], [SRC])] == [ANN]
        assert await tables.active(conn, [TRACK, ANN], ["did:web:other.test"]) == []
    async with following(bench, 0) as follower:
        assert await follower.seqs(2) == [1, 2]


async def test_l2_patterns_mean_themselves(bench: Bench):
    odd = [f"at://{ANN}/fm.plyr.track/{rkey}" for rkey in ("a_c", "abc", "a_cd")]
    for uri in odd:
        await bench.emit(uri, "spam")
    assert await bench.vals(f"at://{ANN}/fm.plyr.track/a_c*") == [(odd[0], "spam"), (odd[2], "spam")]
    assert await bench.vals(f"at://{ANN}/fm.plyr.track/a_c") == [(odd[0], "spam")]
    assert await bench.vals("at://%*") == []
    assert len(await bench.vals(odd[1], odd[0], "at://*")) == 3
    assert await bench.vals("*", sources=["did:web:other.test"]) == []
    assert len(await bench.vals("*", sources=["did:web:other.test", SRC])) == 3
    assert (await bench.query("at://*/x", status=400))["error"] == "InvalidRequest"
    assert (await bench.query("*", status=400, limit=251))["error"] == "InvalidRequest"
    assert (await bench.query("*", status=400, cursor="x"))["error"] == "InvalidRequest"
    assert (await bench.query(status=400))["error"] == "InvalidRequest"


async def test_pages_have_each_label_once(bench: Bench):
    for number in range(7):
        await bench.emit(TRACK, f"v{number}")
    seen, more = [], dict[str, Any]()
    while True:
        page = await bench.query("at://*", limit=3, **more)
        seen += [label["val"] for label in page["labels"]]
        if "cursor" not in page:
            break
        more = {"cursor": page["cursor"]}
    assert seen == [f"v{number}" for number in range(7)]
    assert len(await bench.vals("*")) == 7


async def test_l5_labels_of_an_old_key_are_signed_anew_when_they_are_read(bench: Bench):
    await bench.emit(TRACK, "spam", cid=CID)
    await bench.emit(ANN, "spam")
    (before, _) = (await bench.query("*"))["labels"]
    old = await bench.key()
    new = await bench.rotate()
    assert await bench.key() == new != old
    async with following(bench, 0) as follower:
        first = (await follower.next())["labels"][0]
        assert verified(first, new)
        assert not verified(first, old)
        assert {**first, "sig": None} == {**before, "sig": None}
        await follower.next()
        await bench.emit(TRACK, "porn")
        assert verified((await follower.next())["labels"][0], new)
    assert all(verified(label, new) for label in (await bench.query("*"))["labels"])
    async with bench.pool.connection() as conn:
        newest = await tables.newest_key(conn)
        assert newest is not None
        rows = await tables.active(conn, [TRACK, ANN], [SRC])
    assert {row.key_id for row in rows} == {newest.id}


async def test_a_label_is_there_if_its_transaction_is(bench: Bench):
    async with following(bench) as follower:
        async with bench.pool.connection() as conn, conn.transaction(force_rollback=True):
            assert await bench.labels.emit(conn, TRACK, "spam") == 1
        assert await bench.emit(ANN, "spam") == 1
        assert (await follower.next())["labels"][0]["uri"] == ANN


async def test_what_no_label_can_say_is_refused(bench: Bench):
    for uri, val, more in [("https://x.test", "spam", {}), (TRACK, "", {}), (TRACK, "é" * 65, {}),
                           (TRACK, "spam", {"cid": "x"})]:  # fmt: skip
        with pytest.raises(NoLabel):
            await bench.emit(uri, val, **more)
    assert await bench.emit(TRACK, "é" * 64) == 1


async def test_any_cursor_goes_on_without_gap_or_repeat_while_others_emit(bench: Bench):
    async def emit(name: int) -> None:
        for number in range(40):
            await bench.emit(TRACK, f"v{name}-{number}", neg=number % 3 == 2)

    async def follow(cursor: int, stops: list[int]) -> list[int]:
        seen: list[int] = []
        for stop in stops:
            async with following(bench, cursor + len(seen)) as follower:
                seen += await follower.seqs(stop)
        return seen

    for number in range(60):
        await bench.emit(ANN, f"w{number}")
    async with asyncio.TaskGroup() as tasks:
        readers = [
            tasks.create_task(follow(0, [1, 58, 1, 3, 97, 100])),
            tasks.create_task(follow(0, [200, 60])),
            tasks.create_task(follow(59, [1, 200])),
            tasks.create_task(follow(60, [150, 50])),
        ]
        for name in range(5):
            tasks.create_task(emit(name))
    for reader, first in zip(readers, (1, 1, 60, 61), strict=True):
        assert reader.result() == list(range(first, 261))


async def test_a_long_backlog_streams_whole(bench: Bench):
    async with bench.pool.connection() as conn, conn.transaction():
        for number in range(10_000):
            await bench.labels.emit(conn, f"at://{ANN}/fm.plyr.track/{number}", "spam")
    key = PublicKey.parse(await bench.key())
    async with following(bench, 0) as follower:
        for seq in range(1, 10_001):
            message = await follower.next()
            assert message["seq"] == seq
            label = message["labels"][0]
            sig = label.pop("sig")
            assert key.verify(encode(label), sig)
        await bench.emit(ANN, "spam")
        assert (await follower.next())["seq"] == 10_001


async def test_a_future_cursor_is_told_and_ended(bench: Bench):
    await bench.emit(ANN, "spam")
    async with following(bench, 2) as follower:
        (error,), code = await follower.end()
        assert (error["error"], code) == ("FutureCursor", 1008)
    async with following(bench, 1) as follower:
        await bench.emit(ANN, "porn")
        assert await follower.seqs(1) == [2]


async def test_who_takes_nothing_is_too_slow(database: str, catalog: Catalog, tmp_path: Path):
    live = {"stall_s": 0.5, "high_water_bytes": 4096}
    async with labelling(database, catalog, tmp_path / "keys", **live) as bench:
        async with bench.pool.connection() as conn, conn.transaction():
            for number in range(3000):
                await bench.labels.emit(conn, f"at://{ANN}/fm.plyr.track/{number}", "spam")
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        parts = urlsplit(bench.server.url)
        await asyncio.get_running_loop().sock_connect(plain, (parts.hostname, parts.port))
        async with following(bench, 0, sock=plain, max_queue=1) as follower:
            assert await follower.seqs(1) == [1]
            async with asyncio.timeout(60):
                while 'dropped_total{reason="ConsumerTooSlow"} 1.0' not in await metrics(bench):
                    await asyncio.sleep(0.05)
        async with following(bench, 1) as follower:
            assert await follower.seqs(2999) == list(range(2, 3001))


async def test_what_keeps_it_from_hearing_is_told_at_once_and_labels_come_all_the_same(
    database: str, catalog: Catalog, tmp_path: Path
):
    nowhere = f"{database} options=\ud800"  # no text for libpq, which is no error of the database
    async with (
        labelling(database, catalog, tmp_path / "keys", told=nowhere) as bench,
        following(bench) as follower,
    ):
        with capture_logs() as logs:
            async with asyncio.timeout(60):
                while not logs:
                    await asyncio.sleep(0.01)
        assert (logs[0]["event"], logs[0]["loop"]) == ("a loop broke, it begins anew", "labels")
        assert await bench.emit(ANN, "spam") == 1
        assert (await follower.next())["seq"] == 1


async def metrics(bench: Bench) -> str:
    return (await bench.server.request("GET", "/metrics")).body.decode()


async def test_a_server_that_does_not_label_says_so(world: Any):
    for name in ("queryLabels?uriPatterns=*", "subscribeLabels"):
        answer = await world.server.request("GET", f"/xrpc/com.atproto.label.{name}")
        assert (answer.status, answer.json["error"]) == (501, "MethodNotImplemented")


async def test_the_secret_is_sealed(bench: Bench, database: str):
    async with await psycopg.AsyncConnection.connect(database) as conn:
        row = await tables.newest_key(conn)
    assert row is not None
    assert bench.ring.sealed_by(row.secret) == bench.ring.names[0]
    assert len(bench.ring.open(row.secret)) == 32
