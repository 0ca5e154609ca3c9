"""Records rendered once, when written: JSON members that a view never computes again.

A card is text without its outer braces (`"uri":…,"cid":…`), so the appview puts its own members
beside it by joining strings.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from indexer.withheld import leads_to
from lexicons.records import Comment, List, Track
from lexicons.syntax import AtUri, Cid, Did, Handle, InvalidSyntax, Rev, parse_datetime, tid_time_us

HANDLE_INVALID = Handle("handle.invalid")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def members(value: dict[str, Any]) -> str:
    """A JSON object without its braces; members that are None are left out."""
    return orjson.dumps({k: v for k, v in value.items() if v is not None}).decode()[1:-1]


def rev_time(rev: Rev) -> datetime:
    """When a commit was made, by its rev: the same on every host and in every replay."""
    return _EPOCH + timedelta(microseconds=tid_time_us(rev))


def sort_time(created_at: str, rev: Rev) -> datetime:
    """min(createdAt, time of the rev): people's clocks may be wrong, the future never comes first
    (rule F10). A date that no calendar has (year 0000 is legal in the syntax) counts as absent."""
    try:
        return min(parse_datetime(created_at), rev_time(rev))
    except InvalidSyntax:
        return rev_time(rev)


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _identified(uri: AtUri, cid: Cid, record: dict[str, Any], rev: Rev, verified: bool) -> dict[str, Any]:
    return {"uri": uri, "cid": cid, "record": record, "indexedAt": iso(rev_time(rev)), "verified": verified}


def track_card(
    track: Track,
    *,
    uri: AtUri,
    did: Did,
    cid: Cid,
    rev: Rev,
    pds: str | None,
    verified: bool,
    withheld: Collection[str] = (),
) -> str:
    """Members of `fm.plyr.feed.defs#trackView`, less id, author, stats, labels, viewer. `withheld`: bytes
    that it is not to lead to; the record in it is as it was signed."""
    url, blob = track.audio_url, track.audio_blob
    if url is None and blob is not None and pds is not None:
        url = f"{pds}/xrpc/com.atproto.sync.getBlob?did={did}&cid={blob.cid}"
    if leads_to(url, withheld) or (blob is not None and leads_to(blob.cid, withheld)):
        url = None
    audio = {"url": url, "mimeType": blob.mime_type if blob else None, "durationS": track.duration}
    view = _identified(uri, cid, track.raw, rev, verified)
    view["audio"] = {k: v for k, v in audio.items() if v is not None}
    view["image"] = None if leads_to(track.image_url, withheld) else track.image_url
    return members(view)


def comment_card(comment: Comment, *, uri: AtUri, cid: Cid, rev: Rev, verified: bool) -> str:
    return members(_identified(uri, cid, comment.raw, rev, verified))


def list_card(list_: List, *, uri: AtUri, cid: Cid, rev: Rev, verified: bool) -> str:
    return members(_identified(uri, cid, list_.raw, rev, verified))


def profile_card(did: Did, handle: Handle | None, display_name: str | None, avatar: str | None) -> str:
    """Members of `fm.plyr.actor.defs#profileViewBasic`."""
    return members(
        {"did": did, "handle": handle or HANDLE_INVALID, "displayName": display_name, "avatar": avatar}
    )
