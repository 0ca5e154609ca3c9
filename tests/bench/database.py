"""A throw-away Postgres for the benches, and fresh databases in it. Never anybody's own.

Durable, as an operator would run it (fsync and synchronous commit on): a benchmark of
writes that may be lost says nothing. Only memory is set for the size of the data.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate

_SETTINGS = {
    "shared_buffers": "2GB",
    "effective_cache_size": "6GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "60min",
}
_SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class Server:
    """A running throw-away server."""

    dsn: str
    pid: int

    async def fresh(self, name: str) -> str:
        """A new, migrated database under this name; one that was there before is dropped."""
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        dsn = urlsplit(self.dsn)._replace(path=f"/{name}").geturl()
        await migrate(dsn)
        return dsn

    def checkpoint(self) -> None:
        """Have everything written to disk now, and not while something is measured."""
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute("checkpoint")

    def drop(self, name: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def throwaway() -> Iterator[Server]:
    """A server in a folder that goes away with it."""
    folder = Path(tempfile.mkdtemp(prefix="plyr-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder, server_settings=_SETTINGS) as postgres:
            assert postgres.pid is not None
            yield Server(postgres.dsn, postgres.pid)
    finally:
        shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def script(name: str) -> LiteralString:
    """The text of `sql/name.sql`, as literal as a string in a module."""
    return cast(LiteralString, (_SQL / f"{name}.sql").read_text())
