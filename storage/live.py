"""Reads of `outbox` for those who follow it while it grows, and the bell that rings when it does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

import msgspec
import psycopg
import structlog
from psycopg import sql

from lexicons.syntax import Did, Nsid, Rkey
from storage.outbox import CHANNEL, Batch, Entry
from storage.queries import load
from storage.reader import MAX_BACKOFF_S, MIN_BACKOFF_S, Cell, Reads

log = structlog.get_logger()

_SQL = load("live")
STATEMENTS = {f"live_{name}": _SQL[name] for name in ("after", "head", "hidden", "withheld")}

_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_QUIET_S = 60.0  # a connection this old was a good one


@dataclass(frozen=True, slots=True)
class Standing:
    """Why an account is shown or not: upstream's word, and our own."""

    active: bool = True
    status: str | None = None
    taken_down: bool = False

    @property
    def shown(self) -> bool:
        return self.active and not self.taken_down


async def after(reads: Reads, seq: int, *, max_bytes: int = 1024 * 1024) -> list[Batch]:
    """The next batches that hold entries above `seq`, in order, no more than `max_bytes` hold, but one."""
    found = await reads.fetch("live_after", b"%d" % seq, b"%d" % max_bytes)
    get = found.cell
    return [
        Batch(
            first_seq=int(get(i, 1) or 0),
            last_seq=int(get(i, 0) or 0),
            at=datetime.fromisoformat(_text(get(i, 2))),
            entries=_entries(bytes.fromhex(_text(get(i, 3))[2:])),
        )
        for i in range(found.count)
    ]


async def head(reads: Reads) -> int:
    """The seq up to which everything was committed."""
    return int((await reads.fetch("live_head")).cell(0, 0) or 0)


async def hidden(reads: Reads) -> dict[Did, Standing]:
    """How every account stands that is not shown."""
    found = await reads.fetch("live_hidden")
    get = found.cell
    standings: dict[Did, Standing] = {}
    for i in range(found.count):
        status = get(i, 2)
        standings[Did(_text(get(i, 0)))] = Standing(
            active=get(i, 1) == b"t",
            status=None if status is None else status.decode(),
            taken_down=get(i, 3) == b"t",
        )
    return standings


async def withheld(reads: Reads) -> set[tuple[Did, Nsid, Rkey]]:
    """The records that we took down."""
    found = await reads.fetch("live_withheld")
    get = found.cell
    return {
        (Did(_text(get(i, 0))), Nsid(_text(get(i, 1))), Rkey(_text(get(i, 2)))) for i in range(found.count)
    }


async def listen(dsn: str, bell: asyncio.Event, channel: str = CHANNEL) -> NoReturn:
    """Sets `bell` whenever something was added. A hint and no more: a lost connection is made again
    with back-off, and what was added meanwhile is not rung for."""
    backoff_s = MIN_BACKOFF_S
    loop = asyncio.get_running_loop()
    while True:
        opened_at = loop.time()
        try:
            conn = await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, connect_timeout=5, application_name="plyr-live"
            )
            async with conn:
                await conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                bell.set()
                async for _ in conn.notifies():
                    bell.set()
        except psycopg.Error as error:
            log.warning("not told of new events, asking for them", reason=str(error).strip())
        if loop.time() - opened_at > _QUIET_S:
            backoff_s = MIN_BACKOFF_S
        await asyncio.sleep(backoff_s)
        backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)


def _text(cell: Cell) -> str:
    return (cell or b"").decode()
