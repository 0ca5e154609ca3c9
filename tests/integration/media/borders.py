"""What a process does to the world, one thing after another, and where it dies among them.

It is told at the edges: bytes that get a name in the store, writes to a PDS, statements that change rows. So
whatever comes new has its borders by itself. Behind each is one; right before it nothing differs from right
behind the one that came before, but for what takes a while: in the middle of a stream is a border, too, and
before a commit. What comes now and then is none: that somebody is told how far it is, that a session is in
use, and which nonce its PDS wants next.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from psycopg import AsyncConnection, AsyncCursor, AsyncTransaction
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from appview.auth.oauth import PdsAnswer
from appview.pds import Pds
from firehose.net import Streamed
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Digest, Key
from storage.postgres import Pool, make_pool
from storage.queries import load

_CHANGES = re.compile(r"\b(insert into \S+|delete from \S+|update \S+(?=(?: \w+)?\s+set\b))")
_SAVE = load("jobs")["save"]
_NO_BORDER = {load("jobs")["report"], load("sessions")["keep"], load("sessions")["touch"]}


class Life:
    """Says each border that it comes to, and ends at the one called `end`; a name that comes again has a
    number."""

    def __init__(self, end: str | None) -> None:
        self._end = end
        self._passed: Counter[str] = Counter()

    def border(self, name: str) -> None:
        self._passed[name] += 1
        if (times := self._passed[name]) > 1:
            name = f"{name} {times}"
        os.write(1, f"border {name}\n".encode())
        if name == self._end:
            os.kill(os.getpid(), signal.SIGKILL)

    async def through(self, name: str, chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
        """These; the border is behind the first of them."""
        passed = False
        async for chunk in chunks:
            yield chunk
            if not passed:
                self.border(f"in {name}")
            passed = True


class MortalStore(FilesystemStore):
    def __init__(self, folder: Path, life: Life) -> None:
        super().__init__(folder)
        self._life = life

    async def stage(self, name: str, chunks: AsyncIterable[bytes], *, size: int | None = None) -> Digest:
        digest = await super().stage(name, self._life.through("stage", chunks), size=size)
        self._life.border("stage")
        return digest

    async def append(self, name: str, chunks: AsyncIterable[bytes], *, at: int) -> int:
        end = await super().append(name, self._life.through("append", chunks), at=at)
        self._life.border("append")
        return end

    async def publish(self, name: str, key: Key, *, mime: str) -> None:
        await super().publish(name, key, mime=mime)
        self._life.border(f"publish {key.area}")

    async def unstage(self, name: str) -> None:
        there = await self.staged_size(name) > 0
        await super().unstage(name)
        if there:
            self._life.border("unstage")

    async def delete(self, key: Key) -> None:
        await super().delete(key)
        self._life.border(f"delete {key.area}")


class MortalPds(Pds):
    def __init__(self, pds: Pds, life: Life) -> None:
        self._pds = pds
        self._life = life

    async def call(self, session_id: int, method: str, nsid: str, **options: Any) -> PdsAnswer:
        name, body = nsid.rpartition(".")[2], options.get("body")
        if isinstance(body, Streamed):
            chunks = body.chunks
            options["body"] = Streamed(body.size, lambda: self._life.through(name, chunks()))
        answer = await self._pds.call(session_id, method, nsid, **options)
        if method == "POST":
            self._life.border(name)
        return answer


class _Connection(AsyncConnection[TupleRow]):
    """`changed`: what the transaction that is on has changed."""

    life: Life
    changed: str | None = None

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        outermost = self.info.transaction_status is TransactionStatus.IDLE
        if outermost:
            self.changed = None
        async with super().transaction(savepoint_name, force_rollback) as transaction:
            yield transaction
            if outermost and self.changed is not None:
                self.life.border(f"before {self.changed}")
        if outermost and (changed := self.changed) is not None:
            self.changed = None
            self.life.border(changed)


class _Cursor(AsyncCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        await super().execute(query, params, **options)
        conn = self.connection
        assert isinstance(conn, _Connection)
        if query not in _NO_BORDER and self.rowcount and (found := _CHANGES.search(str(query))):
            if self.connection.info.transaction_status is TransactionStatus.IDLE:
                conn.life.border(found[0])
            elif query == _SAVE and (step := orjson.loads(params["facts"]).get("step")):
                conn.changed = f"step {step}"
            else:
                conn.changed = conn.changed or found[0]
        return self


def mortal_pool(dsn: str, life: Life) -> Pool:
    """Not open yet."""

    class Connection(_Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.life, self.cursor_factory = life, _Cursor

    return make_pool(dsn, max_size=6, name="doomed", connection=Connection)
