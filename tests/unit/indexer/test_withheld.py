"""Bytes that we took down are led to by nothing that is made of records."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from indexer.cards import track_card
from indexer.profiles import profile_row
from indexer.rest_card import track_rest
from indexer.withheld import leads_to
from lexicons.catalog import Catalog
from lexicons.datamodel import encode, from_json, raw_cid
from lexicons.records import BskyProfile, Profile, Track, parse_record
from lexicons.syntax import AtUri, Cid, Did, Nsid, Rev, Rkey

CATALOG = Catalog.load()
DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
URI = AtUri(f"at://{DID}/fm.plyr.track/3kaaaaaaaaaaa")
CID = Cid("bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm")
COVER, SOUND, OTHER = ("1a" * 32, "2b" * 32, "3c" * 32)
PDS = "https://pds.example"


def shown(withheld: tuple[str, ...], **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """As XRPC and as REST have it."""
    value = {
        "$type": "fm.plyr.track",
        "title": "One",
        "artist": "A",
        "fileType": "mp3",
        "createdAt": "2026-01-01T00:00:00Z",
        "album": "Album",
        "imageUrl": f"https://plyr.test/image/{COVER}",
        "audioUrl": f"https://plyr.test/audio/{SOUND}",
        **fields,
    }
    value = {name: each for name, each in value.items() if each is not None}
    track = parse_record(CATALOG, Nsid("fm.plyr.track"), Rkey("3kaaaaaaaaaaa"), encode(from_json(value)))
    assert isinstance(track, Track)
    card = track_card(
        track, uri=URI, did=DID, cid=CID, rev=Rev("3kaaaaaaaaaaa"), pds=PDS, verified=True, withheld=withheld
    )
    rest = track_rest(track.raw, uri=URI, did=DID, cid=CID, pds=PDS, withheld=withheld).rest
    open_ended = "null}" if rest.endswith(":") else ""
    return orjson.loads("{" + card + "}"), orjson.loads("{" + rest + open_ended + "}")


def blob() -> dict[str, Any]:
    return {"$type": "blob", "ref": {"$link": raw_cid(SOUND)}, "mimeType": "audio/mpeg", "size": 3}


@pytest.mark.parametrize(
    "address",
    [
        f"https://plyr.test/image/{COVER}?w=320",
        f"https://x.example/{DID}/{raw_cid(COVER)}@jpeg",
        raw_cid(COVER),
    ],
)
def test_an_address_leads_to_bytes_by_their_hash_or_their_cid(address: str) -> None:
    assert leads_to(address, {OTHER, COVER})
    assert not leads_to(address, {OTHER})
    assert not leads_to(None, {COVER})


def test_a_cover_goes_from_the_track_and_its_album_and_from_nothing_else() -> None:
    card, rest = shown((COVER,))
    before, rest_before = shown(())
    assert before.pop("image") == f"https://plyr.test/image/{COVER}"
    assert card == before  # with the record as it was signed
    assert (rest["image_url"], rest["thumbnail_url"], rest["album"]["image_url"]) == (None, None, None)
    same = {name for name in rest if rest[name] == rest_before[name]}
    assert set(rest) - same == {"image_url", "thumbnail_url", "album"}
    assert shown((OTHER,)) == shown(())


@pytest.mark.parametrize(
    "where",
    [
        {"audioUrl": None, "audioBlob": blob()},
        {"audioBlob": blob()},
        {"audioUrl": "https://elsewhere.example/a.mp3", "audioBlob": blob()},
        {},
    ],
    ids=["blob", "both", "blob, and an address that tells nothing", "address"],
)
def test_a_sound_goes_by_whatever_names_it_and_is_called_as_before(where: dict[str, Any]) -> None:
    card, rest = shown((SOUND,), **where)
    before, rest_before = shown((), **where)
    assert "url" in before["audio"]
    assert "url" not in card["audio"]
    assert card["image"] == before["image"]
    assert (rest["r2_url"], rest["file_id"]) == (None, rest_before["file_id"])
    assert rest_before["r2_url"] is not None


def test_a_picture_of_an_account_goes_whichever_profile_says_it() -> None:
    own = Profile("2026-01-01T00:00:00Z", None, f"https://plyr.test/image/{COVER}", None, {})
    assert profile_row(1, DID, None, own, None).avatar == own.avatar
    row = profile_row(1, DID, None, own, None, {COVER: "sexual"})
    assert row.avatar is None
    assert COVER not in row.card
    value = {
        "$type": "app.bsky.actor.profile",
        "avatar": {"$type": "blob", "ref": {"$link": raw_cid(COVER)}, "mimeType": "image/png", "size": 3},
    }
    bluesky = parse_record(CATALOG, Nsid("app.bsky.actor.profile"), Rkey("self"), encode(from_json(value)))
    assert isinstance(bluesky, BskyProfile)
    assert raw_cid(COVER) in (profile_row(1, DID, None, None, bluesky).avatar or "")
    assert profile_row(1, DID, None, None, bluesky, {COVER: "sexual"}).avatar is None
