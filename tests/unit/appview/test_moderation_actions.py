"""The tables of legal moves, and what is said where a move is none."""

from __future__ import annotations

import pytest

from appview.moderation.actions import (
    CASE_MOVES,
    DECIDING,
    LISTING_MOVES,
    WHILE,
    Action,
    CaseState,
    IllegalMove,
    Listing,
    Standing,
    check_subject,
    label_of,
    move,
    move_listing,
)
from lexicons.subject import read_subject
from lexicons.syntax import Nsid
from storage import scans
from storage.moderation import Resolution

TRACK = Nsid("fm.plyr.track")
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
    check_subject(Action.TAKEDOWN, SONG, None, track=TRACK)
    for action in (Action.RESOLVE, Action.TAKEDOWN, Action.RESTORE):
        check_subject(action, BLOB, None, track=TRACK)
    for action in (Action.LABEL, Action.UNLABEL):
        with pytest.raises(IllegalMove):
            check_subject(action, BLOB, "sexual", track=TRACK)


@pytest.mark.parametrize("action", LISTING_MOVES)
def test_only_a_track_is_unlisted_and_only_one_that_is_listed(action: Action) -> None:
    check_subject(action, SONG, None, track=TRACK)
    for text in ("did:plc:ann", "at://did:plc:ann/fm.plyr.list/3mpt222222222", BLOB.text):
        with pytest.raises(IllegalMove, match="only tracks"):
            check_subject(action, read_subject(text), None, track=TRACK)
    for listing in Listing:
        if listing in LISTING_MOVES[action]:
            assert move_listing(action, listing) is not listing
        else:
            with pytest.raises(IllegalMove, match=f"it is {listing} already"):
                move_listing(action, listing)


def test_a_scan_knows_every_resolution_of_a_case() -> None:
    assert {str(each) for each in Resolution} | {"pending"} == {str(each) for each in scans.Resolution}
