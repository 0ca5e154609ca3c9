"""A server that labels, on a real database, and those who follow its labels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libipld
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appview.app import make_reader
from appview.auth.keyring import KeyFile, KeyRing
from appview.moderation import labels as own
from appview.moderation.labels import Labels
from appview.subscriber import LiveConfig
from lexicons.catalog import Catalog
from lexicons.datamodel import to_json
from lexicons.syntax import Did, Nsid
from lexicons.validate import validate_message
from storage.postgres import Pool, make_pool
from tests.integration.appview.service import Server, serving

SRC = Did("did:web:plyr.test")
SUBSCRIBE = Nsid("com.atproto.label.subscribeLabels")
QUERY = "com.atproto.label.queryLabels"


@dataclass
class Bench:
    """Who labels, and the server that tells of it."""

    server: Server
    labels: Labels
    pool: Pool
    ring: KeyRing

    async def emit(self, uri: str, val: str, **more: Any) -> int:
        async with self.pool.connection() as conn, conn.transaction():
            return await self.labels.emit(conn, uri, val, **more)

    async def rotate(self) -> str:
        async with self.pool.connection() as conn:
            return await own.rotate(conn, self.ring)

    async def document(self) -> dict[str, Any]:
        answer = await self.server.request("GET", "/.well-known/did.json", headers={"Host": "plyr.test"})
        assert answer.status == 200
        return answer.json

    async def key(self) -> str:
        """The did:key that everybody has to check with now."""
        (method,) = (await self.document())["verificationMethod"]
        assert method["id"] == f"{SRC}#atproto_label"
        return f"did:key:{method['publicKeyMultibase']}"

    async def query(self, *patterns: str, status: int = 200, **more: Any) -> dict[str, Any]:
        params = [("uriPatterns", pattern) for pattern in patterns]
        for name, value in more.items():
            params += [(name, item) for item in (value if isinstance(value, list) else [value])]
        answer = await self.server.request("GET", f"/xrpc/{QUERY}", params=params)
        assert answer.status == status, answer.body
        return answer.json

    async def vals(self, *patterns: str, **more: Any) -> list[tuple[str, str]]:
        return [(one["uri"], one["val"]) for one in (await self.query(*patterns, **more))["labels"]]


@asynccontextmanager
async def labelling(
    dsn: str,
    catalog: Catalog,
    keys: Path,
    config: Mapping[str, Any] | None = None,
    src: Did = SRC,
    told: str | None = None,
    **live: Any,
) -> AsyncIterator[Bench]:
    """`told`: where the server hears of new labels, if not at `dsn`."""
    ring = KeyRing(KeyFile(keys))
    labels = Labels(ring, src)
    async with (
        make_pool(dsn, max_size=4, name="test") as pool,
        make_reader(dsn, connections=2) as reads,
        serving(
            reads,
            catalog,
            dsn=told or dsn,
            parts=lambda _: {"labels": (labels, pool)},
            service_did=src,
            live=LiveConfig(**live),
            **(config or {}),
        ) as server,
    ):
        async with pool.connection() as conn:
            await labels.begin(conn)
        yield Bench(server, labels, pool, ring)


@dataclass
class Follower:
    """What comes is checked against the lexicon."""

    socket: ClientConnection
    catalog: Catalog

    async def next(self, timeout_s: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            raw = await self.socket.recv()
        assert isinstance(raw, bytes)
        header, body = libipld.decode_dag_cbor_multi(raw)
        if header == {"op": -1}:
            return body
        assert header == {"op": 1, "t": "#labels"}
        validate_message(self.catalog, SUBSCRIBE, to_json({"$type": f"{SUBSCRIBE}#labels", **body}))
        return body

    async def seqs(self, count: int) -> list[int]:
        return [(await self.next())["seq"] for _ in range(count)]

    async def end(self) -> tuple[list[dict[str, Any]], int]:
        """Everything up to the close, and its code."""
        found: list[dict[str, Any]] = []
        try:
            while True:
                found.append(await self.next())
        except ConnectionClosed as closed:
            return found, closed.rcvd.code if closed.rcvd else 1006


@asynccontextmanager
async def following(bench: Bench, cursor: int | None = None, **options: Any) -> AsyncIterator[Follower]:
    address = bench.server.url.replace("http", "ws", 1) + f"/xrpc/{SUBSCRIBE}"
    if cursor is not None:
        address += f"?cursor={cursor}"
    async with connect(address, proxy=None, close_timeout=1, **options) as socket:
        yield Follower(socket, bench.server.catalog)
