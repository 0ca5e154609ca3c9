from __future__ import annotations

import pytest

from bin.status import PartStatus, SourceStatus
from bin.supervisor import Part, PartState
from bin.view import View, duration, live, plain, states

SOURCE = SourceStatus(
    url="wss://relay.example", state="live", seq=12_345_678, lag_s=0.42, events_per_s=181.6, error=None
)


def view(*sources: SourceStatus, rejected: int = 0) -> View:
    ingest = Part(
        "ingest", PartState.RUNNING, PartStatus(part="ingest", sources=list(sources), rejected=rejected)
    )
    web = Part(
        "web", PartState.RUNNING, PartStatus(part="web", address="http://127.0.0.1:8000", requests=1234)
    )
    worker = Part("worker", PartState.RUNNING, PartStatus(part="worker", running=1, unfinished=3))
    scheduler = Part("scheduler", PartState.RUNNING, PartStatus(part="scheduler", leads=True))
    return View("0.1.0", 192, ingest, sync_part(active=1200), worker, scheduler, web, "12 MB")


def starting(sync: Part | None = None, web: Part | None = None) -> View:
    parts = (Part("ingest"), sync or Part("sync"), Part("worker"), Part("scheduler"), web or Part("web"))
    return View("0.1.0", 1, *parts, "12 MB")


def sync_part(due: int = 0, per_s: float = 0, **repos: int) -> Part:
    status = PartStatus(part="sync", repos=repos, due=due, resyncs_per_s=per_s)
    return Part("sync", PartState.RUNNING, status)


def test_each_thing_to_watch_has_its_line() -> None:
    other = SourceStatus(
        url="wss://pds.example:444",
        state="waiting",
        events_per_s=0,
        error="cannot connect: [Errno -2] No such host",
    )
    assert live(view(SOURCE, other, rejected=3), 120, 0) == [
        "plyr 0.1.0       http://127.0.0.1:8000  up 3 min 12 s, Ctrl-C stops",
        "relay.example    live, seq 12,345,678, 0.4 s behind, 182 events/s",
        "pds.example:444  waiting, cannot connect: No such host",
        "rejected         3 events wait in rejected_event with their reasons",
        "sync             1,200 of 1,200 repos in step",
        "worker           1 job being done, 3 not finished",
        "scheduler        keeps time",
        "web              serving, 1,234 requests",
        "database         12 MB",
    ]


def test_a_log_gets_the_same_on_one_line() -> None:
    assert plain(view(SOURCE), 0) == (
        "relay.example live, seq 12,345,678, 0.4 s behind, 182 events/s | sync 1,200 of 1,200 repos in step"
        " | worker 1 job being done, 3 not finished | scheduler keeps time"
        " | web serving, 1,234 requests | database 12 MB"
    )


def test_no_line_is_wider_than_the_terminal() -> None:
    assert max(map(len, live(view(SOURCE), 40, 0))) < 40


def test_a_part_that_has_not_reported_shows_its_state() -> None:
    silent = starting(web=Part("web", PartState.WAITING, retry_at=10))
    shown = plain(silent, now=6)
    assert (
        "ingest starting | sync starting | worker starting | scheduler starting | web ended, starts" in shown
    )
    assert "starts again in 4 s" in shown


def test_a_status_with_keys_missing_is_shown_as_far_as_it_goes() -> None:
    assert "source unknown |" in plain(view(SourceStatus()), 0)


def test_only_a_change_of_state_is_worth_a_line_at_once() -> None:
    before = states(view(SOURCE))
    assert states(view(SourceStatus(**{**SOURCE, "seq": 12_345_999}))) == before
    assert states(view(SourceStatus(**{**SOURCE, "state": "waiting"}))) != before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (192, "3 min 12 s"), (7500, "2 h 5 min"), (356_400, "4 d 3 h")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sync_says_what_is_not_in_step_and_how_fast_that_changes() -> None:
    sync = sync_part(due=41, per_s=212.4, active=1200, pending=40, error=1, resyncing=0)
    shown = starting(sync=sync)
    assert "sync 1,200 of 1,241 repos in step, 1 error, 40 pending, 41 due, 212.4 read/s |" in plain(shown, 0)


def test_sync_shows_how_complete_the_last_sweep_found_the_index() -> None:
    sync = sync_part(active=3)
    sync.status["score"] = 0.9987
    shown = starting(sync=sync)
    assert "sync 3 of 3 repos in step, 99.87% complete at the last sweep |" in plain(shown, 0)
