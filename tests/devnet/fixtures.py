"""For test modules and conftests: tests marked `devnet` have its packages, or are skipped and say why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import require
from tests.devnet.install import InstallFailed, ensure
from tests.devnet.network import Devnet


@pytest.fixture(scope="session")
def devnet_packages() -> Path:
    """The folder of the devnet's packages, installed now if need be (minutes, once)."""
    try:
        return ensure()
    except InstallFailed as failure:
        require("the test network", str(failure))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    """A network with one PDS, of the module."""
    async with Devnet(pds=1) as net:
        yield net


@pytest.fixture(autouse=True)
def _devnet_when_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("devnet"):
        request.getfixturevalue("devnet_packages")
