"""Other labelers are followed: a real one, ours, and one that sends what it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import libipld
import psycopg
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.protocol import State

from firehose.net import GuardedClient
from firehose.relay import Timing
from indexer.labelers import LabelerFollower
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import forgotten
from storage.postgres import make_pool
from tests.fakenet.plc import FakePlc
from tests.fakenet.repo import SigningKey
from tests.integration.appview.labelling import labelling

ANN = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
EVE = Did("did:plc:eeeeeeeeeeeeeeeeeeeeeeee")
TRACK = f"at://{ANN}/fm.plyr.track/3jzfcijpj2z2a"
POST = f"at://{ANN}/app.bsky.feed.post/3jzfcijpj2z2a"
CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
FAST = Timing(pause_min_s=0.01, pause_base_s=0.01, pause_cap_s=0.05, healthy_after_s=60)
HEADER: bytes = libipld.encode_dag_cbor({"op": 1, "t": "#labels"})


def document(did: str, origin: str, key: str) -> dict[str, Any]:
    return {
        "id": did,
        "service": [{"id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": origin}],
        "verificationMethod": [
            {
                "id": f"{did}#atproto_label",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": key,
            }
        ],
    }


def signed(key: SigningKey, **said: Any) -> dict[str, Any]:
    label = {"ver": 1, "src": EVE, "uri": ANN, "val": "rude", "cts": "2026-11-01T00:00:00.000Z"} | said
    label = {name: value for name, value in label.items() if value is not None}
    return {**label, "sig": key.sign(libipld.encode_dag_cbor(label))}


def frame(seq: Any, *labels: Any) -> bytes:
    return HEADER + libipld.encode_dag_cbor({"seq": seq, "labels": list(labels)})


@dataclass
class Eve:
    """A labeler that sends whatever it is told to, each to whoever comes with a cursor below it. `cut`: after
    how many messages it breaks off."""

    plc: FakePlc
    client: GuardedClient
    dsn: str
    key: SigningKey = field(default_factory=lambda: SigningKey("eve"))
    sent: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    cursors: list[int] = field(default_factory=list[int])
    cut: int | None = None
    origin: str = ""

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        cursor = int(socket.request.path.partition("cursor=")[2] or 0)
        self.cursors.append(cursor)
        told = 0
        while socket.state is State.OPEN:
            for at, (seq, raw) in enumerate(self.sent):
                if at >= told and seq > cursor:
                    await socket.send(raw)
                    if self.cut is not None and at + 1 - told >= self.cut:
                        self.cut = None
                        return
            told = len(self.sent)
            await asyncio.sleep(0.01)

    def publish(self) -> None:
        self.plc.docs[EVE] = document(EVE, self.origin, self.key.multibase)

    def say(self, seq: int, *labels: Any) -> None:
        self.sent.append((seq, frame(seq, *labels)))

    async def rows(self, statement: Any, *params: Any) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            return await (await conn.execute(statement, params)).fetchall()

    async def labels(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "select uri, val, neg from foreign_label where src = %s order by uri, val", EVE
        )

    async def heard(self, seq: int, refused: int = 0) -> str | None:
        """Returns once it is heard up to there and so much of it was refused; why the last was."""
        found: list[tuple[Any, ...]] = []
        try:
            async with asyncio.timeout(30):
                while [row[:2] for row in found] != [(seq, refused)]:
                    await asyncio.sleep(0.02)
                    found = await self.rows(
                        "select seq, refused, refusal from foreign_labeler where did = %s", EVE
                    )
        except TimeoutError:
            raise AssertionError(f"heard {found} instead of {seq}, {refused}") from None
        return found[0][2]


@asynccontextmanager
async def following(
    dsn: str, catalog: Catalog, client: GuardedClient, plc: FakePlc, did: Did, pause_s: float = 60
) -> AsyncIterator[LabelerFollower]:
    async with make_pool(dsn, max_size=2, name="test") as pool:
        follower = LabelerFollower(
            pool=pool, client=client, plc_url=plc.origin, did=did, collections=catalog.collections,
            timing=FAST, retry_s=0.05, document_pause_s=pause_s,
        )  # fmt: skip
        task = asyncio.create_task(follower.run())
        try:
            yield follower
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
async def eve(database: str) -> AsyncIterator[Eve]:
    async with FakePlc() as plc, GuardedClient(True) as client:
        eve = Eve(plc, client, database)
        async with serve(eve.serve, "127.0.0.1", 0) as server:
            eve.origin = f"http://localhost:{server.sockets[0].getsockname()[1]}"
            eve.publish()
            yield eve


async def test_our_own_labeler_can_be_followed(database: str, catalog: Catalog, tmp_path: Path):
    """With a rotation of its key in between; the same labels come out as went in."""
    async with (
        FakePlc() as plc,
        GuardedClient(True) as client,
        labelling(database, catalog, tmp_path / "keys", src=EVE) as bench,
    ):

        async def publish() -> None:
            async with await psycopg.AsyncConnection.connect(database) as conn:
                rows = await conn.execute("select public from label_key order by id desc limit 1")
                ((key,),) = await rows.fetchall()
            origin = bench.server.url.replace("127.0.0.1", "localhost")
            plc.docs[EVE] = document(EVE, origin, key.removeprefix("did:key:"))

        await publish()
        await bench.emit(TRACK, "loud", cid=CID, exp=datetime.now(UTC) + timedelta(hours=1))
        await bench.emit(ANN, "rude")
        await bench.emit(POST, "spam")  # nothing that we show

        async def kept() -> list[tuple[Any, ...]]:
            async with await psycopg.AsyncConnection.connect(database) as conn:
                rows = await conn.execute(
                    "select uri, val, cid, neg from foreign_label where src = %s order by 1", (EVE,)
                )
                return await rows.fetchall()

        async def until(wanted: list[tuple[Any, ...]]) -> None:
            async with asyncio.timeout(30):
                while sorted(await kept()) != sorted(wanted):
                    await asyncio.sleep(0.02)

        async with following(database, catalog, client, plc, EVE):
            await until([(TRACK, "loud", CID, False), (ANN, "rude", None, False)])
            await bench.rotate()
            await publish()
            await bench.emit(ANN, "rude", neg=True)
            await bench.emit(ANN, "kind")
            wanted = [(ANN, "kind", None, False), (ANN, "rude", None, True), (TRACK, "loud", CID, False)]
            await until(wanted)
        assert sorted(await kept()) == sorted(wanted)


HOSTILE: dict[str, tuple[Callable[[Eve], Any], str]] = {
    "no object": (lambda e: "label", "no object"),
    "not signed": (lambda e: signed(e.key) | {"sig": None}, "not signed"),
    "a signature that is short": (lambda e: signed(e.key) | {"sig": b"x" * 63}, "not signed"),
    "another's key": (lambda e: signed(SigningKey("mallory")), "not signed by the labeler's key"),
    "a value changed after signing": (
        lambda e: signed(e.key) | {"val": "kind"}, "not signed by the labeler's key"
    ),
    "a negation made after signing": (
        lambda e: signed(e.key) | {"neg": True}, "not signed by the labeler's key"
    ),
    "in another's name": (lambda e: signed(e.key, src=ANN), "of somebody else"),
    "another version": (lambda e: signed(e.key, ver=2), "not version 1"),
    "no version": (lambda e: signed(e.key, ver=None), "not version 1"),
    "about a web page": (lambda e: signed(e.key, uri="https://plyr.test"), "about no DID"),
    "about a number": (lambda e: signed(e.key, uri=7), "about no DID"),
    "no value": (lambda e: signed(e.key, val=""), "a value that is none"),
    "a value with a NUL": (lambda e: signed(e.key, val="a\0b"), "a value that is none"),
    "a value too long": (lambda e: signed(e.key, val="a" * 129), "a value that is none"),
    "no time": (lambda e: signed(e.key, cts="yesterday"), "a time that is none"),
    "a time that no calendar has": (
        lambda e: signed(e.key, cts="0000-01-01T00:00:00.000Z"), "a time that is none"
    ),
    "an end that is none": (lambda e: signed(e.key, exp="never"), "a time that is none"),
    "a version that is none": (lambda e: signed(e.key, cid="bafy"), "of a version"),
    "neither said nor taken back": (lambda e: signed(e.key, neg=1), "neither said"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_label_that_does_not_hold_is_refused_and_takes_no_other_with_it(
    eve: Eve, catalog: Catalog, case: str
):
    bad, reason = HOSTILE[case]
    eve.say(1, signed(eve.key, val="before"), bad(eve), signed(eve.key, val="beside"))
    eve.say(2, signed(eve.key, val="after"))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        refusal = await eve.heard(2, refused=1)
    assert refusal is not None
    assert reason in refusal
    assert [val for _, val, _ in await eve.labels()] == ["after", "before", "beside"]


FRAMES: dict[str, bytes] = {
    "rubbish": b"\xff\xff",
    "nothing": b"",
    "one object": HEADER,
    "three objects": HEADER * 3,
    "no seq": HEADER + libipld.encode_dag_cbor({"labels": []}),
    "a seq that is a text": frame("1"),
    "a seq below zero": frame(-1),
    "no labels": HEADER + libipld.encode_dag_cbor({"seq": 1}),
    "labels that are a map": HEADER + libipld.encode_dag_cbor({"seq": 1, "labels": {}}),
    "too many labels": frame(1, *[0] * 10_001),
    "deep": HEADER + b"\x81" * 100_000,
}


@pytest.mark.parametrize("case", FRAMES)
async def test_a_frame_that_is_none_does_not_stop_the_stream(eve: Eve, catalog: Catalog, case: str):
    eve.sent.append((1, FRAMES[case]))
    eve.say(2, signed(eve.key))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(2, refused=1)
    assert await eve.labels() == [(ANN, "rude", False)]


async def test_what_is_of_another_kind_is_passed_over(eve: Eve, catalog: Catalog):
    for kind, body in (("#info", {"name": "OutdatedCursor"}), ("#news", {"seq": 9})):
        eve.sent.append((1, libipld.encode_dag_cbor({"op": 1, "t": kind}) + libipld.encode_dag_cbor(body)))
    eve.say(2, signed(eve.key))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(2)
    assert await eve.labels() == [(ANN, "rude", False)]


async def test_a_new_key_is_looked_up_when_signatures_do_not_hold(eve: Eve, catalog: Catalog):
    eve.say(1, signed(eve.key))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(1)
        eve.key = SigningKey("eve's new one", "p256")
        eve.publish()
        eve.say(2, signed(eve.key, val="kind"))
        await eve.heard(2)
        assert [val for _, val, _ in await eve.labels()] == ["kind", "rude"]


async def test_it_goes_on_from_where_it_was_left(eve: Eve, catalog: Catalog):
    for seq in range(1, 7):
        eve.say(seq, signed(eve.key, val=f"v{seq}"))
    eve.cut = 2
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(6)
    assert eve.cursors == [0, 2]
    eve.say(7, signed(eve.key, val="v7"))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(7)
    assert eve.cursors == [0, 2, 6]
    assert [val for _, val, _ in await eve.labels()] == [f"v{n}" for n in range(1, 8)]


async def test_what_is_said_of_an_account_goes_with_it(eve: Eve, catalog: Catalog):
    eve.say(1, signed(eve.key), signed(eve.key, uri=TRACK), signed(eve.key, uri=EVE))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(1)
    assert {uri for uri, *_ in await eve.labels()} == {ANN, TRACK, EVE}
    async with await psycopg.AsyncConnection.connect(eve.dsn) as conn:
        await forgotten.erase_story(conn, Did(ANN))
    assert [uri for uri, *_ in await eve.labels()] == [EVE]


async def test_the_last_word_counts_in_whichever_order_it_comes(eve: Eve, catalog: Catalog):
    def at(day: int, **said: Any) -> dict[str, Any]:
        return signed(eve.key, cts=f"2026-11-{day:02}T00:00:00.000Z", **said)

    eve.say(1, at(3, neg=True), at(2), at(2, val="a"), at(1, val="a", neg=True))
    eve.say(2, at(1), at(3, val="b"))
    eve.say(3, at(3, val="b", neg=True), at(1, val="a", neg=True))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await eve.heard(3)
    assert await eve.labels() == [(ANN, "a", False), (ANN, "b", True), (ANN, "rude", True)]


@pytest.mark.parametrize("doc", [
    None,
    {"id": EVE},
    {"id": ANN},
    document(EVE, "http://10.0.0.1", SigningKey("eve").multibase),
    document(EVE, "https://eve.example/path", SigningKey("eve").multibase),
])  # fmt: skip
async def test_a_document_that_leads_nowhere_is_read_again(eve: Eve, catalog: Catalog, doc: Any):
    if doc is None:
        del eve.plc.docs[EVE]
    else:
        eve.plc.docs[EVE] = doc
    eve.say(1, signed(eve.key))
    async with following(eve.dsn, catalog, eve.client, eve.plc, EVE):
        await asyncio.sleep(0.3)
        assert eve.cursors == []
        eve.publish()
        await eve.heard(1)
