"""When silence means that a source is blind (T16)."""

from __future__ import annotations

import pytest

from indexer.pulse import blindness

HOUR = 3600.0
WEEK = 7 * 24 * HOUR


def test_t16_eleven_hours_without_a_record_where_five_an_hour_are_usual_is_blindness() -> None:
    text = blindness(11 * HOUR, 800, WEEK, 0)
    assert text == "no record of ours came for 11.0 h, in which 56 are usual"


@pytest.mark.parametrize(
    ("silent_s", "records", "why"),
    [
        (None, 0, "nothing ever came"),
        (600, 100_000, "too short to tell"),
        (10 * HOUR, 30, "as little as usual"),
        (WEEK, 100, "nothing to compare with"),
    ],
)
def test_silence_that_is_usual_is_none(silent_s: float | None, records: int, why: str) -> None:
    assert blindness(silent_s, records, WEEK, 0) is None, why


def test_t16_repos_that_a_sweep_found_behind_make_a_short_silence_suspicious() -> None:
    assert blindness(2 * HOUR, 400, WEEK, 0) is None
    text = blindness(2 * HOUR, 400, WEEK, 4)
    assert text is not None
    assert text.endswith("meanwhile 4 repos were found behind")


def test_repos_behind_while_records_come_are_no_blindness() -> None:
    assert blindness(60, 400, WEEK, 50) is None
