"""The JSON of the REST interface, as types: for the OpenAPI document, and for the tests that hold answers
against them. Answers with tracks are put together of stored bytes and never pass through these.

Times are text as `datetime.isoformat()` writes it. What is null is not known, or not there.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Said(msgspec.Struct):
    message: str


class Feature(msgspec.Struct):
    did: str
    handle: str
    display_name: str | None
    avatar_url: str | None


class AlbumSummary(msgspec.Struct):
    id: str
    slug: str
    title: str
    image_url: str | None


class Track(msgspec.Struct):
    id: int
    title: str
    artist: str
    artist_did: str
    artist_handle: str
    artist_avatar_url: str | None
    file_id: str
    file_type: str
    features: list[Feature]
    r2_url: str | None
    atproto_record_uri: str | None
    atproto_record_cid: str | None
    atproto_record_url: str | None
    play_count: int
    like_count: int
    comment_count: int
    is_liked: bool
    created_at: str
    image_url: str | None
    album: AlbumSummary | None
    description: str | None
    copyright_flagged: bool | None
    copyright_match: str | None
    thumbnail_url: str | None
    tags: list[str]
    labels: list[str]
    self_labels: list[str]
    operator_labels: list[str]
    support_gate: dict[str, Any] | None
    gated: bool
    downloadable: bool
    download_policy: str
    audio_storage: str
    pds_blob_cid: str | None
    visibility: str
    unlisted: bool
    is_optimizing: bool


class Tracks(msgspec.Struct):
    tracks: list[Track]


class TrackPage(msgspec.Struct):
    tracks: list[Track]
    next_cursor: str | None
    has_more: bool


class MyTracks(msgspec.Struct):
    tracks: list[Track]
    total: int
    has_more: bool
    pds_savable_count: int


class BrokenTracks(msgspec.Struct):
    tracks: list[Track]
    count: int


class RestoredRecord(msgspec.Struct):
    success: bool
    track: Track
    restored_uri: str


class Queued(msgspec.Struct):
    """A job that goes on behind the answer."""

    upload_id: str
    status: str
    message: str


class User(msgspec.Struct):
    did: str
    handle: str
    display_name: str | None
    avatar_url: str | None


class UserLikes(TrackPage):
    user: User
    count: int


class Tag(msgspec.Struct):
    name: str
    track_count: int
    total_plays: int


class TagCount(msgspec.Struct):
    name: str
    track_count: int


class TracksOfTag(msgspec.Struct):
    tag: TagCount
    created_by_handle: str | None
    tracks: list[Track]


class Revision(msgspec.Struct):
    """What a track sounded like until `created_at`. `original_file_type`: of what was uploaded, where
    something else is played."""

    id: int
    track_id: int
    created_at: str
    file_type: str
    original_file_type: str | None
    audio_storage: str
    duration: int
    was_gated: bool


class RevisionList(msgspec.Struct):
    track_id: int
    revisions: list[Revision]


class Restoring(Revision):
    """And the job that gives the track that sound again."""

    upload_id: str


class AudioUrl(msgspec.Struct):
    url: str
    file_id: str
    file_type: str | None


class PlayCount(msgspec.Struct):
    play_count: int


class Liker(msgspec.Struct):
    did: str
    handle: str
    display_name: str | None
    avatar_url: str | None
    liked_at: str


class Likers(msgspec.Struct):
    users: list[Liker]
    count: int


class Comment(msgspec.Struct):
    id: int
    user_did: str
    user_handle: str
    user_display_name: str | None
    user_avatar_url: str | None
    text: str
    timestamp_ms: int
    created_at: str
    updated_at: str | None


class Comments(msgspec.Struct):
    comments: list[Comment]
    count: int
    comments_enabled: bool


class Artist(msgspec.Struct):
    did: str
    handle: str
    display_name: str
    bio: str | None
    avatar_url: str | None
    created_at: str
    updated_at: str
    show_liked_on_profile: bool
    support_url: str | None


class Avatar(msgspec.Struct):
    avatar_url: str | None


class TopItem(msgspec.Struct):
    id: int
    title: str
    play_count: int


class Analytics(msgspec.Struct):
    total_plays: int
    total_items: int
    total_duration_seconds: int
    top_item: TopItem | None
    top_liked: TopItem | None


class Done(msgspec.Struct):
    status: str


class NowPlaying(msgspec.Struct):
    track_name: str
    artist_name: str
    album_name: str | None
    duration_ms: int
    progress_ms: int
    is_playing: bool
    track_id: int
    file_id: str
    track_url: str
    image_url: str | None
    service_base_url: str


class Queue(msgspec.Struct):
    state: dict[str, Any]
    revision: int
    tracks: list[Track]


class Day(msgspec.Struct):
    day: str
    plays: int


class Days(msgspec.Struct):
    days: list[Day]
