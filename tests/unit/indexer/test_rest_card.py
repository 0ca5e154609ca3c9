"""indexer/rest_card.py: what a record says, as REST shows it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest

from indexer.albums import album_id
from indexer.cards import members
from indexer.rest_card import RestCard, card_rest, track_rest
from lexicons.syntax import AtUri, Cid, Did

DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
URI = AtUri(f"at://{DID}/fm.plyr.track/3kaaaaaaaaaaa")
CID = Cid("bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm")
BLOB = "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy"
DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
PDS = "https://pds.example"


def record(**fields: Any) -> dict[str, Any]:
    return {
        "title": "One",
        "artist": "A",
        "fileType": "mp3",
        "createdAt": "2026-01-01T00:00:00Z",
        "audioUrl": "https://x.example/a.mp3",
        **fields,
    }


def made(fields: dict[str, Any], pds: str | None = PDS) -> RestCard:
    return track_rest(record(**fields), uri=URI, did=DID, cid=CID, pds=pds)


def shown(card: RestCard) -> dict[str, Any]:
    text = card.rest + "null}" if card.rest.endswith(":") else card.rest
    return orjson.loads("{" + text + "}")


def blob(**more: Any) -> dict[str, Any]:
    return {"$type": "blob", "ref": {"$link": BLOB}, "mimeType": "audio/mpeg", "size": 3, **more}


def test_a_plain_track_says_what_its_record_says() -> None:
    card = made({})
    assert (card.features, card.album) == (None, None)
    url = f"{PDS}/xrpc/com.atproto.repo.getRecord?repo={DID}&collection=fm.plyr.track&rkey=3kaaaaaaaaaaa"
    assert shown(card) == {
        "title": "One",
        "file_id": card.file_id,
        "file_type": "mp3",
        "r2_url": "https://x.example/a.mp3",
        "atproto_record_uri": URI,
        "atproto_record_cid": CID,
        "atproto_record_url": url,
        "created_at": "2026-01-01T00:00:00Z",
        "image_url": None,
        "thumbnail_url": None,
        "description": None,
        "audio_storage": "r2",
        "pds_blob_cid": None,
        "support_gate": None,
        "downloadable": True,
        "self_labels": [],
        "album": None,
    }


OURS = "https://plyr.example/audio/" + "ab" * 32
OLD = "https://pub.r2.example/audio/0123456789abcdef.mp3"


@pytest.mark.parametrize(
    ("fields", "file_id", "storage"),
    [
        ({"audioUrl": OURS}, "ab" * 32, "r2"),
        ({"audioUrl": OURS, "audioBlob": blob()}, "ab" * 32, "both"),
        ({"audioUrl": OLD}, "0123456789abcdef", "r2"),
        ({"audioUrl": OLD, "audioBlob": blob()}, DIGEST, "both"),
        ({"audioUrl": None, "audioBlob": blob()}, DIGEST, "pds"),
        ({"audioUrl": None, "audioBlob": {"cid": BLOB, "mimeType": "audio/mpeg"}}, DIGEST, "pds"),
        ({}, sha256(b"https://x.example/a.mp3").hexdigest()[:32], "r2"),
        (
            {"audioUrl": None, "audioBlob": {"cid": "QmOld", "mimeType": "audio/mpeg"}},
            sha256(b"QmOld").hexdigest()[:32],
            "pds",
        ),
    ],
)
def test_every_sound_has_a_name(fields: dict[str, Any], file_id: str, storage: str) -> None:
    card = made(fields)
    assert card.file_id == shown(card)["file_id"] == file_id
    assert shown(card)["audio_storage"] == storage


def test_a_blob_is_where_its_account_is() -> None:
    fields = {"audioUrl": None, "audioBlob": blob()}
    here, nowhere = shown(made(fields)), shown(made(fields, pds=None))
    assert here["r2_url"] == f"{PDS}/xrpc/com.atproto.sync.getBlob?did={DID}&cid={BLOB}"
    assert (nowhere["r2_url"], nowhere["atproto_record_url"]) == (None, None)


def test_an_album_without_an_image_waits_for_one() -> None:
    card = made({"album": "My Álbum"})
    assert card.album == "My Álbum"
    assert card.rest.endswith('"title":"My Álbum","image_url":')
    with_image = made({"album": "My Álbum", "imageUrl": "https://x.example/c.png"})
    assert shown(with_image)["album"] == {
        "id": album_id(DID, "my-album"),
        "slug": "my-album",
        "title": "My Álbum",
        "image_url": "https://x.example/c.png",
    }
    assert made({"album": ""}).album is None


def test_a_picture_of_ours_has_a_smaller_one() -> None:
    image = "https://plyr.example/image/" + "cd" * 32
    assert shown(made({"imageUrl": image}))["thumbnail_url"] == image + "?w=320"
    assert shown(made({"imageUrl": "https://x.example/c.png"}))["thumbnail_url"] == "https://x.example/c.png"


def test_whoever_is_featured_is_named_once() -> None:
    card = made({"features": [{"did": "did:web:b"}, {"did": "did:web:c"}, {"did": "did:web:b"}]})
    assert card.features == ("did:web:b", "did:web:c")


def test_labels_and_gates_are_shown() -> None:
    labels = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "sexual"}]}
    said = shown(made({"labels": labels, "supportGate": {"type": "any"}}))
    assert said["self_labels"] == ["sexual"]
    assert (said["support_gate"], said["downloadable"]) == ({"type": "any"}, False)
    assert shown(made({"labels": {"$type": "another"}}))["self_labels"] == []


def test_a_card_says_the_same_as_its_record() -> None:
    whole = record(album="X", title="nul \0 \N{GRINNING FACE}", features=[{"did": "did:web:b"}])
    card = members({"uri": URI, "cid": CID, "record": whole, "image": None})
    assert card_rest(card, did=DID, pds=PDS) == track_rest(whole, uri=URI, did=DID, cid=CID, pds=PDS)
