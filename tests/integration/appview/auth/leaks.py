"""Searches a database and texts for actual secrets, in every form that bytes have in a dump."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import psycopg
from psycopg import sql


def dump(dsn: str) -> str:
    """Every row of every table, as `pg_dump` writes them."""
    parts: list[str] = []
    with psycopg.connect(dsn) as conn:
        names = conn.execute("select tablename from pg_tables where schemaname = 'public' order by 1")
        for (name,) in names.fetchall():
            copy = sql.SQL("copy {} to stdout").format(sql.Identifier(name))
            with conn.cursor() as cursor, cursor.copy(copy) as rows:
                parts += [f"{name}: {bytes(row).decode()}" for row in rows]
    return "\n".join(parts)


def shapes(secret: str) -> Iterable[str]:
    raw = secret.encode()
    yield secret
    yield raw.hex()
    for skip in range(3):  # wherever it lies within what was encoded
        yield base64.b64encode(b"\0" * skip + raw)[4:-4].decode()


def found(secrets: Iterable[str], text: str) -> list[str]:
    """Those that the text holds in any form."""
    return [secret for secret in secrets if any(shape in text for shape in shapes(secret))]
