"""A short set of the soak: worlds that go wrong, and plyr killed while it reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


async def test_what_only_comes_twice_late_and_between_kills_is_followed_to_the_row(
    database: str, tmp_path: Path
) -> None:
    outcome = await Run([1, 2, 3], 700, database, tmp_path, streamed=True)()
    assert outcome.lines == {1: [], 2: [], 3: []}
    assert outcome.ends["ingest"][-9] > 0
    assert {"an event comes twice, with its seq", "an event comes after later ones of its repo"} <= set(
        outcome.fired
    )
