"""Our records as frozen structs: `parse_record` turns signed bytes into one, or says why not.

This is the edge: behind it a record has been decoded strictly, has the right `$type` and
record key, fits its schema, and keeps the app's own rule that a track has audio. Times stay
text: they are the author's claim, and some that the network allows fit no clock of ours
(`syntax.parse_datetime` tells).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lexicons.catalog import Catalog
from lexicons.datamodel import InvalidData, decode, encode, from_json, to_json
from lexicons.syntax import AtUri, Cid, Did, Nsid, Rkey
from lexicons.validate import Invalid, validate_record, validate_rkey

MAX_RECORD_BYTES = 1 << 20

Json = dict[str, Any]


class InvalidRecord(ValueError):
    """A record of ours cannot be shown: its bytes, its key, its schema or our own rule is broken."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StrongRef(msgspec.Struct, frozen=True):
    """One version of one record; it may be gone, and may never have been (`com.atproto.repo.strongRef`)."""

    uri: AtUri
    cid: Cid


class BlobRef(msgspec.Struct, frozen=True):
    """Bytes that the account's PDS holds; `size` is None for the old form, and the media type is a claim."""

    cid: Cid
    mime_type: str
    size: int | None


class Track(msgspec.Struct, frozen=True):
    """`track`: at least one of `audio_url` and `audio_blob` is there; `duration` is in seconds."""

    title: str
    artist: str
    file_type: str
    created_at: str
    audio_url: str | None
    audio_blob: BlobRef | None
    album: str | None
    duration: int | None
    features: tuple[Did, ...]
    image_url: str | None
    support_gate: str | None
    description: str | None
    labels: tuple[str, ...]
    raw: Json


class Like(msgspec.Struct, frozen=True):
    """`like`: of whatever `subject` names."""

    subject: StrongRef
    created_at: str
    raw: Json


class Comment(msgspec.Struct, frozen=True):
    """`comment`: on the moment `timestamp_ms` of `subject`."""

    subject: StrongRef
    text: str
    timestamp_ms: int
    created_at: str
    updated_at: str | None
    raw: Json


class ListItem(msgspec.Struct, frozen=True):
    """One place in a list."""

    subject: StrongRef


class List(msgspec.Struct, frozen=True):
    """`list`: records in an order; the same one may stand in it twice."""

    items: tuple[ListItem, ...]
    created_at: str
    name: str | None
    list_type: str | None
    updated_at: str | None
    raw: Json


class Profile(msgspec.Struct, frozen=True):
    """`actor.profile`: how an account presents itself to listeners; `avatar` is a URL."""

    created_at: str
    avatar: str | None
    bio: str | None
    updated_at: str | None
    raw: Json


class BskyProfile(msgspec.Struct, frozen=True):
    """`app.bsky.actor.profile`: what we read of it; `avatar` is a blob."""

    display_name: str | None
    description: str | None
    avatar: BlobRef | None
    created_at: str | None
    raw: Json


Record = Track | Like | Comment | List | Profile | BskyProfile


def parse_record(catalog: Catalog, collection: Nsid, rkey: Rkey | str, block: bytes) -> Record:
    """The record in these bytes; raises InvalidRecord with a reason fit to be stored and shown.

    `raw` is the whole record in JSON form, unknown fields included.
    """
    build = _builders(catalog).get(collection)
    if build is None:
        raise InvalidRecord(f"{collection} is not a collection that we read")
    if len(block) > MAX_RECORD_BYTES:
        raise InvalidRecord(f"larger than {MAX_RECORD_BYTES} bytes")
    try:
        validate_rkey(catalog, collection, rkey)
        value = decode(block)
        validate_record(catalog, collection, value)
    except (InvalidData, Invalid) as error:
        raise InvalidRecord(str(error)) from error
    return build(value, to_json(value))


def accepted(catalog: Catalog, collection: Nsid, rkey: Rkey, record: Json) -> Json:
    """The same record in JSON form, if it may be written; raises InvalidRecord."""
    try:
        block = encode(from_json(record))
    except InvalidData as error:
        raise InvalidRecord(str(error)) from error
    parse_record(catalog, collection, rkey, block)
    return record


def _track(value: Mapping[str, Any], raw: Json) -> Track:
    get = value.get
    audio_url, audio_blob = get("audioUrl"), get("audioBlob")
    if audio_url is None and audio_blob is None:
        raise InvalidRecord("a track without audioUrl and audioBlob")
    gate = get("supportGate")
    return Track(
        value["title"],
        value["artist"],
        value["fileType"],
        value["createdAt"],
        audio_url,
        _blob(audio_blob),
        get("album"),
        get("duration"),
        tuple(feature["did"] for feature in get("features", ())),
        get("imageUrl"),
        gate["type"] if gate else None,
        get("description"),
        _self_labels(get("labels")),
        raw,
    )


def _like(value: Mapping[str, Any], raw: Json) -> Like:
    return Like(_strong_ref(value["subject"]), value["createdAt"], raw)


def _comment(value: Mapping[str, Any], raw: Json) -> Comment:
    return Comment(
        _strong_ref(value["subject"]),
        value["text"],
        value["timestampMs"],
        value["createdAt"],
        value.get("updatedAt"),
        raw,
    )


def _list(value: Mapping[str, Any], raw: Json) -> List:
    return List(
        tuple(ListItem(_strong_ref(item["subject"])) for item in value["items"]),
        value["createdAt"],
        value.get("name"),
        value.get("listType"),
        value.get("updatedAt"),
        raw,
    )


def _profile(value: Mapping[str, Any], raw: Json) -> Profile:
    get = value.get
    return Profile(value["createdAt"], get("avatar"), get("bio"), get("updatedAt"), raw)


def _bsky_profile(value: Mapping[str, Any], raw: Json) -> BskyProfile:
    get = value.get
    return BskyProfile(get("displayName"), get("description"), _blob(get("avatar")), get("createdAt"), raw)


def _strong_ref(value: Mapping[str, Any]) -> StrongRef:
    return StrongRef(value["uri"], value["cid"])


def _blob(value: Mapping[str, Any] | None) -> BlobRef | None:
    if value is None:
        return None
    if "ref" in value:
        return BlobRef(value["ref"].cid, value["mimeType"], value["size"])
    return BlobRef(value["cid"], value["mimeType"], None)


def _self_labels(value: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The labels of a `selfLabels` object; other kinds of labels are not ours to read."""
    if value is None or value["$type"] != "com.atproto.label.defs#selfLabels":
        return ()
    return tuple(label["val"] for label in value["values"])


def _builders(catalog: Catalog) -> Mapping[Nsid, Callable[[Mapping[str, Any], Json], Record]]:
    names = catalog.collections
    return {
        names.track: _track,
        names.like: _like,
        names.comment: _comment,
        names.list: _list,
        names.profile: _profile,
        names.bsky_profile: _bsky_profile,
    }
