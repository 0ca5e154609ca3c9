"""A short set of the soak: worlds that go wrong, and plyr killed while it reads them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fakenet.channel import Wire
from tests.fakenet.server import Fault
from tests.soak.run import Run

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(400)]

# The rarer ones are seen to fire in the long run.
USUAL = (
    Wire.GAP,
    Wire.DUPLICATE,
    Wire.REORDERED,
    Wire.LATE,
    Wire.REEMITTED,
    Wire.BLIND,
    Wire.OFFLINE,
    Wire.GARBAGE,
    Wire.FORGED,
    Wire.MISSING_BLOCK,
    Wire.FLIPPED_BLOCK,
    Wire.FUTURE_REV,
    Wire.HIDDEN_OP,
)


async def test_worlds_that_go_wrong_are_found_in_the_tables_row_by_row(database: str, tmp_path: Path) -> None:
    seeds = [1, 2, 3, 4]
    outcome = await Run(seeds, 700, database, tmp_path)()
    assert outcome.lines == {seed: [] for seed in seeds}, "\n".join(outcome.waiting)
    assert outcome.crashes == {}
    assert outcome.replayed == []
    assert outcome.ends["ingest"][-signal.SIGKILL] > 0
    assert outcome.ends["sync run"][-signal.SIGKILL] > 0
    assert {fault for fault in USUAL if not outcome.fired[fault]} == set()
    # How often hosts are asked, and so how many of their faults fire, depends on the machine's mood.
    assert sum(outcome.fired[fault] for fault in Fault) > 0


async def test_what_only_comes_twice_late_and_between_kills_is_followed_without_asking_anybody(
    database: str, tmp_path: Path
) -> None:
    outcome = await Run([1, 2, 3], 500, database, tmp_path, streamed=True)()
    assert outcome.lines == {1: [], 2: [], 3: []}
    assert outcome.crashes == {}
    assert outcome.replayed == []
    assert outcome.ends["ingest"][-signal.SIGKILL] > 0
    assert outcome.fired[Wire.DUPLICATE] > 0
    assert outcome.fired[Wire.REORDERED] > 0
