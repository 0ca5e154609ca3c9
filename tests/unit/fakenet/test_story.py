"""The same seed tells the same story, and the comparison with it sees every row that is wrong."""

from __future__ import annotations

import copy

import pytest

from tests.fakenet.pds import FakePds
from tests.fakenet.plc import FakePlc
from tests.fakenet.relay import FakeRelay
from tests.fakenet.resident import Resident
from tests.fakenet.story import Story
from tests.soak.compare import QUERIES, Rows, differences, expected


def played(seed: int, steps: int = 400, *, streamed: bool = True) -> Story:
    """A story that nobody reads: its servers have no ports."""
    hosts = [FakePds(), FakePds()]
    for n, host in enumerate(hosts):
        host.origin = f"https://pds{n}.example"
    story = Story(seed, FakePlc(), hosts, FakeRelay(), FakePds(collects=True), streamed=streamed)
    story.begin()
    for _ in range(steps):
        story.step()
    return story


def found(story: Story) -> dict[str, Rows]:
    """Tables that hold what they should."""
    tables = expected(story, {}, [r.did for r in story.residents])
    for key, row in tables["repo"].items():
        tables["repo"][key] = tuple(row.values())
    return tables


def told(story: Story) -> list[tuple[str, str | None, dict[tuple[str, str], object]]]:
    def facts(resident: Resident) -> tuple[str, str | None, dict[tuple[str, str], object]]:
        return resident.did, resident.repo.rev, dict(resident.records)

    return [facts(resident) for resident in story.residents]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_seed_tells_one_story(streamed: bool) -> None:
    first, again, other = [played(seed, streamed=streamed) for seed in (1, 1, 2)]
    assert told(first) == told(again)
    assert first.relay.log == again.relay.log
    assert (first.acts, first.channel.fired) == (again.acts, again.channel.fired)
    assert told(first) != told(other)


def test_a_world_is_equal_to_itself() -> None:
    story = played(3)
    tables = found(story)
    assert all(tables.values()), "an empty table is equal to another empty one"
    assert differences(story, expected(story, {}, [r.did for r in story.residents]), tables) == []


@pytest.mark.parametrize("table", QUERIES)
def test_a_row_that_is_missing_too_many_or_other_is_named(table: str) -> None:
    story = played(3)
    wanted = expected(story, {}, [r.did for r in story.residents])
    good = found(story)
    key, row = next(iter(good[table].items()))

    missing = copy.deepcopy(good)
    del missing[table][key]
    (line,) = differences(story, wanted, missing)
    assert line.startswith(f"{table} {key[0]}")

    other = copy.deepcopy(good)
    other[table][key] = tuple(f"not {value}" for value in row) or ("unexpected",)
    assert len(differences(story, wanted, other)) == 1

    more = copy.deepcopy(good)
    more[table][*key[:-1], f"{key[-1]}x"] = row
    if len(key) > 1:
        assert len(differences(story, wanted, more)) == 1
