"""Records as people's clients write them: right, odd, or wrong; made on a seed, without I/O.

Text that breaks what treats it carelessly (NUL, combining marks, markup, quotes, 256 bytes) and
times that no calendar has are valid by the lexicon, and are in here for that reason.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Record = dict[str, Any]

_EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"

TITLES = (
    "Harbour at Four",
    "Kites over Concrete",
    "Slow Tram Home",
    "Salt & Static",
    "Ánima",
    "Über den Dächern",
    "朝の光",
    "Дорога домой",
    "شارع القمر",
    "👩‍👩‍👧‍👦 (live) 🎷",
    'Say "Hello" \\ Goodbye',
    "<b>Not Bold</b> & ' OR 1=1 --",
    "nul\u0000inside",
    "a\u0301 combining\u200d joiner",
    "x" * 256,
)
TEXTS = (
    "that bass!",
    "goosebumps here",
    "👏👏👏",
    "¿quién canta?",
    "line one\nline two",
    "tiny nul \u0000",
    "y" * 900,
)


def tid(us: int, clock: int = 0) -> str:
    """The TID of a time in microseconds since 1970."""
    value = us << 10 | clock
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def invented_cid(text: str) -> str:
    """A well-formed CID (v1, dag-cbor, sha-256) of nothing in particular."""
    raw = b"\x01\x71\x12\x20" + hashlib.sha256(text.encode()).digest()
    return "b" + base64.b32encode(raw).decode().lower().rstrip("=")


@dataclass
class RecordMaker:
    """Makes records and rkeys; its clock moves on with every rkey. Subjects are AT-URIs."""

    dids: Sequence[str]
    random: random.Random
    features: Counter[str] = field(default_factory=Counter)  # how many of each oddity it made
    clock_us: int = 0

    def rkey(self) -> str:
        self.clock_us += self.random.randint(1, 5_000_000)
        return tid(int(_EPOCH.timestamp()) * 1_000_000 + self.clock_us, self.random.randrange(1024))

    def now(self) -> str:
        """What a client says about the time: right, in several spellings, or wrong."""
        moment = _EPOCH + timedelta(microseconds=self.clock_us + self.random.randrange(10**9))
        spelling = self.random.randrange(20)
        if spelling == 0:
            self.features["future createdAt"] += 1
            return "2199-12-31T23:59:59.999Z"
        if spelling == 1:
            self.features["ancient createdAt"] += 1
            return self.random.choice(("0001-01-01T00:00:00.000Z", "0000-01-01T00:00:00.000Z"))
        if spelling < 5:
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+02:00")
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"

    def track(self, artist: str) -> Record:
        slug = self.random.randrange(10**6)
        record: Record = {
            "title": self.random.choice(TITLES),
            "artist": artist,
            "fileType": self.random.choice(("mp3", "wav", "m4a", "flac")),
            "createdAt": self.now(),
            "audioUrl": f"https://audio.example.com/{slug}.mp3",
        }
        if self.random.random() < 0.5:
            record["album"] = f"Album {slug % 7}"
            record["duration"] = slug % 600
        if self.random.random() < 0.2:
            record["features"] = [{"did": self.random.choice(self.dids), "displayName": "a friend"}]
            record["imageUrl"] = f"https://images.example.com/{slug}.png"
        if self.random.random() < 0.1:
            record["mood"] = {"unknown": ["to", "the", "lexicon"], "since": 2026}
            self.features["unknown field"] += 1
        return record

    def like(self, subject: str) -> Record:
        return {"subject": _strong_ref(subject), "createdAt": self.now()}

    def comment(self, subject: str) -> Record:
        return self.like(subject) | {"text": self.text(), "timestampMs": self.random.randrange(600_000)}

    def list(self, subjects: Sequence[str]) -> Record:
        return {
            "name": f"List {self.random.randrange(1000)}",
            "listType": self.random.choice(("album", "playlist", "liked")),
            "createdAt": self.now(),
            "items": [{"subject": _strong_ref(subject)} for subject in subjects],
        }

    def profile(self) -> Record:
        record: Record = {"createdAt": self.now(), "bio": self.text()[:200]}
        if self.random.random() < 0.5:
            record["avatar"] = f"https://images.example.com/{self.random.randrange(10**6)}.png"
        return record

    def post(self) -> Record:
        return {"text": self.text()[:200], "createdAt": "2026-03-01T12:00:00.000Z"}

    def text(self) -> str:
        return self.random.choice(TEXTS)

    def broken(self, kind: str, record: Record) -> Record:
        """The same record with one fault that no index may accept."""
        match kind:
            case "track":
                fault = self.random.randrange(5)
                if fault == 0:
                    del record["title"]
                elif fault == 4:
                    del record["audioUrl"]  # well-formed, but nothing to hear
                elif fault == 1:
                    record["title"] = ""
                elif fault == 2:
                    record["title"] = "é" * 129  # 258 bytes of UTF-8 in 129 code points
                else:
                    record["duration"] = -1
            case "like":
                record["subject"].pop("cid")
            case "comment":
                record["text"] = ""
            case "list":
                record["items"] = [{"subject": "at://not.a/strong/ref"}]
            case _:
                record["createdAt"] = "yesterday"
        return record


def _strong_ref(uri: str) -> Record:
    return {"uri": uri, "cid": invented_cid(uri)}
