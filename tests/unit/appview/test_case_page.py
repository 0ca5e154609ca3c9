"""What pages of cases show, out of rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appview.moderation.actions import (
    LISTING_MOVES,
    CaseState,
    IllegalMove,
    Listing,
    Standing,
    check_subject,
    move,
    move_listing,
)
from appview.web import case_page, verdicts
from lexicons.datamodel import encode
from lexicons.subject import read_subject
from lexicons.syntax import Did, Nsid, Rkey
from storage.moderation import OpenedBy, Proof, Resolution
from storage.moderation_views import CaseView, Flag, Happened
from storage.scans import Match, Source

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
COLLECTION = Nsid("fm.plyr.track")
TRACK = f"at://{DID}/fm.plyr.track/3mpt222222222"
BLOB = f"{DID}/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
BLUE: dict[str, Any] = {"artist": "New Order", "title": "Blue Monday"}
ELEGIA: dict[str, Any] = {"artist": "New Order", "title": "Elegia"}


def case(**more: Any) -> CaseView:
    about = {
        "id": 7, "subject": TRACK, "did": DID, "opened_by": "scan", "state": "open", "reason": None,
        "resolution": None, "opened_at": NOW - timedelta(hours=3), "resolved_at": None, "resolved_by": None,
        "handle": "ann.test", "track_id": 1, "block": None, "unlisted": False, "dominant": None,
        "dominant_share": None, "violations": 0,
    }  # fmt: skip
    return CaseView(**about | more)


def flag(*matches: Match) -> Flag:
    return Flag(1, "0" * 64, matches, matches[0], 0.5, NOW, True)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"title": "Night ferry"}, "Night ferry"),
        ({"text": "x" * 300}, "x" * 119 + "…"),
        ({"title": "", "name": "List"}, "List"),
        ({"other": 1}, TRACK),
        ([1], TRACK),
        (None, TRACK),
    ],
)
def test_a_case_is_called_as_its_record_is(record: Any, name: str) -> None:
    assert case_page.name_of(case(block=None if record is None else encode(record))) == name


def test_what_cannot_be_read_has_no_name_of_its_own() -> None:
    assert case_page.name_of(case(block=b"\xff")) == TRACK
    assert case_page.name_of(case(subject=DID)) == "@ann.test"
    assert case_page.name_of(case(subject=DID, handle=None)) == DID
    assert case_page.name_of(case(subject=BLOB, handle=None)) == BLOB


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({}, "A file by @ann.test"),
        ({"area": "image"}, "A picture by @ann.test"),
        ({"area": "image", "shown_with": "Night ferry"}, "The picture of Night ferry"),
        ({"area": "audio", "shown_with": "Night ferry", "handle": None}, "The sound of Night ferry"),
    ],
)
def test_bytes_are_called_by_what_they_are_and_where_they_are_shown(about: dict[str, Any], name: str) -> None:
    assert case_page.name_of(case(subject=BLOB, **about)) == name


def test_a_line_says_how_it_came_when_and_what_was_before() -> None:
    found = case_page.line(case(violations=2, dominant=Match(**BLUE), dominant_share=0.666), NOW)
    assert found["facts"] == ["from a scan", "3 h ago", "2 other violations"]
    assert (found["taken_for"], found["percent"]) == ("Blue Monday by New Order", 67)
    resolved = case(state="resolved", resolution="original_artist", resolved_at=NOW - timedelta(days=2))
    found = case_page.line(resolved, NOW)
    assert (found["resolution"], found["facts"]) == ("Original artist", ["from a scan", "2 days ago"])


def test_a_song_has_all_parts_that_it_was_found_in() -> None:
    matches = [
        Match(**BLUE, isrc="GB1", timecode="01:12", offset_ms=350),
        Match(**ELEGIA, offset_ms=350),
        Match("NEW ORDER", "blue monday", album="Substance", offset_ms=12_350),
        Match(**ELEGIA, offset_ms=None),
    ]
    first, second = case_page.songs(flag(*matches), 12.35, COLLECTION, {})
    assert (first.title, first.album, first.isrc, first.weight) == ("Blue Monday", "Substance", "GB1", "67 %")
    assert [(part.at, part.at_s, part.theirs, part.is_current) for part in first.parts] == [
        ("0:00", 0.35, "01:12", False), ("0:12", 12.35, None, True),
    ]  # fmt: skip
    assert (second.title, [part.at for part in second.parts]) == ("Elegia", ["0:00", "somewhere"])


def test_a_track_that_is_here_is_first_and_says_how_sure_that_is() -> None:
    about: dict[str, Any] = {"source": Source.PLYR, "did": DID, "length_ms": 34_900, "confidence": 0.987}
    matches = [
        Match(**BLUE, offset_ms=0),
        Match(**BLUE, offset_ms=500, rkey=Rkey("a"), **about),
        Match(**BLUE, offset_ms=500, rkey=Rkey("b"), **about),
    ]
    found = case_page.songs(flag(*matches), None, COLLECTION, {(DID, Rkey("b")): 12})
    assert [(song.weight, song.uri, song.track_id) for song in found] == [
        ("0:34 long, 99 % sure", f"at://{DID}/fm.plyr.track/a", None),
        ("0:34 long, 99 % sure", f"at://{DID}/fm.plyr.track/b", 12),
        ("100 %", None, None),
    ]


def test_the_next_match_after_the_last_is_the_first() -> None:
    found = flag(*(Match(**BLUE, offset_ms=each) for each in (12_000, 350, None, 12_000)))
    assert [case_page.next_part(found, at_s) for at_s in (None, 0.35, 5, 12)] == [0.35, 12, 12, 0.35]
    assert case_page.next_part(flag(Match(**BLUE)), None) is None


def test_the_log_is_told_in_words() -> None:
    def told(action: str, resolution: str | None = None, proof: Proof = Proof.SESSION) -> str:
        event = Happened(1, NOW, 7, action, "plyr", proof, None, resolution, None, None)
        (line,) = case_page.log([event])
        return f"{line['did']}, {line['proof']}"

    assert told("open", proof=Proof.SELF) == "Opened, by itself"
    assert told("resolve", "false_positive") == "Decided: false positive, signed in"
    assert told("takedown", "violation") == "Taken down, signed in"
    assert told("counter_notice", proof=Proof.COMMAND) == "Counter notice, on the command line"
    assert {told("note", proof=proof) for proof in Proof}
    assert set(case_page.OPENED_BY) == set(OpenedBy)
    assert set(case_page.RESOLUTIONS) == set(Resolution)


@pytest.mark.parametrize("text", [TRACK, DID, BLOB])
@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("listing", Listing)
def test_every_button_that_is_shown_may_be_pressed(
    text: str, standing: Standing, is_open: bool, listing: Listing
) -> None:
    state = CaseState.OPEN if is_open else CaseState.RESOLVED
    subject = read_subject(text)
    of = listing if text == TRACK else None
    found = list(verdicts.buttons(subject, standing, is_open=is_open, listing=of))
    assert len({button.key for button in found}) == len({button.act for button in found}) == len(found)
    for button in found:
        act = verdicts.act(button.act)
        check_subject(act.action, subject, None, track=COLLECTION)
        move(act.action, act.resolution, state, standing)
        if act.action in LISTING_MOVES:
            move_listing(act.action, listing)
    assert any(verdicts.act(button.act).action in LISTING_MOVES for button in found) == (text == TRACK)
    if is_open:
        assert any(verdicts.act(button.act).resolution is Resolution.VIOLATION for button in found)


def test_nothing_else_can_be_sent() -> None:
    with pytest.raises(IllegalMove):
        verdicts.act("label")


def test_a_scan_is_about_copyright_and_what_is_not_known_is_first() -> None:
    assert [code for code, _, chosen in verdicts.reasons(None, "scan") if chosen] == ["copyright"]
    assert [code for code, _, chosen in verdicts.reasons(None, "report") if chosen] == ["other"]
    assert verdicts.reasons("repeat_infringer", "strikes")[0] == (
        "repeat_infringer",
        "Repeat infringer",
        True,
    )
