"""Tracks as the REST interface shows them: text that the database put together, and passes through here.

What a record says was rendered when it was written (indexer/rest_card.py), how its artist looks when their
profile was; so nothing is parsed for a page, but for the few tracks that are not finished.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from appview.sound_origins import SoundOrigins
from indexer.rest_card import track_rest
from lexicons.syntax import Did
from storage.feed import BETWEEN, Tracks
from storage.reader import Cell

_CARD, _LABELLED = b'"card":', b'"self_labels":["'
KNOWN_ARTISTS = 20_000  # of 600 bytes each


class Artist(NamedTuple):
    """An account's looks, as JSON: `avatar`, and `person`, {did, handle, display_name, avatar_url}."""

    avatar: bytes
    person: bytes
    did: str
    name: str
    handle: str


class _Artists(dict[bytes, Artist]):
    """By their profiles' cards. An order to forget them by would cost more than parsing all again."""

    def __missing__(self, card: bytes) -> Artist:
        if len(self) >= KNOWN_ARTISTS:
            self.clear()
        known = self[card] = _parsed(card)
        return known


artist = _Artists().__getitem__


def _parsed(card: bytes) -> Artist:
    said = orjson.loads(b"{%b}" % card)
    did, handle, name = said["did"], said["handle"], said.get("displayName")
    avatar = said.get("avatar")
    person = {"did": did, "handle": handle, "display_name": name, "avatar_url": avatar}
    return Artist(orjson.dumps(avatar), orjson.dumps(person), did, name or handle, handle)


def listed(tracks: Tracks, sounds: SoundOrigins) -> bytes:
    """JSON objects in their order, with commas between them."""
    if tracks.ready and sounds.pass_all(tracks.text):
        return tracks.text
    return BETWEEN.join([_finished(row, sounds) for row in tracks.text.split(BETWEEN) if row])


def parsed(tracks: Tracks, sounds: SoundOrigins) -> list[dict[str, Any]]:
    """The same for those who show them in another form."""
    return orjson.loads(b"[%b]" % listed(tracks, sounds))


def page(tracks: bytes, *more: bytes) -> tuple[bytes, ...]:
    """`{tracks: […], …more}`, of what `listed` gave, in pieces: it is joined when it is sent."""
    return (b'{"tracks":[', tracks, b"".join((b"]", *(b"," + each for each in more), b"}")))


def _finished(row: bytes, sounds: SoundOrigins) -> bytes:
    """A track as it is shown. `labels` are its artist's and those that we gave it, each once."""
    if row.startswith(_CARD, row.index(b",") + 1):
        row = _rendered(row)
    row = sounds.in_rest(row)
    if _LABELLED not in row:
        return row
    track = orjson.loads(row)
    track["labels"] = list(dict.fromkeys([*track["self_labels"], *track["operator_labels"]]))
    return orjson.dumps(track)


def _rendered(row: bytes) -> bytes:
    """One from before there were such members, with what they will be."""
    track = orjson.loads(row)
    card, pds, id = (track.pop(name) for name in ("card", "pds", "id"))
    made = track_rest(
        card["record"], uri=card["uri"], did=Did(track["artist_did"]), cid=card["cid"], pds=pds
    ).rest
    if made.endswith(":"):
        made += orjson.dumps(track["artist_avatar_url"]).decode() + "}"
    return b'{"id":%d,%b,%b' % (id, made.encode(), orjson.dumps(track)[1:])


def album_image(rest: Cell, by: Artist) -> str | None:
    """The picture of an album, by what a track of it shows; the artist's where it shows none."""
    if rest is None or rest.endswith(b":"):
        return orjson.loads(by.avatar)
    album = orjson.loads(b"{%b}" % rest)["album"]
    return album and album["image_url"]
