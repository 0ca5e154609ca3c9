"""What people do on a music service, from a seed: tracks, likes, comments, now and then a delete.

The mix is 60 % likes, 20 % tracks, 15 % comments, 5 % deletes, half of them by an eighth of the
accounts. Nobody likes one track twice, so that counting likes and counting people come to
the same: the baselines know no difference.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from firehose.events import Action
from lexicons.datamodel import Link
from lexicons.syntax import AtUri, Cid, Did, Nsid, Rkey, tid_from_us

TRACK, LIKE, COMMENT = Nsid("fm.plyr.track"), Nsid("fm.plyr.like"), Nsid("fm.plyr.comment")

# As in `sql/seed.sql`: hexadecimal in the letters that TIDs and plc identifiers are made of.
_LETTERS = str.maketrans("0189", "wxyz")
_RKEY_LETTERS = str.maketrans("0189", "ghij")


def did(account: int) -> Did:
    """The DID of a seeded account, numbered from 1."""
    return Did("did:plc:" + hashlib.md5(f"account {account}".encode()).hexdigest()[:24].translate(_LETTERS))


def seeded_rkey(number: int) -> Rkey:
    """The record key of a seeded record, numbered from 1."""
    return Rkey("3kaa" + f"{number:09x}".translate(_RKEY_LETTERS))


def cid(text: str) -> Cid:
    """Something that looks like a CID and is always the same for the same text."""
    letters = hashlib.sha256(text.encode()).hexdigest()[:52].translate(_LETTERS)
    return Cid(f"bafyrei{letters}")


@dataclass(frozen=True, slots=True)
class Deed:
    """One operation that an account makes. `record` None: a delete."""

    account: int
    action: Action
    collection: Nsid
    rkey: Rkey
    record: dict[str, Any] | None


class Activity:
    """An endless series of deeds, the same for the same seed and arguments.

    `draw_track` picks a track to like that was there before; None while there are none.
    """

    def __init__(
        self,
        seed: int,
        accounts: Sequence[int],
        dids: Sequence[Did],
        draw_track: Callable[[random.Random], AtUri] | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._accounts = accounts
        self._dids = dids
        self._draw_track = draw_track
        self._tracks: list[AtUri] = []
        self._live: list[tuple[int, Nsid, Rkey, AtUri | None]] = []
        self._liked: set[tuple[int, AtUri]] = set()

    def next(self, now_us: int) -> Deed:
        """What happens at `now_us`, which must grow from call to call."""
        dice = self._random.random()
        position = int(len(self._accounts) * self._random.random() ** 3)
        account, rkey = self._accounts[position], Rkey(tid_from_us(now_us, 0))
        created_at = _iso(now_us)
        if dice < 0.05 and self._live:
            return self._delete()
        if dice < 0.65:
            subject = self._subject()
            if subject is not None and (account, subject) not in self._liked:
                self._liked.add((account, subject))
                self._live.append((account, LIKE, rkey, subject))
                return Deed(account, Action.CREATE, LIKE, rkey, _like(subject, created_at))
        elif dice < 0.80:
            subject = self._subject()
            if subject is not None:
                self._live.append((account, COMMENT, rkey, None))
                text = "this part is so good, love it " + "x" * self._random.randint(0, 80)
                at_ms = self._random.randint(0, 300_000)
                return Deed(account, Action.CREATE, COMMENT, rkey, _comment(subject, text, at_ms, created_at))
        uri = AtUri(f"at://{self._dids[position]}/{TRACK}/{rkey}")
        self._tracks.append(uri)
        self._live.append((account, TRACK, rkey, uri))
        return Deed(account, Action.CREATE, TRACK, rkey, _track(self._random, created_at))

    def _subject(self) -> AtUri | None:
        if self._draw_track is not None and (not self._tracks or self._random.random() < 0.8):
            return self._draw_track(self._random)
        return self._random.choice(self._tracks) if self._tracks else None

    def _delete(self) -> Deed:
        account, collection, rkey, uri = self._live.pop(self._random.randrange(len(self._live)))
        if collection == LIKE and uri is not None:
            self._liked.discard((account, uri))
        return Deed(account, Action.DELETE, collection, rkey, None)


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _strong_ref(uri: AtUri) -> dict[str, Any]:
    return {"uri": uri, "cid": cid(uri)}


def _like(subject: AtUri, created_at: str) -> dict[str, Any]:
    return {"$type": LIKE, "subject": _strong_ref(subject), "createdAt": created_at}


def _comment(subject: AtUri, text: str, at_ms: int, created_at: str) -> dict[str, Any]:
    return {
        "$type": COMMENT,
        "subject": _strong_ref(subject),
        "text": text,
        "timestampMs": at_ms,
        "createdAt": created_at,
    }


def _track(dice: random.Random, created_at: str) -> dict[str, Any]:
    number = dice.randrange(10**6)
    return {
        "$type": TRACK,
        "title": f"track {number} with a title",
        "artist": f"artist {number % 97}",
        "audioUrl": f"https://audio.plyr.fm/audio/{number:016x}.mp3",
        "fileType": "mp3",
        "album": f"some album {number % 11}",
        "duration": number % 600 + 30,
        "features": [],
        "imageUrl": f"https://images.plyr.fm/images/{number:016x}.webp",
        "audioBlob": {
            "$type": "blob",
            "ref": Link(_RAW_CID),
            "mimeType": "audio/mpeg",
            "size": 8_000_000 + number,
        },
        "createdAt": created_at,
    }


_RAW_CID = Cid("bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy")
