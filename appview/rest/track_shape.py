"""A track as the REST interface shows it, made of what the index has rendered."""

from __future__ import annotations

import re
from typing import Any

import orjson

from storage import people
from storage.feed import TrackRow
from storage.reader import Reads

_FILE_ID = re.compile(r".+/audio/([0-9a-f]{64})")
_NO_SLUG = re.compile(r"[^\w]+")


async def track_shape(reads: Reads, row: TrackRow) -> dict[str, Any]:
    """What we do not have, as whether it was scanned, is null. `r2_url` is where the audio is, wherever that
    may be; `file_id` is empty where it is not ours."""
    id, card, author, plays, likes, comments, like = row
    view, artist = _members(card), _members(author)
    record: dict[str, Any] = view["record"]
    url = (view.get("audio") or {}).get("url")
    ours = _FILE_ID.fullmatch(url or "")
    features = [each["did"] for each in record.get("features", ())]
    return {
        "id": int(id or 0),
        "title": record["title"],
        "artist": artist.get("displayName") or artist["handle"],
        "artist_did": artist["did"],
        "artist_handle": artist["handle"],
        "artist_avatar_url": artist.get("avatar"),
        "file_id": ours[1] if ours else "",
        "file_type": record["fileType"],
        "features": await _features(reads, features),
        "r2_url": url,
        "atproto_record_uri": view["uri"],
        "atproto_record_cid": view["cid"],
        "atproto_record_url": None,
        "play_count": int(plays or 0),
        "like_count": int(likes or 0),
        "comment_count": int(comments or 0),
        "is_liked": like is not None,
        "created_at": record["createdAt"],
        "image_url": view.get("image"),
        "album": _album(record.get("album"), view.get("image")),
        "description": record.get("description"),
        "copyright_flagged": None,
        "copyright_match": None,
    }


async def _features(reads: Reads, dids: list[str]) -> list[dict[str, Any]]:
    if not dids:
        return []
    found = {card["did"]: card for row in await people.profiles(reads, dids) for card in [_members(row.card)]}
    return [
        {
            "did": did,
            "handle": found.get(did, {}).get("handle", "handle.invalid"),
            "display_name": found.get(did, {}).get("displayName"),
            "avatar_url": found.get(did, {}).get("avatar"),
        }
        for did in dids
    ]


def _album(title: str | None, image: str | None) -> dict[str, Any] | None:
    if not title:
        return None
    slug = _NO_SLUG.sub("-", title.lower()).strip("-")
    return {"id": slug, "slug": slug, "title": title, "image_url": image}


def _members(card: bytes | None) -> dict[str, Any]:
    return orjson.loads(b"{" + (card or b"") + b"}")
