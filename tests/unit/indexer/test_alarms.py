"""Every alarm fires at its threshold, and names a command that there is."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest

from bin.cli import COMMANDS
from indexer.alarms import Alarm, Thresholds, alarms
from lexicons.syntax import tid_from_us
from storage.health import Cursor, Failing, FailingJob, Health, Jobs, Sweep, Unproven

WELL = Health(
    states={"active": 350, "pending": 2},
    hidden=3,
    resync_due=1,
    resync_waiting=0,
    resync_late_s=3.0,
    accounts_due=0,
    accounts_late_s=None,
    identities_due=1,
    identities_late_s=2.0,
    failing=[Failing("https://pds.example", 2, "did:plc:a", "no answer")],
    rejected={"bad_signature": 3},
    stuck=1,
    sources=[Cursor("wss://relay.example", 7, 1.0), Cursor("wss://old.example", 3, 1e6)],
    head=1000,
    quiet_s=5.0,
    sealed=900,
    unsealed_s=60.0,
    sweep=Sweep(age_s=3600, checked=350, in_step=349, healed=1, unreachable=0),
)


def found(**changes: Any) -> list[Alarm]:
    return alarms(replace(WELL, **changes))


def test_all_is_well() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("no_source", {"sources": []}),
        ("sources_stand_still", {"sources": [Cursor("wss://relay.example", 7, 121.0)]}),
        ("resyncs_late", {"resync_late_s": 901.0}),
        ("echo_missing", {"unproven": Unproven(3, tid_from_us(0), 1801.0)}),
        ("accounts_late", {"accounts_due": 1, "accounts_late_s": 901.0}),
        ("identities_late", {"identities_late_s": 901.0}),
        ("rejected", {"rejected": {"bad_signature": 99, "storage": 1}}),
        ("repos_failing", {"states": {"active": 90, "error": 10}}),
        ("sweep_old", {"sweep": Sweep(49 * 3600, 350, 350, 0, 0)}),
        ("score_low", {"sweep": Sweep(60, 350, 300, 50, 0)}),
        ("archive_late", {"unsealed_s": 7201.0}),
        ("jobs_late", {"jobs": Jobs([], late_s=901.0, workers=2, failing=[])}),
        ("jobs_late", {"jobs": Jobs([], late_s=61.0, workers=0, failing=[])}),
        ("jobs_failing", {"jobs": Jobs([], None, 2, [FailingJob("blobs.collect", "the disk is full")])}),
    ],
)
def test_an_alarm_fires_alone_and_names_a_command_that_tells_more(name: str, changes: dict[str, Any]) -> None:
    (alarm,) = found(**changes)
    assert alarm.name == name
    assert alarm.text
    first, *rest = alarm.command.split()[1:]
    command = COMMANDS[first]
    if command.group:
        command = importlib.import_module(command.module).COMMANDS[rest[0]]
    assert importlib.util.find_spec(command.module) is not None


def test_thresholds_are_the_operators() -> None:
    assert [a.name for a in alarms(WELL, Thresholds(rejected=3))] == ["rejected"]


def test_a_source_that_is_not_followed_any_more_is_no_alarm_while_another_moves() -> None:
    assert found(sources=[Cursor("wss://a", 1, 1e6), Cursor("wss://b", 1, 1.0)]) == []


def test_repos_that_nobody_could_reach_do_not_lower_the_score() -> None:
    sweep = Sweep(60, 10, 5, 0, 5)
    assert sweep.score == 1.0
    assert Sweep(60, 5, 0, 0, 5).score is None
    assert found(sweep=sweep) == []
