"""A track's record: how a new one is written, and what an edit makes of one that is there. Pure.

An edit is made to the whole record as it was read: fields that we don't know stay, and so does `createdAt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lexicons.catalog import Catalog
from lexicons.records import accepted
from lexicons.syntax import Did, Rkey

MOST_FEATURES = 10


@dataclass(frozen=True, slots=True)
class Sound:
    """What a record says of what is played. `duration_s` is cut to whole seconds; `blob`: the PDS
    has it, too."""

    url: str
    file_type: str
    duration_s: float
    blob: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """What the artist says of a track; `image_url` is its cover's."""

    title: str
    artist: str
    album: str | None = None
    description: str | None = None
    features: Sequence[Did] = ()
    image_url: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """What changes; None: stays. Of `album` and `description` an empty text clears it."""

    title: str | None = None
    album: str | None = None
    description: str | None = None
    features: Sequence[Did] | None = None
    image_url: str | None = None
    sound: Sound | None = field(default=None, repr=False)


def new_record(catalog: Catalog, rkey: Rkey, words: Words, sound: Sound, created_at: str) -> dict[str, Any]:
    """In JSON form. Raises InvalidRecord."""
    record: dict[str, Any] = {
        "$type": catalog.collections.track,
        "title": words.title,
        "artist": words.artist[:256],
        "createdAt": created_at,
        **_sound(sound),
    }
    optional = {
        "album": words.album,
        "description": words.description,
        "imageUrl": words.image_url,
        "features": [{"did": did} for did in words.features],
    }
    record |= {name: value for name, value in optional.items() if value}
    return accepted(catalog, catalog.collections.track, rkey, record)


def edited(catalog: Catalog, rkey: Rkey, record: dict[str, Any], edit: Edit) -> dict[str, Any]:
    """The record after an edit. Raises InvalidRecord."""
    out = dict(record)
    if edit.title is not None:
        out["title"] = edit.title
    for name, text in (("album", edit.album), ("description", edit.description)):
        if text is not None:
            out[name] = text
            if not text:
                del out[name]
    if edit.features is not None:
        known = {each.get("did"): each for each in out.get("features", ()) if isinstance(each, dict)}
        out["features"] = [known.get(did, {"did": did}) for did in edit.features]
        if not edit.features:
            del out["features"]
    if edit.image_url is not None:
        out["imageUrl"] = edit.image_url
    if edit.sound is not None:
        out.pop("audioBlob", None)
        out |= _sound(edit.sound)
    return accepted(catalog, catalog.collections.track, rkey, out)


def _sound(sound: Sound) -> dict[str, Any]:
    told: dict[str, Any] = {
        "audioUrl": sound.url,
        "fileType": sound.file_type,
        "duration": int(sound.duration_s),
    }
    return told if sound.blob is None else told | {"audioBlob": sound.blob}
