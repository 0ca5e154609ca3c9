"""A few accounts that post, like, comment, list, edit and delete on a seed, and what must come of it.

`World(seed).play(n)` gives n verified events. The world also keeps what is true in the plainest way
there is (a dict of records), so that tables can be compared with an answer of another origin.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from firehose.commit import verify_commit
from firehose.events import Account, Commit, Event
from firehose.keys import PublicKey
from firehose.message import account_of
from lexicons.syntax import Did, tid_from_us
from storage.repos import NewRepo
from tests.fakenet.repo import START_US, FakeRepo

NOW_US = START_US + 10**12
TRACK, LIKE, COMMENT = "fm.plyr.track", "fm.plyr.like", "fm.plyr.comment"
LIST, PROFILE, BSKY = "fm.plyr.list", "fm.plyr.actor.profile", "app.bsky.actor.profile"
POST = "app.bsky.feed.post"
WHEN = "2026-07-04T14:00:00.000Z"


def track(title: str, **more: Any) -> dict[str, Any]:
    record = {
        "$type": TRACK,
        "title": title,
        "artist": "Ana Ríos",
        "fileType": "mp3",
        "createdAt": WHEN,
        "audioUrl": f"https://audio.example/{len(title)}.mp3",
    }
    return record | more


def ref(uri: str) -> dict[str, str]:
    return {"uri": uri, "cid": "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"}


def like(uri: str) -> dict[str, Any]:
    return {"$type": LIKE, "subject": ref(uri), "createdAt": WHEN}


def comment(uri: str, text: str = "here", at_ms: int = 0) -> dict[str, Any]:
    return {"$type": COMMENT, "subject": ref(uri), "text": text, "timestampMs": at_ms, "createdAt": WHEN}


def album(name: str, uris: Iterable[str]) -> dict[str, Any]:
    items = [{"subject": ref(uri)} for uri in uris]
    return {"$type": LIST, "name": name, "listType": "album", "items": items, "createdAt": WHEN}


def bsky_profile(name: str) -> dict[str, Any]:
    return {"$type": BSKY, "displayName": name}


class Author:
    """A fake repo that hands out verified events instead of frames."""

    def __init__(self, seed: object) -> None:
        self.repo = FakeRepo(seed=seed)
        self.did = Did(self.repo.did)
        self._key = PublicKey.parse(self.repo.key.did_key)

    @property
    def identity(self) -> NewRepo:
        return NewRepo(self.did, "https://pds.example", self.repo.key.did_key)

    def uri(self, collection: str, rkey: str) -> str:
        return f"at://{self.did}/{collection}/{rkey}"

    def write(
        self, *writes: tuple[str, str, str, dict[str, Any] | None], now_us: int | None = None
    ) -> Commit:
        return verify_commit(self.repo.write(writes, now_us), self._key, NOW_US)

    def create(self, collection: str, rkey: str, record: dict[str, Any]) -> Commit:
        return self.write(("create", collection, rkey, record))

    def update(self, collection: str, rkey: str, record: dict[str, Any]) -> Commit:
        return self.write(("update", collection, rkey, record))

    def delete(self, collection: str, rkey: str) -> Commit:
        return self.write(("delete", collection, rkey, None))

    def account(self, seq: int, *, active: bool, status: str | None = None) -> Account:
        return account_of(self.repo.account_body(active=active, status=status) | {"seq": seq})


class World:
    """`authors` accounts and all that they have, in `records` as {uri: record}."""

    def __init__(self, seed: int, authors: int = 4) -> None:
        self._random = random.Random(seed)
        self.authors = [Author(f"{seed}.{n}") for n in range(authors)]
        self.records: dict[str, dict[str, Any]] = {}
        self.hidden: set[Did] = set()
        self._clock_us = START_US
        self._seq = 0

    def begin(self) -> list[Event]:
        """A first record of ours for everybody: from here on every account is tracked."""
        profile = {"$type": PROFILE, "bio": "hello", "createdAt": WHEN}
        for author in self.authors:
            self.records[author.uri(PROFILE, "self")] = profile
        return [author.create(PROFILE, "self", profile) for author in self.authors]

    def play(self, steps: int) -> list[Event]:
        return [self._step() for _ in range(steps)]

    def _step(self) -> Event:
        self._clock_us += self._random.randint(10, 5_000_000)
        self._seq += 1
        author = self._random.choice(self.authors)
        if self._random.random() < 0.04:
            active = author.did in self.hidden
            (self.hidden.discard if active else self.hidden.add)(author.did)
            return author.account(self._seq, active=active, status=None if active else "deactivated")
        writes = [self._write(author) for _ in range(self._random.choice((1, 1, 1, 2, 3)))]
        paths = {w[1:3]: w for w in writes}  # a path at most once in a commit
        for action, collection, rkey, record in paths.values():
            uri = author.uri(collection, rkey)
            if action == "delete":
                del self.records[uri]
            elif record is not None:
                self.records[uri] = record
        return author.write(*paths.values(), now_us=self._clock_us)

    def _write(self, author: Author) -> tuple[str, str, str, dict[str, Any] | None]:
        r = self._random
        mine = [uri for uri in self.records if uri.startswith(f"at://{author.did}/")]
        collection = r.choice((TRACK, TRACK, LIKE, LIKE, LIKE, COMMENT, COMMENT, LIST, PROFILE, BSKY, POST))
        rkey = "self" if collection in (PROFILE, BSKY) else str(tid_from_us(START_US + r.randint(0, 5), 7))
        uri = author.uri(collection, rkey)
        if uri in mine:
            if r.random() < 0.5:
                return ("delete", collection, rkey, None)
            return ("update", collection, rkey, self._record(collection))
        return ("create", collection, rkey, self._record(collection))

    def _record(self, collection: str) -> dict[str, Any]:
        r = self._random
        subject = self._some_track()
        match collection:
            case "fm.plyr.track":
                return track("") if r.random() < 0.15 else self._song(r.randint(0, 999))  # "" is invalid
            case "fm.plyr.like":
                return like(subject)
            case "fm.plyr.comment":
                return comment(subject, f"part {r.randint(0, 9)}", r.randint(0, 300_000))
            case "fm.plyr.list":
                return album(f"Album {r.randint(0, 9)}", [self._some_track() for _ in range(r.randint(0, 4))])
            case "fm.plyr.actor.profile":
                return {"$type": PROFILE, "bio": f"bio {r.randint(0, 9)}", "createdAt": WHEN}
            case "app.bsky.actor.profile":
                return bsky_profile(f"Name {r.randint(0, 9)}")
            case _:
                return {"$type": POST, "text": f"{r.random()}", "createdAt": WHEN}

    def _song(self, number: int) -> dict[str, Any]:
        """Some are on an album, some feature somebody."""
        more: dict[str, Any] = {"album": f"Album {number % 9}"} if number % 3 == 0 else {}
        if number % 4 == 0:
            more["features"] = [{"did": author.did} for author in self.authors[: 1 + number % 2]]
        return track(f"Song {number}", **more)

    def _some_track(self) -> str:
        """Of anybody, there or not: likes may come before their track."""
        author = self._random.choice(self.authors)
        return author.uri(TRACK, str(tid_from_us(START_US + self._random.randint(0, 5), 7)))

    # -- what must be true, computed in the plainest way

    def live(self, collection: str, *, visible: bool = False) -> dict[str, dict[str, Any]]:
        return {
            uri: record
            for uri, record in self.records.items()
            if uri.split("/")[3] == collection and not (visible and uri.split("/")[2] in self.hidden)
        }

    def counts(self) -> dict[str, tuple[int, int]]:
        """uri → (distinct visible accounts that like it, visible comments), zeros left out."""
        likes: dict[str, set[str]] = {}
        for uri, record in self.live(LIKE, visible=True).items():
            likes.setdefault(record["subject"]["uri"], set()).add(uri.split("/")[2])
        comments: dict[str, int] = {}
        for record in self.live(COMMENT, visible=True).values():
            comments[record["subject"]["uri"]] = comments.get(record["subject"]["uri"], 0) + 1
        return {
            uri: (len(likes.get(uri, ())), comments.get(uri, 0)) for uri in likes.keys() | comments.keys()
        }
