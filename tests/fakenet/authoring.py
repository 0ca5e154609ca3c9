"""What residents write: records of our collections and others, on a seed, some of them poisonous."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from lexicons.syntax import tid_from_us
from tests.fakenet.repo import START_US
from tests.fakenet.resident import Path, Resident, Writes
from tests.fakenet.world import (
    BSKY,
    COMMENT,
    LIKE,
    LIST,
    POST,
    PROFILE,
    TRACK,
    WHEN,
    album,
    bsky_profile,
    comment,
    like,
    track,
)

COLLECTIONS = (TRACK, TRACK, LIKE, LIKE, LIKE, COMMENT, COMMENT, LIST, PROFILE, BSKY, POST)
RKEYS = 12  # few, so that records are overwritten, deleted and made again


def rkey(n: int) -> str:
    return str(tid_from_us(START_US + n, 7))


def some_writes(
    resident: Resident, everybody: Sequence[Resident], chance: random.Random, count: int
) -> Writes:
    """Up to `count` operations on different records of the resident."""
    writes: dict[Path, tuple[str, str, str, dict[str, Any] | None]] = {}
    for _ in range(count):
        collection = chance.choice(COLLECTIONS)
        key = "self" if collection in (PROFILE, BSKY) else rkey(chance.randrange(RKEYS))
        if (collection, key) not in resident.records:
            action = "create"
        else:
            action = "delete" if chance.random() < 0.5 else "update"
        record = None if action == "delete" else some_record(collection, everybody, chance)
        writes[collection, key] = (action, collection, key, record)
    return list(writes.values())


def many_writes(resident: Resident, everybody: Sequence[Resident], chance: random.Random) -> Writes:
    """An import: a hundred new likes and posts in one commit."""
    writes: Writes = []
    first = 1000 + len(resident.records)
    for n in range(first, first + 100):
        collection = chance.choice((LIKE, LIKE, TRACK, POST))
        if (collection, rkey(n)) not in resident.records:
            writes.append(("create", collection, rkey(n), some_record(collection, everybody, chance)))
    return writes


def some_record(collection: str, everybody: Sequence[Resident], chance: random.Random) -> dict[str, Any]:
    match collection:
        case "fm.plyr.track":
            return track(f"Song {chance.randrange(10_000)}")
        case "fm.plyr.like":
            return like(_some_track(everybody, chance))
        case "fm.plyr.comment":
            return comment(
                _some_track(everybody, chance), f"part {chance.randrange(10)}", chance.randrange(300_000)
            )
        case "fm.plyr.list":
            uris = [_some_track(everybody, chance) for _ in range(chance.randrange(5))]
            return album(f"Album {chance.randrange(100)}", uris)
        case "fm.plyr.actor.profile":
            return {"$type": PROFILE, "bio": f"bio {chance.randrange(1000)}", "createdAt": WHEN}
        case "app.bsky.actor.profile":
            return bsky_profile(f"Name {chance.randrange(1000)}")
        case _:
            return {"$type": POST, "text": f"{chance.random()}", "createdAt": WHEN}


def poison(chance: random.Random, uri: str) -> tuple[str, dict[str, Any], bool]:
    """A record that breaks careless indexers: its collection, itself, and whether it is valid."""
    return chance.choice(
        (
            (TRACK, track(""), False),
            (TRACK, track("A\0B"), True),
            (TRACK, track("Year zero", createdAt="0000-01-01T00:00:00.000Z"), True),
            (TRACK, track("Float", extra=1.5), False),
            (TRACK, track("Other type") | {"$type": "fm.plyr.other"}, False),
            (TRACK, track("Whole number", duration=2**63 - 1), True),
            (TRACK, track("x" * 100_000), False),
            (TRACK, track("No audio") | {"audioUrl": None}, False),
            (LIKE, like("not a uri"), False),
            (LIKE, like("at://did:plc:" + "a" * 1500 + "/fm.plyr.track/" + rkey(1)), True),
            (COMMENT, comment(uri, "late", 2**62), True),
            (COMMENT, comment(uri, "\0"), True),
            (LIST, album("Nul \0", [uri]), True),
            (LIST, {"$type": LIST, "items": {}, "createdAt": WHEN}, False),
        )
    )


def _some_track(everybody: Sequence[Resident], chance: random.Random) -> str:
    """Of anybody, there or not: likes come before their tracks, and stay behind them."""
    return chance.choice(everybody).uri(TRACK, rkey(chance.randrange(RKEYS)))
