"""Tracks as the REST interface shows them: stored bytes and a few figures, put end to end.

What a record says was rendered when it was written (indexer/rest_card.py), how its artist is called is parsed
once as long as that is known here; so nothing is parsed for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from appview.sound_origins import SoundOrigins
from indexer.cards import HANDLE_INVALID
from indexer.rest_card import card_rest
from lexicons.syntax import Did
from storage import people
from storage.feed import RestRow
from storage.reader import Cell, Reads

# What is the same of every track, for some alone or on its way to another form; and of nearly every one.
_ALIKE = b',"gated":false,"download_policy":"open","is_optimizing":false,'
_UNLABELLED = b',"labels":[]' + _ALIKE
_NONE, _NONE_OF_ITS_OWN = b":[]", b'"self_labels":[]'
_BEGIN = b'{"id":'
_PIECES = 8  # of a track
_COLON = ord(b":")
KNOWN_ARTISTS = 20_000  # of 600 bytes each


class Artist(NamedTuple):
    """An account's looks, as JSON: `members` of a track by it up to who is featured, `avatar` alone, and as
    an object: `person` is {did, handle, display_name, avatar_url}."""

    members: bytes
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
    shown = {
        "artist": name or handle,
        "artist_did": did,
        "artist_handle": handle,
        "artist_avatar_url": avatar,
    }
    person = {"did": did, "handle": handle, "display_name": name, "avatar_url": avatar}
    return Artist(
        b',%b,"features":[' % orjson.dumps(shown)[1:-1],
        orjson.dumps(avatar),
        orjson.dumps(person),
        did,
        name or handle,
        handle,
    )


async def tracks(reads: Reads, rows: Sequence[RestRow], sounds: SoundOrigins) -> list[bytes]:
    """Whole JSON objects, in their order; one more question where anybody is featured."""
    pieces = await listed(reads, rows, sounds)
    ends = range(_PIECES, len(pieces) + 1, _PIECES)
    return [b"".join((_BEGIN, *pieces[end - _PIECES + 1 : end])) for end in ends]


async def track(reads: Reads, row: RestRow, sounds: SoundOrigins) -> bytes:
    return b"".join(await listed(reads, [row], sounds))


async def listed(reads: Reads, rows: Sequence[RestRow], sounds: SoundOrigins) -> list[bytes]:
    """The same with commas between them, in pieces to be joined: a page is put together but once."""
    rows = [row if row[1] is not None else _rendered(row) for row in rows]
    featured = [row[4] for row in rows if row[4] is not None]
    people_of = await _featured(reads, featured) if featured else {}
    begin = _BEGIN
    out: list[bytes] = []
    for id_, rest, author, said, features, _, _ in rows:
        by, text, said = artist(author or b""), sounds.in_rest(rest or b""), said or b""
        out += (
            begin, id_ or b"0", by.members, b"]," if features is None else people_of[features] + b"],",
            said, _UNLABELLED if said.endswith(_NONE) and _NONE_OF_ITS_OWN in text else _labels(said, text),
            text, b"}" if text[-1] != _COLON else by.avatar + b"}}",
        )  # fmt: skip
        begin = b"," + _BEGIN
    return out


def _labels(said: bytes, text: bytes) -> bytes:
    """Its artist's labels and those that we gave it, each once."""
    own = orjson.loads(b"{%b}" % (text + b"null}" if text[-1] == _COLON else text))["self_labels"]
    ours = orjson.loads(b"{%b}" % said)["operator_labels"]
    return b',"labels":%b%b' % (orjson.dumps(list(dict.fromkeys([*own, *ours]))), _ALIKE)


def page(pieces: Sequence[bytes], *more: bytes) -> bytes:
    """`{tracks: […], …more}`, of what `listed` gave."""
    return b"".join((b'{"tracks":[', *pieces, b"]", *(b"," + each for each in more), b"}"))


def album_image(rest: Cell, by: Artist) -> str | None:
    """The picture of an album, by what a track of it shows; the artist's where it shows none."""
    if rest is None or rest.endswith(b":"):
        return orjson.loads(by.avatar)
    album = orjson.loads(b"{%b}" % rest)["album"]
    return album and album["image_url"]


def dids(cell: Cell) -> list[str]:
    """Postgres' text of an array of DIDs, in which nothing is quoted."""
    return (cell or b"{}")[1:-1].decode().split(",")


async def _featured(reads: Reads, cells: Sequence[Cell]) -> dict[Cell, bytes]:
    """What stands for each of the cells: those featured, as far as they can be shown, with commas between."""
    wanted = {cell: dids(cell) for cell in cells}
    rows = await people.cards(reads, sorted({did for each in wanted.values() for did in each}))
    found = {known.did: known.person for known in map(artist, rows)}
    return {
        cell: b",".join([found.get(did) or _stranger(did) for did in each]) for cell, each in wanted.items()
    }


def _stranger(did: str) -> bytes:
    """Somebody whom we do not know, or do not show."""
    return orjson.dumps({"did": did, "handle": HANDLE_INVALID, "display_name": None, "avatar_url": None})


def _rendered(row: RestRow) -> RestRow:
    """A row from before there were such members, with what they will be."""
    card, pds, author = row[5], row[6], row[2]
    made = card_rest(card or b"", did=Did(artist(author or b"").did), pds=pds.decode() if pds else None)
    features = None if made.features is None else b"{%b}" % ",".join(made.features).encode()
    return (row[0], made.rest.encode(), author, row[3], features, None, None)
