"""Counts by month, and the bars that are drawn of them."""

from __future__ import annotations

import pytest

from appview.moderation.transparency import between, ledger
from appview.web.bars import HEIGHT, WIDTH, plot, tick_step
from appview.web.transparency import axis, month_name, took
from storage.transparency import Tally, What

TALLIES = [
    Tally("2026-01", What.DECIDED, "scan", "violation", 8, None),
    Tally("2026-01", What.DECIDED, "report", "violation", 1, None),
    Tally("2026-01", What.DECIDED, "scan", "false_positive", 11, None),
    Tally("2026-01", What.TOOK, "", None, 20, 5400.0),
    Tally("2026-01", What.DONE, "takedown", None, 9, None),
    Tally("2025-11", What.OPENED, "scan", None, 20, None),
    Tally("2025-11", What.OPENED, "report", None, 4, None),
]


def test_all_months_are_there_also_those_without_anything() -> None:
    found = ledger(TALLIES, "2026-02")
    assert [month.month for month in found.months] == ["2025-11", "2025-12", "2026-01", "2026-02"]
    january = found.months[2]
    assert january.decided == {"scan": {"violation": 8, "false_positive": 11}, "report": {"violation": 1}}
    assert (january.found("violation"), january.actions, january.median_hours) == (9, {"takedown": 9}, 1.5)
    assert (found.opened, found.open) == (24, 4)
    assert found.decided == {"violation": 9, "false_positive": 11, "original_artist": 0, "no_action": 0}


def test_nothing_is_a_month_without_anything() -> None:
    found = ledger([], "2026-02")
    assert (found.opened, found.open, [month.month for month in found.months]) == (0, 0, ["2026-02"])


def test_months_that_a_clock_puts_ahead_of_us_are_kept() -> None:
    tallies = [Tally("2026-03", What.OPENED, "scan", None, 1, None)]
    assert [month.month for month in ledger(tallies, "2026-02").months] == ["2026-03"]
    assert between("2025-12", "2026-01") == ["2025-12", "2026-01"]


@pytest.mark.parametrize(
    ("most", "step"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 5), (20, 5), (21, 10), (401, 200)]
)
def test_few_lines_are_enough(most: int, step: int) -> None:
    assert tick_step(most) == step


def test_bars_are_stacked_and_within_the_picture() -> None:
    drawn = plot([("Jan", {"a": 3, "b": 0, "c": 5}), ("Feb", {"a": 0, "b": 0, "c": 0})])
    first, second = drawn.bars
    assert [(piece.kind, piece.count) for piece in first.pieces] == [("a", 3), ("c", 5)]
    low, high = first.pieces
    assert low.y + low.height == pytest.approx(drawn.base)
    assert high.y + high.height == pytest.approx(low.y, abs=0.01)
    assert high.height / low.height == pytest.approx(5 / 3, abs=0.01)
    assert high.y == pytest.approx(drawn.ticks[-1].y, abs=0.01)  # 8 is a line
    assert second.pieces == ()
    for bar in drawn.bars:
        assert drawn.left < bar.x < bar.x + drawn.bar_width < WIDTH
    assert all(0 <= tick.y <= HEIGHT for tick in drawn.ticks)
    assert plot([]).bars == ()
    slim = plot([("Jan", {"a": 3})], width=WIDTH // 2)
    assert (slim.width, slim.right) == (WIDTH // 2, drawn.right - WIDTH // 2)
    assert slim.bars[0].x + slim.bar_width < slim.right


def test_a_year_is_named_where_one_begins_and_at_the_first_where_there_is_room() -> None:
    assert axis(["2025-11", "2025-12", "2026-01", "2026-02"]) == ["Nov 2025", "Dec", "Jan 2026", "Feb"]
    assert axis(["2025-12", "2026-01"]) == ["Dec", "Jan 2026"]
    assert axis(["2026-01"]) == ["Jan 2026"]
    assert axis([]) == []


def test_words_for_months_and_spans() -> None:
    assert month_name("2026-11") == "Nov 2026"
    assert [took(hours) for hours in (0.4, 5, 47.4, 60)] == ["under an hour", "5 h", "47 h", "2 days"]
