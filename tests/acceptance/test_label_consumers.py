"""The network's own clients, in Python and TypeScript, follow our labels and check their signatures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from atproto_client.models.utils import get_model_as_dict
from atproto_client.subscriptions import (
    AsyncComAtprotoLabelSubscribeLabelsClient,
    parse_com_atproto_label_subscribe_labels_message,
)
from atproto_crypto.verify import verify_signature

from lexicons.catalog import Catalog
from lexicons.dagcbor import encode
from tests.clients.install import InstallFailed, installed
from tests.conftest import new_database, require
from tests.integration.appview.labelling import Bench, labelling

ANN = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
TRACK = f"at://{ANN}/fm.plyr.track/3jzfcijpj2z2a"
EACH = pytest.mark.parametrize("language", ["python", "typescript"])
BACKLOG = 10_000


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with labelling(database, Catalog.load(), tmp_path / "keys") as bench:
        yield bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backlog(
    postgres_dsn: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench]:
    """A server that has said BACKLOG labels, for all who read them."""
    keys = tmp_path_factory.mktemp("backlog") / "keys"
    with new_database(postgres_dsn, migrated_template) as dsn:
        async with labelling(dsn, Catalog.load(), keys) as bench:
            async with bench.pool.connection() as conn, conn.transaction():
                for number in range(BACKLOG):
                    await bench.labels.emit(conn, f"at://{ANN}/fm.plyr.track/{number}", "spam")
            yield bench


async def in_python(bench: Bench, cursor: int, count: int, every: int) -> list[list[Any]]:
    key = await bench.key()
    base = bench.server.url.replace("http", "ws", 1) + "/xrpc"
    client = AsyncComAtprotoLabelSubscribeLabelsClient(base, {"cursor": cursor})
    found: list[list[Any]] = []

    async def take(frame: Any) -> None:
        message: Any = parse_com_atproto_label_subscribe_labels_message(frame)
        for label in message.labels:
            fields = {n: v for n, v in get_model_as_dict(label).items() if v is not None and n != "$type"}
            sig = fields.pop("sig")
            assert message.seq % every or verify_signature(key, encode(fields), sig)
            found.append([message.seq, label.uri, label.val, bool(label.neg), label.exp is not None])
        if len(found) >= count:
            await client.stop()

    async with asyncio.timeout(120):
        await client.start(take)
    return found[:count]


async def in_typescript(bench: Bench, cursor: int, count: int, every: int) -> list[list[Any]]:
    try:
        folder = await asyncio.to_thread(installed, os.environ)
    except InstallFailed as failed:
        require("npm", str(failed))
    origin = bench.server.url.replace("http", "ws", 1)
    process = await asyncio.create_subprocess_exec(
        "node", "--experimental-websocket", "labels.mjs", origin, await bench.key(),
        *map(str, (cursor, count, every)),
        cwd=folder, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return orjson.loads(output)


async def follow(language: str, bench: Bench, cursor: int, count: int, every: int = 1) -> list[list[Any]]:
    """What a consumer is told after `cursor`; it checks the signature of each whose seq `every` divides."""
    return await (in_python if language == "python" else in_typescript)(bench, cursor, count, every)


@EACH
async def test_a_consumer_checks_labels_while_they_are_said_negated_and_expire(bench: Bench, language: str):
    async def say() -> None:
        for number in range(30):
            await bench.emit(TRACK, f"v{number}")
            await bench.emit(TRACK, f"v{number}", neg=True)
            await bench.emit(ANN, "spam", exp=datetime.now(UTC) + timedelta(milliseconds=number))
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        follower = tasks.create_task(follow(language, bench, 0, 90))
        tasks.create_task(say())
    expected = [
        row
        for n in range(30)
        for row in (
            [3 * n + 1, TRACK, f"v{n}", False, False],
            [3 * n + 2, TRACK, f"v{n}", True, False],
            [3 * n + 3, ANN, "spam", False, True],
        )
    ]
    assert follower.result() == expected
    assert await follow(language, bench, 37, 10) == expected[37:47]
    assert await follow(language, bench, 89, 1) == expected[89:]


@EACH
@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_a_consumer_reads_a_long_backlog_whole(backlog: Bench, language: str):
    found = await follow(language, backlog, 0, BACKLOG, every=20)
    assert [row[0] for row in found] == list(range(1, BACKLOG + 1))
