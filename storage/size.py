"""How big the database is, for whoever watches it."""

from __future__ import annotations

import psycopg


async def database_bytes(dsn: str, timeout_s: int = 2) -> int | None:
    """Bytes on disk of the database that the DSN names; None if it cannot be asked now."""
    try:
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=timeout_s
        ) as conn:
            row = await (await conn.execute("select pg_database_size(current_database())")).fetchone()
    except psycopg.OperationalError:
        return None
    return int(row[0]) if row else None
