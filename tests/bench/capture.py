"""A capture of realistic frames: the recorded ones over and over, and one in a hundred of our own accounts.

Our own come from forty accounts with trees of 1,500 keys, each commit signed and with the
blocks that prove it. The recorded frames get the seq that their place demands, patched into
the bytes; nothing else in them changes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firehose.events import Action
from lexicons.datamodel import Link, cid_bytes, cid_str
from lexicons.syntax import AtUri, Did, tid_from_us
from tests.bench import corpus, replay
from tests.bench.activity import COMMENT, LIKE, TRACK, Activity, Deed
from tests.fakenet.repo import FakeRepo, frame

ACCOUNTS = 40
KEYS = 1_500
FIRST_SEQ = 31_527_015_322
_START_US = 1_783_175_888_000_000
_OTHERS = ("app.bsky.feed.like",) * 8 + (
    "app.bsky.feed.post",
    "app.bsky.feed.repost",
    "app.bsky.graph.follow",
)


@dataclass(slots=True)
class Outcome:
    """What must be in the tables once the capture was read to its end."""

    tracks: set[AtUri] = field(default_factory=set[AtUri])
    likes: Counter[AtUri] = field(default_factory=Counter[AtUri])
    comments: Counter[AtUri] = field(default_factory=Counter[AtUri])

    def counts(self) -> dict[str, tuple[int, int]]:
        """uri -> (likes, comments), of the tracks that have any."""
        uris = {*self.likes, *self.comments}
        return {
            uri: (self.likes[uri], self.comments[uri])
            for uri in uris
            if self.likes[uri] or self.comments[uri]
        }


@dataclass(slots=True)
class Capture:
    """A capture on disk, wrapped for the replaying relay, and what goes with it."""

    wire: Path
    frames: int
    commits: int
    size: int
    last_seq: int
    accounts: list[dict[str, str]]  # did, signing_key, rev, data: as they stand before the first frame
    outcome: Outcome


def write(folder: Path, frames: int, share: float, seed: int = 7) -> Capture:
    """Generate a capture of `frames` frames, `share` of them ours. The same for the same numbers."""
    dice = random.Random(seed)
    repos = [_repo(number) for number in range(ACCOUNTS)]
    accounts = [
        {
            "did": repo.did,
            "signing_key": repo.key.did_key,
            "rev": str(repo.rev),
            "data": str(cid_str(repo.data)),
        }
        for repo in repos
    ]
    activity = Activity(seed, range(ACCOUNTS), [Did(repo.did) for repo in repos])
    capture = Capture(folder / "capture.ws", frames, 0, 0, FIRST_SEQ + frames - 1, accounts, Outcome())
    others = [(raw, raw.index(b"cseq\x1b") + 5) for raw in corpus.frames()]
    now_us = _START_US
    made: dict[tuple[int, str], AtUri] = {}
    with capture.wire.open("wb") as file:
        for seq in range(FIRST_SEQ, FIRST_SEQ + frames):
            now_us += dice.randint(500, 1_500)
            if dice.random() < share:
                deed = activity.next(now_us)
                raw = _commit(repos[deed.account], deed, seq, now_us)
                _book(capture.outcome, made, repos[deed.account].did, deed)
                capture.commits += 1
            else:
                other, at = dice.choice(others)
                raw = other[:at] + seq.to_bytes(8, "big") + other[at + 8 :]
            capture.size += len(raw)
            file.write(replay.wrap([raw]))
    return capture


def _repo(number: int) -> FakeRepo:
    """An account with a past: mostly of other apps, as everybody's is."""
    repo = FakeRepo(seed=f"bench {number}")
    dice = random.Random(number)
    us = _START_US - 10**12
    writes: list[tuple[str, str, str, dict[str, object]]] = []
    for _ in range(KEYS):
        us += dice.randint(10**6, 10**8)
        collection = dice.choice(_OTHERS)
        writes.append(("create", collection, str(tid_from_us(us, 3)), {"$type": collection, "n": us}))
    repo.write(writes, _START_US - 1_000)
    return repo


def _commit(repo: FakeRepo, deed: Deed, seq: int, now_us: int) -> bytes:
    record = None if deed.record is None else _raw(deed.record)
    return frame("#commit", repo.write([(deed.action, deed.collection, deed.rkey, record)], now_us), seq)


def _raw(value: Any) -> Any:
    """Links in the form that the repo's encoder takes: 36 bytes."""
    if isinstance(value, Link):
        return cid_bytes(value.cid)
    if isinstance(value, dict):
        return {key: _raw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_raw(item) for item in value]
    return value


def _book(outcome: Outcome, made: dict[tuple[int, str], AtUri], did: str, deed: Deed) -> None:
    """Keep account of what a deed comes to, without any of the code that is measured."""
    key = (deed.account, deed.rkey)
    counter = {LIKE: outcome.likes, COMMENT: outcome.comments}.get(deed.collection)
    if deed.collection == TRACK:
        uri = AtUri(f"at://{did}/{TRACK}/{deed.rkey}")
        if deed.action is Action.CREATE:
            outcome.tracks.add(uri)
        else:
            outcome.tracks.discard(uri)
    elif counter is not None:
        if deed.record is not None:
            made[key] = AtUri(deed.record["subject"]["uri"])
            counter[made[key]] += 1
        else:
            counter[made[key]] -= 1


def frames_of(wire: Path) -> Iterator[bytes]:
    """The frames of a capture again, unwrapped."""
    data = memoryview(wire.read_bytes())
    at = 0
    while at < len(data):
        size, at = data[at + 1], at + 2
        if size == 126:
            size, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        elif size == 127:
            size, at = int.from_bytes(data[at : at + 8], "big"), at + 8
        yield bytes(data[at : at + size])
        at += size
