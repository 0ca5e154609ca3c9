"""Opening Postgres. Everybody else is handed a connection, and its transaction is the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import orjson
from psycopg import AsyncConnection, AsyncCursor, DataError, IntegrityError, OperationalError
from psycopg.errors import ProgramLimitExceeded
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

# Every JSON column that we read is small and ours; orjson halves the cost of reading it.
set_json_loads(orjson.loads)

T = TypeVar("T")
Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

# What Postgres says of itself: it is not to be had now, or a deadlock took the transaction back.
AWAY = (OperationalError, PoolTimeout)
# What it says of a value.
REFUSED = (DataError, IntegrityError, ProgramLimitExceeded)


class _Pool(AsyncConnectionPool[Connection]):
    """Gives no connection to a task that was cancelled while it waited for one: before Python 3.12
    `asyncio.wait_for`, in which the pool waits, may swallow that."""

    async def getconn(self, timeout: float | None = None) -> Connection:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        conn = await super().getconn(timeout)
        if task and task.cancelling() > before:
            await self.putconn(conn)
            raise asyncio.CancelledError
        return conn


def make_pool(
    dsn: str, *, max_size: int, name: str, connection: type[Connection] = AsyncConnection[TupleRow]
) -> Pool:
    """A pool that isn't open yet: use it as `async with`. Connections are autocommit, so that a
    transaction exists only where somebody wrote one; and of the class `connection`."""
    return _Pool(
        dsn,
        connection_class=connection,
        kwargs={"autocommit": True, "application_name": name, "connect_timeout": 5},
        min_size=1,
        max_size=max_size,
        name=name,
        timeout=10,
        open=False,
        check=AsyncConnectionPool.check_connection,
    )


class Asked(Generic[T]):
    """A question that is on its way. In a pipeline several are asked before the first is answered, so
    that Postgres never waits for us to look at an answer."""

    def __init__(self, cursor: AsyncCursor[TupleRow], read: Callable[[list[TupleRow]], T]) -> None:
        self._cursor = cursor
        self._read = read

    async def answer(self) -> T:
        return self._read(await self._cursor.fetchall())


def as_json(rows: Sequence[Any]) -> str:
    """Rows (dicts, slotted dataclasses) as one parameter for `json_to_recordset`: a whole table in one text,
    whatever its types. Bytes go in the hex form that a bytea column reads."""
    return orjson.dumps(rows, default=_hex).decode()


def _hex(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"no JSON form for {type(value).__name__}")
