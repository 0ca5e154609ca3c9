"""The JSON of what is told of all there is: numbers, maps, what is found in it; see `appview.rest.shapes`."""

from __future__ import annotations

import msgspec


class TrackFound(msgspec.Struct, tag="track"):
    id: int
    title: str
    artist_handle: str
    artist_display_name: str
    image_url: str | None
    relevance: float


class ArtistFound(msgspec.Struct, tag="artist"):
    did: str
    handle: str
    display_name: str
    avatar_url: str | None
    relevance: float


class AlbumFound(msgspec.Struct, tag="album"):
    id: str
    title: str
    slug: str
    artist_handle: str
    artist_display_name: str
    image_url: str | None
    relevance: float


class TagFound(msgspec.Struct, tag="tag"):
    id: int
    name: str
    track_count: int
    relevance: float


class Search(msgspec.Struct):
    """`counts`: how many results are of each kind."""

    results: list[TrackFound | ArtistFound | AlbumFound | TagFound]
    counts: dict[str, int]


class Stats(msgspec.Struct):
    total_plays: int
    total_tracks: int
    total_artists: int
    total_duration_seconds: int


class MappedTrack(msgspec.Struct):
    id: int
    updated: str


class MappedArtist(msgspec.Struct):
    handle: str
    updated: str


class MappedAlbum(msgspec.Struct):
    handle: str
    slug: str
    updated: str


class Sitemap(msgspec.Struct):
    tracks: list[MappedTrack]
    artists: list[MappedArtist]
    albums: list[MappedAlbum]


class SensitiveImages(msgspec.Struct):
    image_ids: list[str]
    urls: list[str]


class Found(msgspec.Struct):
    """Somebody, to be named as a feature."""

    did: str
    handle: str
    display_name: str | None
    avatar_url: str | None


class FoundHandles(msgspec.Struct):
    results: list[Found]


class OEmbed(msgspec.Struct):
    version: str
    type: str
    provider_name: str
    provider_url: str
    title: str
    author_name: str
    author_url: str
    width: int
    height: int
    html: str
    thumbnail_url: str | None
    thumbnail_width: int | None
    thumbnail_height: int | None


class Config(msgspec.Struct):
    max_upload_size_mb: int
    max_image_size_mb: int
