"""What tests of media on a real network may ask for, on the loop of their module."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.acceptance.service import Program
from tests.devnet.network import Account, Devnet
from tests.integration.media.doomed import Processes, doomed
from tests.integration.media.studio import Studio, studio


@pytest_asyncio.fixture(loop_scope="module")
async def here(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    """With `plyr ingest`, which brings the echoes."""
    environ = net.service_settings() | {"PLYR_DATABASE_URL": database, "PLYR_DATA_DIR": str(tmp_path)}
    async with (
        studio(net, database, tmp_path) as here,
        Program("ingest", environ, tmp_path / "ingest.log"),
    ):
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def ann(net: Devnet, here: Studio) -> Account:
    """Somebody of this test's own, signed in."""
    ann = await net.account(f"a{secrets.token_hex(4)}")
    await here.sign_in(ann)
    return ann


@pytest_asyncio.fixture(loop_scope="module")
async def processes(here: Studio) -> AsyncIterator[Processes]:
    async with doomed(here.at) as processes:
        yield processes
