"""A subscriber of the live feed, on the `websockets` library, and entries to be heard of by it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import libipld
import orjson
import psycopg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from lexicons.catalog import Catalog
from lexicons.datamodel import cid_of, encode
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey, tid_from_us
from lexicons.validate import validate_message
from storage import outbox
from storage.outbox import Entry, Kind

TRACK = Nsid("fm.plyr.track")
LIKE = Nsid("fm.plyr.like")
ANN, BOB, EVE = (Did(f"did:plc:{name * 8}") for name in ("ann", "bob", "eve"))
SUBSCRIBE = Nsid("fm.plyr.sync.subscribe")
_START_US = 1_783_175_888_000_000


def record(number: int, did: Did = ANN, collection: Nsid = TRACK, *, size: int = 0, **changes: Any) -> Entry:
    """A new valid record, different for each number."""
    key = tid_from_us(_START_US + number)
    block = encode({"$type": collection, "title": f"track {number}", "padding": "x" * size})
    fields = {
        "kind": Kind.RECORD,
        "source": "wss://relay.test",
        "did": did,
        "rev": Rev(key),
        "collection": collection,
        "rkey": Rkey(key),
        "action": "create",
        "cid": Cid(cid_of(block)),
        "block": block,
        "verdict": "valid",
    }
    return Entry(**(fields | changes))


def account(did: Did, active: bool, status: str | None = None) -> Entry:
    return Entry(Kind.ACCOUNT, "https://pds.test", did=did, detail={"active": active, "status": status})


def takedown(did: Did, verdict: str) -> Entry:
    return Entry(Kind.TAKEDOWN, "us", did=did, verdict=verdict, reason="asked to")


def identity(did: Did, handle: str | None) -> Entry:
    return Entry(Kind.IDENTITY, "https://plc.test", did=did, detail={"handle": handle, "pds": None})


async def happen(dsn: str, *entries: Entry, each: bool = False) -> None:
    """Entries in one transaction, or in one for each."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        for group in [[entry] for entry in entries] if each else [entries]:
            async with conn.transaction():
                await outbox.append(conn, group)


async def prune(dsn: str, upto: int) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await outbox.prune(conn, upto=upto)


@dataclass
class Listener:
    """What comes is checked against the lexicon."""

    socket: ClientConnection
    catalog: Catalog

    async def next(self, timeout_s: float = 60) -> dict[str, Any]:
        """The next message, its type in `$type`. Raises ConnectionClosed."""
        async with asyncio.timeout(timeout_s):
            raw = await self.socket.recv()
        if isinstance(raw, str):
            message = orjson.loads(raw)
            if "error" in message:
                return message
        else:
            header, message = libipld.decode_dag_cbor_multi(raw)
            if header["op"] == -1:
                return message
            assert set(header) == {"op", "t"}
            message = {"$type": f"{SUBSCRIBE}{header['t']}", **message}
        validate_message(self.catalog, SUBSCRIBE, message)
        return message | {"$type": message["$type"].partition("#")[2]}

    async def take(self, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        async with asyncio.timeout(timeout_s):
            return [await self.next() for _ in range(count)]

    async def seqs(self, count: int) -> list[int]:
        return [message["seq"] for message in await self.take(count)]

    async def end(self) -> tuple[list[dict[str, Any]], Close]:
        """Everything up to the close, and the server's close."""
        messages: list[dict[str, Any]] = []
        try:
            while True:
                messages.append(await self.next())
        except ConnectionClosed as closed:
            return messages, closed.rcvd or Close(1006, "no close")

    async def nothing(self, for_s: float = 0.3) -> bool:
        """True if nothing comes."""
        try:
            message = await self.next(for_s)
        except TimeoutError:
            return True
        raise AssertionError(message)


@asynccontextmanager
async def listening(
    url: str, catalog: Catalog, *, receive_bytes: int | None = None, **params: Any
) -> AsyncIterator[Listener]:
    """A subscription. `receive_bytes` bounds what its kernel takes when nobody reads."""
    query = _query(params)
    parts = urlsplit(url)
    options: dict[str, Any] = {}
    if receive_bytes is not None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, (parts.hostname, parts.port))
        options = {"sock": plain, "max_queue": 1}
    address = f"ws://{parts.netloc}/xrpc/{SUBSCRIBE}{query}"
    async with connect(address, max_size=2**24, close_timeout=1, proxy=None, **options) as client:
        yield Listener(client, catalog)


def _query(params: Mapping[str, Any]) -> str:
    pairs = [
        (name, item)
        for name, value in params.items()
        for item in (value if isinstance(value, Sequence) and not isinstance(value, str) else [value])
    ]
    return "?" + urlencode(pairs) if pairs else ""
