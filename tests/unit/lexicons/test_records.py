"""Signed bytes become structs, or a reason."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicons.catalog import Catalog
from lexicons.datamodel import Link, cid_of, encode
from lexicons.records import (
    MAX_RECORD_BYTES,
    BlobRef,
    BskyProfile,
    Comment,
    InvalidRecord,
    Like,
    List,
    ListItem,
    Profile,
    Record,
    StrongRef,
    Track,
    parse_record,
)
from lexicons.syntax import AtUri, Nsid

CATALOG = Catalog.load()
NAMES = CATALOG.collections
RKEY = "3kznmn7xqxl22"
NOW = "2026-07-04T12:34:56.123456Z"
AUDIO = cid_of(b"audio", "raw")
TRACK_CID = cid_of(b"track")
TRACK_URI = AtUri("at://did:plc:7iza6de2dwap2sbkpav7c6c6/fm.plyr.track/3kznmn7xqxl22")
SUBJECT = {"uri": TRACK_URI, "cid": TRACK_CID}
REF = StrongRef(TRACK_URI, TRACK_CID)

TRACK: dict[str, Any] = {
    "$type": "fm.plyr.track",
    "title": "Night Drive",
    "artist": "Some Artist",
    "fileType": "mp3",
    "createdAt": NOW,
    "audioUrl": "https://audio.example.com/a.mp3",
}
LIKE: dict[str, Any] = {"$type": "fm.plyr.like", "subject": SUBJECT, "createdAt": NOW}
COMMENT: dict[str, Any] = {
    "$type": "fm.plyr.comment",
    "subject": SUBJECT,
    "text": "here!",
    "timestampMs": 1234,
    "createdAt": NOW,
}


def blob(mime_type: str = "audio/mpeg", size: int = 5_000_000) -> dict[str, Any]:
    return {"$type": "blob", "ref": Link(AUDIO), "mimeType": mime_type, "size": size}


def parse(value: dict[str, Any], rkey: str = RKEY, catalog: Catalog = CATALOG) -> Record:
    return parse_record(catalog, Nsid(value["$type"]), rkey, encode(value))


def reason(value: dict[str, Any], rkey: str = RKEY) -> str:
    with pytest.raises(InvalidRecord) as error:
        parse(value, rkey)
    return error.value.reason


def test_a_track_with_everything_is_read() -> None:
    track = parse(
        TRACK
        | {
            "audioBlob": blob(),
            "album": "Roads",
            "duration": 215,
            "features": [{"did": "did:plc:7iza6de2dwap2sbkpav7c6c6", "handle": "a.example.com"}],
            "imageUrl": "https://images.example.com/a.png",
            "supportGate": {"type": "any"},
            "description": "long way home",
            "labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "explicit"}]},
        }
    )
    assert isinstance(track, Track)
    assert track.title == "Night Drive"
    assert track.audio_blob == BlobRef(AUDIO, "audio/mpeg", 5_000_000)
    assert (track.album, track.duration, track.image_url) == (
        "Roads",
        215,
        "https://images.example.com/a.png",
    )
    assert track.features == ("did:plc:7iza6de2dwap2sbkpav7c6c6",)
    assert (track.support_gate, track.description, track.labels) == ("any", "long way home", ("explicit",))
    assert track.raw["audioBlob"]["ref"] == {"$link": AUDIO}


def test_a_track_with_the_least_is_read() -> None:
    track = parse(TRACK)
    assert isinstance(track, Track)
    assert track.audio_url == "https://audio.example.com/a.mp3"
    assert (track.audio_blob, track.album, track.duration, track.image_url) == (None, None, None, None)
    assert (track.features, track.labels, track.created_at) == ((), (), NOW)
    assert track.raw == TRACK


def test_a_track_may_have_its_audio_as_a_blob_alone() -> None:
    track = parse({key: value for key, value in TRACK.items() if key != "audioUrl"} | {"audioBlob": blob()})
    assert isinstance(track, Track)
    assert track.audio_url is None
    assert track.audio_blob is not None


def test_a_track_without_audio_is_refused() -> None:
    assert reason({key: value for key, value in TRACK.items() if key != "audioUrl"}) == (
        "a track without audioUrl and audioBlob"
    )


def test_labels_of_another_kind_are_kept_and_not_read() -> None:
    track = parse(TRACK | {"labels": {"$type": "com.example.labels", "values": 1}})
    assert isinstance(track, Track)
    assert track.labels == ()
    assert track.raw["labels"] == {"$type": "com.example.labels", "values": 1}


def test_a_like_is_read() -> None:
    assert parse(LIKE) == Like(REF, NOW, LIKE)


def test_a_comment_is_read() -> None:
    assert parse(COMMENT) == Comment(REF, "here!", 1234, NOW, None, COMMENT)
    edited = COMMENT | {"updatedAt": NOW}
    assert parse(edited) == Comment(REF, "here!", 1234, NOW, NOW, edited)


def test_a_list_is_read_in_its_order_with_repetitions() -> None:
    other = StrongRef(AtUri("at://did:plc:7iza6de2dwap2sbkpav7c6c6/fm.plyr.track/3kznmn7xqxl23"), TRACK_CID)
    items = [{"subject": SUBJECT}, {"subject": {"uri": other.uri, "cid": other.cid}}, {"subject": SUBJECT}]
    value = {"$type": "fm.plyr.list", "items": items, "createdAt": NOW, "name": "Roads", "listType": "album"}
    assert parse(value) == List(
        (ListItem(REF), ListItem(other), ListItem(REF)), NOW, "Roads", "album", None, value
    )


def test_a_profile_is_read() -> None:
    value = {"$type": "fm.plyr.actor.profile", "createdAt": NOW, "bio": "hello"}
    assert parse(value, "self") == Profile(NOW, None, "hello", None, value)


def test_a_profile_of_bluesky_is_read() -> None:
    value = {"$type": "app.bsky.actor.profile", "displayName": "A", "avatar": blob("image/png", 10)}
    profile = parse(value, "self")
    assert isinstance(profile, BskyProfile)
    assert (profile.display_name, profile.description, profile.created_at) == ("A", None, None)
    assert profile.avatar == BlobRef(AUDIO, "image/png", 10)


def test_an_avatar_of_the_old_blob_form_is_read() -> None:
    value = {"$type": "app.bsky.actor.profile", "avatar": {"cid": AUDIO, "mimeType": "image/jpeg"}}
    profile = parse(value, "self")
    assert isinstance(profile, BskyProfile)
    assert profile.avatar == BlobRef(AUDIO, "image/jpeg", None)


def test_unknown_fields_are_kept() -> None:
    like = parse(LIKE | {"via": {"uri": "x", "bytes": b"\0\1", "link": Link(TRACK_CID)}})
    assert isinstance(like, Like)
    assert like.raw["via"] == {"uri": "x", "bytes": {"$bytes": "AAE"}, "link": {"$link": TRACK_CID}}


@pytest.mark.parametrize("rkey", ["self", "", "zzzzzzzzzzzzz", "3kznmn7xqxl2", "3kznmn7xqxl22\n", "../like"])
def test_a_like_under_a_key_that_is_no_tid_is_refused(rkey: str) -> None:
    assert reason(LIKE, rkey) == "the record key is not tid"


@pytest.mark.parametrize("first", "234567abcdefghij")
def test_t37_a_record_under_any_valid_tid_is_read(first: str) -> None:
    assert isinstance(parse(LIKE, first + "kznmn7xqxl22"), Like)


def test_a_profile_under_another_key_than_self_is_refused() -> None:
    assert reason({"$type": "fm.plyr.actor.profile", "createdAt": NOW}, RKEY) == (
        "the record key is not literal:self"
    )


def test_a_record_of_another_type_than_its_collection_is_refused() -> None:
    with pytest.raises(InvalidRecord, match=r"\$type"):
        parse_record(CATALOG, NAMES.like, RKEY, encode(COMMENT))


def test_t29_another_environment_reads_its_own_collections_alone() -> None:
    dev = Catalog.load("fm.plyr.dev")
    with pytest.raises(InvalidRecord, match="not a collection that we read"):
        parse(LIKE, catalog=dev)
    assert isinstance(parse(LIKE | {"$type": "fm.plyr.dev.like"}, catalog=dev), Like)
    with pytest.raises(InvalidRecord, match="not a collection that we read"):
        parse(LIKE | {"$type": "fm.plyr.dev.like"})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"title": ""}, "title"),
        ({"title": "é" * 129}, "title"),
        ({"title": None}, "title"),
        ({"artist": "a" * 257}, "artist"),
        ({"fileType": ""}, "fileType"),
        ({"fileType": "a" * 17}, "fileType"),
        ({"createdAt": "yesterday"}, "createdAt"),
        ({"createdAt": "2026-07-04T12:34:56"}, "createdAt"),
        ({"audioUrl": "audio.mp3"}, "audioUrl"),
        ({"audioBlob": blob("video/mp4")}, "audioBlob/mimeType"),
        ({"audioBlob": blob(size=104_857_601)}, "audioBlob/size"),
        ({"duration": -1}, "duration"),
        ({"duration": True}, "duration"),
        ({"features": [{"did": "did:plc:abc"}] * 11}, "features"),
        ({"features": [{"handle": "a.example.com"}]}, "features/0/did"),
        ({"features": [{"did": "did:plc:abc\n"}]}, "features/0/did"),
        ({"imageUrl": "/a.png"}, "imageUrl"),
        ({"supportGate": {}}, "supportGate/type"),
        ({"description": "a" * 5001}, "description"),
        ({"labels": {"values": []}}, "labels/$type"),
        ({"labels": {"$type": "com.atproto.label.defs#selfLabels"}}, "labels/values"),
    ],
    ids=repr,
)
def test_a_track_that_breaks_its_schema_is_refused_with_the_path(changes: dict[str, Any], path: str) -> None:
    assert reason(TRACK | changes).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"text": ""}, "text"),
        ({"text": "é" * 501}, "text"),
        ({"timestampMs": -1}, "timestampMs"),
        ({"subject": {"uri": TRACK_URI}}, "subject/cid"),
        ({"subject": {"uri": TRACK_URI + "\n", "cid": TRACK_CID}}, "subject/uri"),
        ({"subject": TRACK_URI}, "subject"),
        ({"updatedAt": None}, "updatedAt"),
    ],
    ids=repr,
)
def test_a_comment_that_breaks_its_schema_is_refused_with_the_path(
    changes: dict[str, Any], path: str
) -> None:
    assert reason(COMMENT | changes).startswith(f"{path}: ")


def test_a_list_of_more_than_500_items_is_refused() -> None:
    value = {"$type": "fm.plyr.list", "items": [{"subject": SUBJECT}] * 500, "createdAt": NOW}
    assert isinstance(parse(value), List)
    assert reason(value | {"items": [{"subject": SUBJECT}] * 501}) == "items: more than 500 items"


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x80", id="an array"),
        pytest.param(encode(LIKE)[:-1], id="cut short"),
        pytest.param(encode(LIKE) + b"\0", id="something behind"),
        pytest.param(encode(LIKE | {"x": 0})[:-1] + b"\xff", id="damaged"),
        pytest.param(encode(LIKE | {"x": 0}).replace(b"\x61x\x00", b"\x61x\x18\x00"), id="padded integer"),
        pytest.param(b"\x81" * 100_000, id="deep"),
    ],
)
def test_t19_bytes_that_are_no_strict_dag_cbor_are_refused(block: bytes) -> None:
    with pytest.raises(InvalidRecord):
        parse_record(CATALOG, NAMES.like, RKEY, block)


def test_t19_nul_in_a_title_survives() -> None:
    track = parse(TRACK | {"title": "a\0b"})
    assert isinstance(track, Track)
    assert track.title == "a\0b"


def test_a_link_by_an_unknown_hash_in_an_unknown_field_does_no_harm() -> None:
    odd = b"\x61x\xd8\x2a\x48\x00\x01\x55\x00\x03abc"
    block = encode(LIKE | {"x": 0}).replace(b"\x61x\x00", odd)
    assert isinstance(parse_record(CATALOG, NAMES.like, RKEY, block), Like)


def test_a_record_ends_at_1_mib() -> None:
    room = MAX_RECORD_BYTES - len(encode(LIKE | {"x": "a" * 70_000})) + 70_000
    assert isinstance(parse(LIKE | {"x": "a" * room}), Like)
    assert reason(LIKE | {"x": "a" * (room + 1)}) == "larger than 1048576 bytes"


@given(
    st.sampled_from([TRACK, LIKE, COMMENT]),
    st.data(),
)
def test_a_damaged_record_is_read_or_refused(value: dict[str, Any], data: st.DataObject) -> None:
    block = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    try:
        record = parse_record(CATALOG, Nsid(value["$type"]), RKEY, bytes(block))
    except InvalidRecord:
        return
    assert orjson.loads(orjson.dumps(record.raw)) == record.raw
