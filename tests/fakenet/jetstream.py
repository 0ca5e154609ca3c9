"""A Jetstream as a real websocket server: JSON by `time_us`, filtered as its subscribers ask.

    async with FakeJetstream() as jetstream:
        jetstream.tell(messages_of(body, time_us=…))    # what a relay's #commit becomes there

`honest = False` makes it send everything, whatever was asked for.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

import libipld
import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from firehose.car import read_car

Message = dict[str, Any]


def messages_of(body: Mapping[str, Any], time_us: int) -> list[Message]:
    """A `#commit` as Jetstream tells it: one message an operation, all at the same time."""
    blocks = read_car(body["blocks"]).blocks
    messages: list[Message] = []
    for op in body["ops"]:
        collection, _, rkey = op["path"].partition("/")
        commit = {"rev": body["rev"], "operation": op["action"], "collection": collection, "rkey": rkey}
        if op["cid"] is not None:
            commit["record"] = _plain(libipld.decode_dag_cbor(blocks[op["cid"]]))
            commit["cid"] = libipld.encode_cid(op["cid"])
        messages.append({"did": body["repo"], "time_us": time_us, "kind": "commit", "commit": commit})
    return messages


def identity(did: str, time_us: int, handle: str | None = None) -> Message:
    said = {"did": did, "seq": 1, "time": "2026-07-04T12:00:00Z"} | ({"handle": handle} if handle else {})
    return {"did": did, "time_us": time_us, "kind": "identity", "identity": said}


def account(did: str, time_us: int, *, active: bool, status: str | None = None) -> Message:
    said = {"active": active, "did": did, "seq": 1, "time": "2026-07-04T12:00:00Z"}
    return {
        "did": did,
        "time_us": time_us,
        "kind": "account",
        "account": said | ({"status": status} if status else {}),
    }


def _plain(value: object) -> object:
    """As the data model's JSON: in what tests write, bytes that look like a CID are one."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, bytes):
        if len(value) == 36 and value[:1] == b"\x01":
            return {"$link": libipld.encode_cid(value)}
        return {"$bytes": base64.b64encode(value).decode().rstrip("=")}
    return value


@dataclass(frozen=True)
class Subscription:
    path: str
    cursor: int | None
    collections: frozenset[str]


class FakeJetstream:
    """`log` holds what it still has, in order; `dials` what was asked for."""

    def __init__(self) -> None:
        self.log: list[Message] = []
        self.dials: list[Subscription] = []
        self.honest = True
        self._server: Server | None = None
        self._live: dict[asyncio.Queue[Message], Subscription] = {}
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.5
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"jetstream+ws://localhost:{self.port}"

    def tell(self, messages: Iterable[Message]) -> None:
        """Into the log and to every subscriber who wants it."""
        for message in messages:
            self.log.append(message)
            for queue, subscription in self._live.items():
                if self._sends(message, subscription):
                    queue.put_nowait(message)

    def cut(self) -> int:
        """Ends every connection without a farewell; how many there were."""
        assert self._server is not None
        connections = list(self._server.connections)
        for connection in connections:
            connection.transport.abort()
        return len(connections)

    def _sends(self, message: Message, subscription: Subscription) -> bool:
        if not self.honest or message["kind"] != "commit" or not subscription.collections:
            return True
        return message["commit"]["collection"] in subscription.collections

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        parts = urlsplit(connection.request.path)
        query = parse_qs(parts.query)
        cursor = int(query["cursor"][0]) if "cursor" in query else None
        subscription = Subscription(parts.path, cursor, frozenset(query.get("wantedCollections", [])))
        self.dials.append(subscription)
        queue: asyncio.Queue[Message] = asyncio.Queue()
        for message in self.log if cursor is not None else []:
            if message["time_us"] >= (cursor or 0) and self._sends(message, subscription):
                queue.put_nowait(message)
        self._live[queue] = subscription
        pump = asyncio.ensure_future(self._pump(connection, queue))
        try:
            await connection.wait_closed()
        finally:
            del self._live[queue]
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self, connection: ServerConnection, queue: asyncio.Queue[Message]) -> None:
        try:
            while True:
                await connection.send(orjson.dumps(await queue.get()).decode())
        except ConnectionClosed:
            return
