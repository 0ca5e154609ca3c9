"""A relay before the PDSs of a devnet: it numbers anew what they say, and says it when it is told to.

    async with DevnetRelay(net) as relay:
        relay.hold(0, did)     # what PDS 0 says of this account from now on waits
        …
        relay.release()        # and comes after everything that was said meanwhile
        relay.forget()         # cursors of before are outdated
        relay.begin_anew()     # its log is lost, and its numbers begin at 1 again

It changes no frame but for its seq, drops none, and checks nothing: what a host says is passed on,
also of accounts that have left it. Real relays check that, so a reader of this one sees worse.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import libipld
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.devnet.network import Devnet, Pds
from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import frame

ENDPOINT = "/xrpc/com.atproto.sync.subscribeRepos"
RETRY_S = 0.2
READ_S = 10


class DevnetRelay:
    """`said` counts frames by (PDS, type, DID) as they were passed on; `server.dials` tells who asked."""

    def __init__(self, net: Devnet, pds: Sequence[int] | None = None) -> None:
        self.server = FakeRelay()
        self.server.strict = False
        self.said: Counter[tuple[int, str, str]] = Counter()
        self.seq = 0
        self._net = net
        self.hosts = {index: net.pds[index] for index in pds or range(len(net.pds))}
        self._held: dict[tuple[int, str], list[bytes]] = {}
        self._read: dict[int, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        self._tasks = [asyncio.create_task(self._follow(host)) for host in self.hosts.values()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.__aexit__(kind, error, trace)

    @property
    def source(self) -> str:
        return self.server.url

    def hold(self, pds: int, did: str) -> None:
        self._held[pds, did] = []

    def release(self) -> int:
        """How many frames had waited."""
        held, self._held = self._held, {}
        for (pds, _), frames in held.items():
            for raw in frames:
                self._pass_on(pds, raw)
        return sum(map(len, held.values()))

    def forget(self) -> int:
        """How many frames nobody can ask for any more."""
        lost = len(self.server.log)
        self.server.log.clear()
        self.seq += 1
        self.server.log[self.seq] = frame("#account", _nobody(), self.seq)
        return lost

    def begin_anew(self) -> int:
        """As after a disk was lost; the seq that it had reached."""
        reached, self.seq = self.seq, 0
        self.server.log.clear()
        self.server.cut()
        return reached

    async def read_all(self) -> None:
        """Returns once everything that its PDSs have said until now is passed on, or held."""
        newest = {index: await self._net.last_seq(index) for index in self.hosts}
        async with asyncio.timeout(READ_S):
            while any(self._read.get(index, 0) < seq for index, seq in newest.items()):
                await asyncio.sleep(0.02)

    async def _follow(self, host: Pds) -> None:
        while True:
            cursor = self._read.get(host.index, 0)
            try:
                async with connect(
                    f"{host.source}{ENDPOINT}?cursor={cursor}", compression=None, max_size=None
                ) as upstream:
                    async for raw in upstream:
                        assert isinstance(raw, bytes)
                        self._take(host.index, raw)
            except (OSError, WebSocketException):
                await asyncio.sleep(RETRY_S)

    def _take(self, pds: int, raw: bytes) -> None:
        _, body = libipld.decode_dag_cbor_multi(raw)
        seq = body.get("seq")
        if seq is None or seq <= self._read.get(pds, 0):
            return
        self._read[pds] = seq
        if (held := self._held.get((pds, _did(body)))) is not None:
            held.append(raw)
        else:
            self._pass_on(pds, raw)

    def _pass_on(self, pds: int, raw: bytes) -> None:
        header, body = libipld.decode_dag_cbor_multi(raw)
        self.seq += 1
        self.said[pds, header["t"], _did(body)] += 1
        self.server.emit(self.seq, frame(header["t"], body, self.seq))


def _did(body: dict[str, Any]) -> str:
    return str(body.get("repo", body.get("did")))


def _nobody() -> dict[str, object]:
    """An account that no reader knows."""
    return {"did": "did:plc:" + "z" * 24, "active": True, "time": "2026-07-04T12:00:00Z"}
