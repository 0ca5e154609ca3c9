"""Opening Postgres. Everybody else is handed a connection, and its transaction is the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

# Every JSON column that we read is small and ours; orjson halves the cost of reading it.
set_json_loads(orjson.loads)

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


def make_pool(dsn: str, *, max_size: int, name: str) -> Pool:
    """A pool that isn't open yet: use it as `async with`. Connections are autocommit, so that a
    transaction exists only where somebody wrote one."""
    return AsyncConnectionPool(
        dsn,
        connection_class=AsyncConnection[TupleRow],
        kwargs={"autocommit": True, "application_name": name, "connect_timeout": 5},
        min_size=1,
        max_size=max_size,
        name=name,
        timeout=10,
        open=False,
        check=AsyncConnectionPool.check_connection,
    )


def as_json(rows: Sequence[Any]) -> str:
    """Rows (dicts, slotted dataclasses) as one parameter for `json_to_recordset`: a whole table in one text,
    whatever its types. Bytes go in the hex form that a bytea column reads."""
    return orjson.dumps(rows, default=_hex).decode()


def _hex(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"no JSON form for {type(value).__name__}")
