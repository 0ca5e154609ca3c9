"""A track as the REST interface shows it, rendered once, when its record is written.

`rest` is JSON text without its outer braces: what does not change as long as the record and its PDS stay. Its
last member is `album`; where that has no image of its own, the text ends after `"image_url":`, and whoever
shows it puts the artist's avatar there, and a brace.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from indexer.albums import album_id, slug
from indexer.withheld import leads_to
from lexicons.datamodel import InvalidData, cid_bytes
from lexicons.syntax import AtUri, Cid, Did

THUMBNAIL_WIDTH = 320
_OURS = re.compile(r".+/audio/([0-9a-f]{64})")
_NAMED = re.compile(r".+/audio/([0-9a-f]{16})\.\w{1,8}")
_IMAGE = re.compile(r".+/image/[0-9a-f]{64}")
_OPEN = '"image_url":'
_DIGEST_AT = 4  # behind a CID's version, codec, hash and length


@dataclass(frozen=True, slots=True)
class RestCard:
    """Columns of `track`; `features`, `album` and `album_id` are None where there is none."""

    rest: str
    features: tuple[Did, ...] | None
    album: str | None
    album_id: str | None
    file_id: str


def track_rest(
    record: dict[str, Any],
    *,
    uri: AtUri,
    did: Did,
    cid: Cid,
    pds: str | None,
    withheld: Collection[str] = (),
) -> RestCard:
    """Of a valid record in JSON form. `withheld`: bytes that it is not to lead to."""
    get = record.get
    url, blob, image, album = get("audioUrl"), _blob_cid(get("audioBlob")), get("imageUrl"), get("album")
    r2_url = url
    if url is None and pds is not None:
        r2_url = f"{pds}/xrpc/com.atproto.sync.getBlob?did={did}&cid={blob}"
    if leads_to(r2_url, withheld) or leads_to(blob, withheld):
        r2_url = None
    if leads_to(image, withheld):
        image = None
    gate = get("supportGate")
    file_id = _file_id(url, blob)
    shown: dict[str, Any] = {
        "title": record["title"],
        "file_id": file_id,
        "file_type": record["fileType"],
        "r2_url": r2_url,
        "atproto_record_uri": uri,
        "atproto_record_cid": cid,
        "atproto_record_url": _record_url(uri, pds),
        "created_at": record["createdAt"],
        "image_url": image,
        "thumbnail_url": _thumbnail(image),
        "description": get("description"),
        "audio_storage": "r2" if blob is None else "pds" if url is None else "both",
        "pds_blob_cid": blob,
        "support_gate": gate,
        "downloadable": gate is None,
        "self_labels": _self_labels(get("labels")),
        "album": _album(did, album, image),
    }
    rest = orjson.dumps(shown).decode()[1:-1]
    if album and image is None:
        rest = rest.removesuffix("null}")
        assert rest.endswith(_OPEN)
    features = tuple(dict.fromkeys(Did(each["did"]) for each in get("features", ())))
    on = shown["album"] and shown["album"]["id"]
    return RestCard(rest, features or None, album or None, on, file_id)


def card_rest(card: str | bytes, *, did: Did, pds: str | None) -> RestCard:
    """Of a rendered card: what `track_rest` makes of the record in it."""
    text = card if isinstance(card, bytes) else card.encode()
    view = orjson.loads(b"{%b}" % text)
    return track_rest(view["record"], uri=view["uri"], did=did, cid=view["cid"], pds=pds)


def _file_id(url: str | None, blob: str | None) -> str:
    """How the sound is called at `/audio/`: by the sha-256 of its bytes, which our own URLs and the CIDs of
    blobs tell; else as another service of this kind called it; else by a hash of its address."""
    if url is not None:
        if ours := _OURS.fullmatch(url):
            return ours[1]
        if blob is None:
            named = _NAMED.fullmatch(url)
            return named[1] if named else sha256(url.encode()).hexdigest()[:32]
    try:
        return cid_bytes(Cid(blob or ""))[_DIGEST_AT:].hex()
    except InvalidData:  # a CID of the kind that blobs had of old
        return sha256((blob or "").encode()).hexdigest()[:32]


def _blob_cid(blob: dict[str, Any] | None) -> str | None:
    """Of a blob in its present form, or in the one of old."""
    if blob is None:
        return None
    return blob["ref"]["$link"] if "ref" in blob else blob["cid"]


def _record_url(uri: AtUri, pds: str | None) -> str | None:
    if pds is None:
        return None
    did, collection, rkey = uri.removeprefix("at://").split("/")
    return f"{pds}/xrpc/com.atproto.repo.getRecord?repo={did}&collection={collection}&rkey={rkey}"


def _thumbnail(image: str | None) -> str | None:
    """Of a picture that is served as ours are, a smaller one."""
    if image is not None and _IMAGE.fullmatch(image):
        return f"{image}?w={THUMBNAIL_WIDTH}"
    return image


def _album(did: Did, title: str | None, image: str | None) -> dict[str, Any] | None:
    if not title:
        return None
    name = slug(title)
    return {"id": album_id(did, name), "slug": name, "title": title, "image_url": image}


def _self_labels(labels: dict[str, Any] | None) -> list[str]:
    if labels is None or labels["$type"] != "com.atproto.label.defs#selfLabels":
        return []
    return [each["val"] for each in labels["values"]]
