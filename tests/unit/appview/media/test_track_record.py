"""A track's record, new and edited: whole, and only what our lexicon accepts."""

from __future__ import annotations

from typing import Any

import pytest

from appview.media.steps import MOVES, NEW_SOUND, NEW_TRACK, SAID, Step, following
from appview.media.track_record import Edit, Sound, Words, edited, new_record
from lexicons.catalog import Catalog
from lexicons.records import InvalidRecord
from lexicons.syntax import Did, Rkey

CATALOG = Catalog.load()
RKEY = Rkey("3mpt222222222")
SOUND = Sound("https://plyr.example/audio/ab", "mp3", 61.9)
BLOB = {
    "$type": "blob",
    "ref": {"$link": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
    "mimeType": "audio/mpeg",
    "size": 7,
}
ANN = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")


def record(**more: Any) -> dict[str, Any]:
    words = Words("Dawn", "Ann", "Days", "About a day.", (ANN,), "https://plyr.example/image/cd")
    return new_record(CATALOG, RKEY, words, SOUND, "2026-07-04T14:00:00.000Z") | more


def change(before: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return edited(CATALOG, RKEY, before, Edit(**changes))


def test_a_new_record_says_all_that_is_known() -> None:
    assert record() == {
        "$type": "fm.plyr.track",
        "title": "Dawn",
        "artist": "Ann",
        "album": "Days",
        "description": "About a day.",
        "features": [{"did": ANN}],
        "imageUrl": "https://plyr.example/image/cd",
        "audioUrl": "https://plyr.example/audio/ab",
        "fileType": "mp3",
        "duration": 61,
        "createdAt": "2026-07-04T14:00:00.000Z",
    }


def test_what_nobody_said_is_not_there() -> None:
    made = new_record(CATALOG, RKEY, Words("Dawn", "Ann"), SOUND, "2026-07-04T14:00:00.000Z")
    assert made.keys() & {"album", "description", "features", "imageUrl", "audioBlob"} == set()


@pytest.mark.parametrize("title", ["", "x" * 257])
def test_what_the_lexicon_refuses_is_refused_before_anybody_is_asked(title: str) -> None:
    with pytest.raises(InvalidRecord):
        new_record(CATALOG, RKEY, Words(title, "Ann"), SOUND, "2026-07-04T14:00:00.000Z")
    with pytest.raises(InvalidRecord):
        change(record(), title=title)


def test_an_edit_changes_what_it_names_and_keeps_the_rest() -> None:
    before = record(mood="early", audioBlob=BLOB)
    assert change(before, title="Dusk") == before | {"title": "Dusk"}
    assert change(before) == before
    assert before["title"] == "Dawn"


@pytest.mark.parametrize("name", ["album", "description", "features"])
def test_empty_clears(name: str) -> None:
    before = record()
    assert change(before, **{name: () if name == "features" else ""}) == {
        key: value for key, value in before.items() if key != name
    }
    assert name not in change({k: v for k, v in before.items() if k != name}, **{name: ()})


def test_a_feature_that_stays_keeps_what_others_said_of_it() -> None:
    named = {"did": ANN, "handle": "ann.test", "x": 1}
    other = Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
    assert change(record(features=[named]), features=(other, ANN))["features"] == [{"did": other}, named]


def test_other_sound_takes_the_blob_of_the_one_before_along() -> None:
    before = record(audioBlob=BLOB)
    after = change(before, sound=Sound("https://plyr.example/audio/ef", "wav", 3))
    assert "audioBlob" not in after
    assert (after["audioUrl"], after["fileType"], after["duration"]) == (
        "https://plyr.example/audio/ef", "wav", 3,
    )  # fmt: skip
    assert change(before, sound=Sound("https://plyr.example/audio/ef", "mp3", 3, BLOB))["audioBlob"] == BLOB


@pytest.mark.parametrize("way", [NEW_TRACK, NEW_SOUND])
def test_each_way_is_legal_from_its_beginning_to_its_end(way: tuple[Step, ...]) -> None:
    done, walked = None, list[Step]()
    while (step := following(done, way)) is not None:
        walked.append(step)
        done = step
    assert tuple(walked) == way
    assert MOVES[walked[-1]] == frozenset()
    assert set(SAID) == set(Step)


def test_a_move_that_is_not_legal_is_refused() -> None:
    with pytest.raises(ValueError, match="record does not follow probe"):
        following(Step.PROBE, (Step.PROBE, Step.RECORD))
