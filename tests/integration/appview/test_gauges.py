"""`/metrics` tells how the index is doing, and that it cannot tell."""

from __future__ import annotations

import re

from appview.gauges import IndexGauges
from indexer.alarms import Thresholds
from storage.reader import Cell, Question, ReadFailed, Rows
from tests.integration.appview.service import World


async def test_an_index_is_told_in_gauges(world: World) -> None:
    ann = world.seed.account("ann")
    world.seed.track(ann, "one")
    world.seed.commit()
    text = (await world.server.request("GET", "/metrics")).body.decode()
    assert "plyr_index_up 1.0" in text
    assert re.search(r'plyr_repos\{state="(active|pending)"\} 1\.0', text)
    assert 'plyr_alarm{name="no_source"} 1.0' in text
    assert "plyr_rejected_stuck 0.0" in text


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
