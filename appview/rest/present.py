"""Tracks as the REST interface shows them: stored bytes and a few figures, put end to end.

What a record says was rendered when it was written (indexer/rest_card.py), how its artist is called is parsed
once as long as that is known here; so nothing is parsed for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from appview.sound_origins import SoundOrigins
from indexer.cards import HANDLE_INVALID
from indexer.rest_card import card_rest
from lexicons.syntax import Did
from storage import people
from storage.feed import RestRow
from storage.reader import Cell, Reads

# What is the same of every track: for some alone, or on its way to another form.
_ALIKE = b'"gated":false,"download_policy":"open","is_optimizing":false,'
_UNLABELLED = b'"self_labels":[]'
_COLON = ord(b":")
KNOWN_ARTISTS = 20_000  # of 600 bytes each


class Artist(NamedTuple):
    """An account's looks, as JSON: `members` of a track by it, `avatar` alone, and as an object: `person` is
    {did, handle, display_name, avatar_url}."""

    members: bytes
    avatar: bytes
    person: bytes
    did: str
    name: str
    handle: str


class Judged(NamedTuple):
    """What was judged here about a track, as JSON: its `members`, and its `labels` without its artist's."""

    members: bytes
    labels: list[str]


@lru_cache(maxsize=KNOWN_ARTISTS)
def artist(card: bytes) -> Artist:
    """Of a profile's card."""
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
        orjson.dumps(shown)[1:-1],
        orjson.dumps(avatar),
        orjson.dumps(person),
        did,
        name or handle,
        handle,
    )


async def tracks(reads: Reads, rows: Sequence[RestRow], sounds: SoundOrigins) -> list[bytes]:
    """Whole JSON objects, in their order; one more question where anybody is featured."""
    rows = [row if row[1] is not None else _rendered(row) for row in rows]
    featured = [row[7] for row in rows if row[7] is not None]
    people_of = await _featured(reads, featured) if featured else {}
    join = b"".join  # of many pieces it takes less than formatting
    out: list[bytes] = []
    for id_, rest, author, plays, likes, comments, liked, features, _, _, tags, said in rows:
        by, text, judged = artist(author or b""), sounds.in_rest(rest or b""), _judged(said)
        pieces = (
            b'{"id":', id_ or b"0", b",", by.members,
            b',"features":[', b"" if features is None else people_of[features],
            b'],"play_count":', plays or b"0", b',"like_count":', likes or b"0",
            b',"comment_count":', comments or b"0",
            b',"is_liked":false,"tags":' if liked is None else b',"is_liked":true,"tags":', tags or b"[]",
            judged.members, b',"labels":', _labels(text, judged), _ALIKE, text,
            b"}" if text[-1] != _COLON else by.avatar + b"}}",
        )  # fmt: skip
        out.append(join(pieces))
    return out


@lru_cache(maxsize=1000)
def _judged(said: Cell) -> Judged:
    """Of what `storage/feed.py` reads of it; None: nothing."""
    known: dict[str, Any] = {} if said is None else orjson.loads(said)
    unlisted, labels = known.get("unlisted", False), known.get("labels") or []
    members = {
        "copyright_flagged": known.get("flagged"),
        "copyright_match": known.get("match"),
        "operator_labels": labels,
        "visibility": "unlisted" if unlisted else "public",
        "unlisted": unlisted,
    }
    return Judged(b"," + orjson.dumps(members)[1:-1], labels)


def _labels(text: bytes, judged: Judged) -> bytes:
    """The artist's own with those that we gave it, each once."""
    if _UNLABELLED in text and not judged.labels:
        return b"[],"
    own = orjson.loads(b"{%b}" % (text + b"null}" if text[-1] == _COLON else text))["self_labels"]
    return orjson.dumps(list(dict.fromkeys([*own, *judged.labels]))) + b","


async def track(reads: Reads, row: RestRow, sounds: SoundOrigins) -> bytes:
    return (await tracks(reads, [row], sounds))[0]


def album_image(rest: Cell, by: Artist) -> str | None:
    """The picture of an album, by what a track of it shows; the artist's where it shows none."""
    if rest is None or rest.endswith(b":"):
        return orjson.loads(by.avatar)
    album = orjson.loads(b"{%b}" % rest)["album"]
    return album and album["image_url"]


def page(items: Sequence[bytes], *more: bytes) -> bytes:
    """`{tracks: [items], …more}`."""
    return b"".join((b'{"tracks":[', b",".join(items), b"]", *(b"," + each for each in more), b"}"))


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
    card, pds, author = row[8], row[9], row[2]
    made = card_rest(card or b"", did=Did(artist(author or b"").did), pds=pds.decode() if pds else None)
    features = None if made.features is None else b"{%b}" % ",".join(made.features).encode()
    return (row[0], made.rest.encode(), *row[2:7], features, None, None, *row[10:])
