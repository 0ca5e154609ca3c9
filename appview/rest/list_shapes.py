"""The JSON of albums and playlists; see `appview.rest.shapes`."""

from __future__ import annotations

import msgspec

from appview.rest.shapes import Track


class AlbumOfArtist(msgspec.Struct):
    id: str
    title: str
    slug: str
    track_count: int
    total_plays: int
    image_url: str | None


class AlbumListed(AlbumOfArtist):
    artist: str
    artist_handle: str


class AlbumMetadata(AlbumListed):
    description: str | None
    artist_did: str
    list_uri: str | None


class AlbumsOfArtist(msgspec.Struct):
    albums: list[AlbumOfArtist]


class Albums(msgspec.Struct):
    """The last two where a page was asked for."""

    albums: list[AlbumListed]
    next_cursor: str | msgspec.UnsetType | None = msgspec.UNSET
    has_more: bool | msgspec.UnsetType = msgspec.UNSET


class Playlist(msgspec.Struct):
    """`track_count`: of those that can be shown. `preview_thumbnails`: for one without an image."""

    id: str
    name: str
    owner_did: str
    owner_handle: str
    track_count: int
    image_url: str | None
    show_on_profile: bool
    is_private: bool
    atproto_record_uri: str | None
    created_at: str
    preview_thumbnails: list[str]


class PlaylistWithTracks(Playlist):
    tracks: list[Track]


class Cover(msgspec.Struct):
    image_url: str
    image_id: str


class Album(msgspec.Struct):
    metadata: AlbumMetadata
    tracks: list[Track]
