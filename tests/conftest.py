"""What every test may ask for: a Postgres, a fresh database, the shared data.

A missing tool or folder skips the tests that need it on a developer's machine, and fails
them where `CI` is set: a green run there means that everything ran.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import TupleRow

from storage.embedded import THROWAWAY, EmbeddedPostgres
from storage.migrate import migrate
from tests.leftovers import (
    pytest_asyncio_loop_factories,
    pytest_collection,
    pytest_collection_finish,
    pytest_runtest_teardown,
    pytest_sessionfinish,
)
from tests.sharing import (
    measured,
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_terminal_summary,
    pytest_xdist_make_scheduler,
)

__all__ = [
    "measured",
    "pytest_asyncio_loop_factories",
    "pytest_collection",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
]

ROOT = Path(__file__).parent.parent
ROOM_BYTES = 2**30


def require(what: str, reason: str) -> NoReturn:
    """End this test because `what` is missing: skipped, or failed where `CI` is set."""
    text = f"needs {what}: {reason}"
    if os.environ.get("CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def with_database(dsn: str, name: str) -> str:
    """The same server's DSN with another database."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary data folder that an embedded Postgres can reach when tests run as root.

    pytest's own folders are closed to other users: a database for one would be made in
    /var/lib/plyr, and stay there. It is in memory where there is room: a database is hundreds of files.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="plyr-test-", dir=memory if roomy else "/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder of this test's own."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A Postgres for this test session: the one of PLYR_TEST_DATABASE_URL, or one of our own."""
    given = os.environ.get("PLYR_TEST_DATABASE_URL")
    if given:
        yield given
        _Admin.leave()
        return
    settings = {**THROWAWAY, "max_wal_size": "128MB"}
    with reachable_folder() as folder, EmbeddedPostgres(folder, server_settings=settings) as postgres:
        yield postgres.dsn
        _Admin.leave()


class _Admin:
    """A connection that makes and drops databases, kept from test to test: to open one for each would take
    half as long as what it is for."""

    _kept: tuple[str, psycopg.Connection[TupleRow]] | None = None

    @classmethod
    def of(cls, dsn: str) -> psycopg.Connection[TupleRow]:
        if cls._kept is None or cls._kept[0] != dsn or cls._kept[1].broken:
            cls.leave()
            cls._kept = dsn, psycopg.connect(dsn, autocommit=True)
        return cls._kept[1]

    @classmethod
    def leave(cls) -> None:
        if cls._kept is not None:
            cls._kept[1].close()
            cls._kept = None


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str) -> Iterator[str]:
    """Name of a migrated database to clone, made once per session."""
    name = f"plyr_template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    # In a thread of its own: this one's event loop belongs to the tests.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, migrate(with_database(postgres_dsn, name))).result()
    yield name
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def empty_database(postgres_dsn: str) -> Iterator[str]:
    """DSN of a database of this test's own, without any table."""
    with new_database(postgres_dsn, "template0") as dsn:
        yield dsn


@pytest.fixture
def database(postgres_dsn: str, migrated_template: str) -> Iterator[str]:
    """DSN of a migrated, empty database of this test's own."""
    with new_database(postgres_dsn, migrated_template) as dsn:
        yield dsn


@pytest.fixture
def another_database(postgres_dsn: str, migrated_template: str) -> Iterator[str]:
    """A second one, for tests that compare."""
    with new_database(postgres_dsn, migrated_template) as dsn:
        yield dsn


@pytest.fixture
def third_database(postgres_dsn: str, migrated_template: str) -> Iterator[str]:
    with new_database(postgres_dsn, migrated_template) as dsn:
        yield dsn


@contextmanager
def new_database(dsn: str, template: str) -> Iterator[str]:
    """DSN of a copy of the template, on the same server, until the block ends."""
    name = f"plyr_{uuid.uuid4().hex[:16]}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    admin = _Admin.of(dsn)
    # Before 15 there was no other way; the newer one writes every page to the log, too.
    copied = sql.SQL(" strategy file_copy" if admin.info.server_version >= 150_000 else "")
    admin.execute(sql.SQL("create database {name} template {template}").format(**names) + copied)
    try:
        yield with_database(dsn, name)
    finally:
        _Admin.of(dsn).execute(sql.SQL("drop database {name} with (force)").format(**names))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The interop vectors and the relay corpus."""
    folder = Path(os.environ.get("PLYR_SHARED") or ROOT.parent / "shared").resolve()
    if not (folder / "data").is_dir():
        require("the shared data", f"no {folder}/data, set PLYR_SHARED")
    return folder
