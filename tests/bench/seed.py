"""Fills a fresh database with the past of a music service, in SQL, fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from lexicons.syntax import Cid, Rev
from tests.bench import database

BASE_REV = Rev("3kaaaaaaaaaaa")
BASE_DATA = Cid("bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm")


@dataclass(frozen=True, slots=True)
class Size:
    """How much past there is. `records`: whether the records behind the projections are filled in, too."""

    accounts: int
    tracks: int
    likes: int
    comments: int
    records: bool = False

    def __str__(self) -> str:
        return f"{self.tracks:,} tracks, {self.likes:,} likes, {self.accounts:,} accounts"


def seed(dsn: str, size: Size, *, signing_key: str = "did:key:none") -> None:
    """Seed a migrated, empty database. Its indexes are away meanwhile, and complete afterwards.

    The catch: after a checkpoint, whose time is the caller's choice, the first write to each page
    costs its whole image in the log.
    """
    numbers = {name: value for name, value in asdict(size).items() if name != "records"}
    values: dict[str, Any] = {**numbers, "signing_key": signing_key, "rev": BASE_REV, "data": BASE_DATA}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("set work_mem = '512MB'")
        indexes = _drop_indexes(connection)
        _run(connection, "orm", {})
        _run(connection, "seed", values)
        if size.records:
            _run(connection, "seed_record", {})
        for definition in indexes:
            connection.execute(cast(LiteralString, definition))
        connection.execute(database.script("orm_indexes"))
        connection.execute("vacuum analyze")


def _drop_indexes(connection: psycopg.Connection) -> list[str]:
    """Drop what is no primary key or unique constraint; returns the statements that make it again."""
    rows = connection.execute(
        """
        select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
        from pg_index i join pg_class t on t.oid = i.indrelid
        where t.relnamespace = 'public'::regnamespace
          and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
        """
    ).fetchall()
    for name, _ in rows:
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name.strip('"'))))
    return [definition for _, definition in rows]


def _run(connection: psycopg.Connection, name: str, values: dict[str, Any]) -> None:
    literals = {key: sql.Literal(value) for key, value in values.items()}
    for statement in database.script(name).split(";\n"):
        text = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        if text.strip():
            connection.execute(
                sql.SQL(cast(LiteralString, text)).format(**literals) if values else cast(LiteralString, text)
            )
