"""The tables of legal moves, and what is said where a move is none."""

from __future__ import annotations

import pytest

from appview.moderation.actions import (
    CASE_MOVES,
    DECIDING,
    WHILE,
    Action,
    CaseState,
    IllegalMove,
    Standing,
    check_subject,
    label_of,
    move,
)
from lexicons.subject import read_subject
from storage import scans
from storage.moderation import Resolution

SONG = read_subject("at://did:plc:ann/fm.plyr.track/3mpt222222222")
BLOB = read_subject("did:plc:ann/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")


def test_every_action_has_its_moves_and_none_leads_back_to_no_case() -> None:
    assert set(CASE_MOVES) == set(Action)
    for moves in CASE_MOVES.values():
        assert all(after is not CaseState.NONE or before is CaseState.NONE for before, after in moves.items())


def test_only_a_restore_takes_back_what_stands() -> None:
    for standing in (Standing.JUDGED, Standing.DOWN):
        for resolution in (Resolution.FALSE_POSITIVE, Resolution.ORIGINAL_ARTIST):
            with pytest.raises(IllegalMove, match="restore it"):
                move(Action.RESOLVE, resolution, CaseState.OPEN, standing)
            assert move(Action.RESTORE, resolution, CaseState.OPEN, standing) is CaseState.RESOLVED


def test_a_restore_is_never_a_violation_and_a_resolution_is_always_said() -> None:
    for action, resolution in ((Action.RESTORE, Resolution.VIOLATION), (Action.RESOLVE, None)):
        assert (action, resolution) not in WHILE
        with pytest.raises(IllegalMove):
            move(action, resolution, CaseState.OPEN, Standing.DOWN)


def test_what_was_resolved_is_not_resolved_again_without_an_appeal() -> None:
    with pytest.raises(IllegalMove, match="the case is resolved, and resolve needs one that is open"):
        move(Action.RESOLVE, Resolution.VIOLATION, CaseState.RESOLVED, Standing.CLEAR)
    assert move(Action.APPEAL, None, CaseState.RESOLVED, Standing.CLEAR) is CaseState.OPEN


def test_a_note_or_another_report_makes_no_decision_outdated() -> None:
    assert frozenset(Action) - DECIDING == {Action.NOTE, Action.OPEN}


def test_bytes_are_taken_down_and_have_no_label() -> None:
    assert label_of(SONG, "copyright") == "copyright-violation"
    assert label_of(SONG, "spam") is None
    assert label_of(BLOB, "copyright") is None
    check_subject(Action.TAKEDOWN, SONG, None)
    check_subject(Action.RESOLVE, BLOB, None)
    check_subject(Action.TAKEDOWN, BLOB, None)
    check_subject(Action.RESTORE, BLOB, None)
    for action in (Action.LABEL, Action.UNLABEL):
        with pytest.raises(IllegalMove):
            check_subject(action, BLOB, "sexual")


def test_a_scan_knows_every_resolution_of_a_case() -> None:
    assert {str(each) for each in Resolution} | {"pending"} == {str(each) for each in scans.Resolution}
