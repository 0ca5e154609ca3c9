"""`/metrics` tells how the index is doing, and that it cannot tell."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator

import psycopg
import pytest
import structlog

from appview import loops
from appview.app import make_reader
from appview.gauges import IndexGauges
from bin import logs
from indexer.alarms import Thresholds
from lexicons.catalog import Catalog
from lexicons.subject import read_subject
from lexicons.syntax import Did
from storage import foreign_labels, moderation
from storage.moderation import OpenedBy
from storage.reader import Cell, Question, ReadFailed, Rows
from tests.integration.appview.service import World, served

LABELER = Did("did:web:labels.example")


async def test_an_index_is_told_in_gauges(world: World) -> None:
    ann = world.seed.account("ann")
    world.seed.track(ann, "one")
    world.seed.commit()
    text = (await world.server.request("GET", "/metrics")).body.decode()
    assert "plyr_index_up 1.0" in text
    assert re.search(r'plyr_repos\{state="(active|pending)"\} 1\.0', text)
    assert 'plyr_alarm{name="no_source"} 1.0' in text
    assert "plyr_rejected_stuck 0.0" in text


async def test_cases_and_other_labelers_are_told(database: str) -> None:
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
        make_reader(database, connections=1) as reads,
    ):
        for did in ("did:plc:ann", "did:plc:ben"):
            await moderation.open(conn, read_subject(did), OpenedBy.HAND, None)
        await foreign_labels.heard(conn, LABELER, 7, refused=2, refusal="of no key")
        text = (await IndexGauges(reads, Thresholds()).text()).decode()
        (followed,) = await foreign_labels.followed(conn)
    for line in (
        "plyr_cases_open 2.0",
        "plyr_notices_late 0.0",
        f'plyr_labeler_seq{{labeler="{LABELER}"}} 7.0',
        f'plyr_labeler_refused{{labeler="{LABELER}"}} 2.0',
    ):
        assert line in text.splitlines()
    assert re.search(r"plyr_cases_oldest_seconds \d", text)
    assert (followed.did, followed.seq, followed.refused, followed.refusal) == (LABELER, 7, 2, "of no key")


@pytest.fixture
def logged() -> Iterator[None]:
    """The log as a process has it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("json", "warning")
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


async def test_what_fails_is_counted_by_where(logged: None, database: str, catalog: Catalog) -> None:
    """A request, and a loop that nobody waits for."""
    broke = asyncio.Event()

    def break_it(*_: object) -> None:
        raise ValueError("of a test")

    async def loop() -> None:
        broke.set()
        break_it()

    async with served(database, catalog, on_answer=break_it) as server:
        assert await server.refused("feed.getLatest") == (500, "InternalServerError")
        async with loops.beside("of a test", loop):
            await broke.wait()
        text = (await server.request("GET", "/metrics")).body.decode()
    assert 'plyr_errors_total{where="appview.xrpc.dispatch"} 1.0' in text
    assert 'plyr_errors_total{where="appview.loops"} 1.0' in text


async def test_a_database_that_is_away_is_told_and_no_error() -> None:
    class Away:
        extensions: frozenset[str] = frozenset()

        async def fetch(self, name: str, *params: Cell) -> Rows:
            raise ReadFailed("nobody there")

        async def fetch_all(self, *questions: Question) -> list[Rows]:
            raise ReadFailed("nobody there")

    text = (await IndexGauges(Away(), Thresholds()).text()).decode()
    assert "plyr_index_up 0.0" in text
    assert "plyr_repos" not in text
