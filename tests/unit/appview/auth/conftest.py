from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.unit.appview.auth.stage import Stage, staged


@pytest.fixture
async def stage(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    """Afterwards: the client did nothing wrong in the eyes of strict servers, and logged no secret."""
    caplog.set_level("DEBUG")
    with capture_logs() as logs:
        async with staged() as stage:
            yield stage
    assert stage.home.wrongs == stage.away.wrongs == []
    assert [secret for secret in stage.secrets() if secret in f"{logs} {caplog.text}"] == []
