"""A mixed load for the devnet: planned on a seed without I/O, then carried out at a bounded rate.

The plan knows the state that it leads to, and which trap each write is: a test can assert that
PDSs ended as planned, and that what it is about did happen.

Rkeys are made here, so a like can name a track that nobody has written yet.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.devnet.records import Record, RecordMaker

Key = tuple[int, str, str]  # actor, collection, rkey

BSKY_PROFILE = "app.bsky.actor.profile"
BSKY_POST = "app.bsky.feed.post"
MAX_BATCH = 12


@dataclass(frozen=True)
class Write:
    """One operation on one record; `valid` says whether the lexicon accepts `record`."""

    action: Literal["create", "update", "delete"]
    collection: str
    rkey: str
    record: Record | None
    valid: bool = True


@dataclass(frozen=True)
class Step:
    """One request of one account: a single write by its own method, or several by applyWrites."""

    actor: int
    writes: tuple[Write, ...]

    @property
    def single(self) -> bool:
        return len(self.writes) == 1


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order, and the state that comes of it."""

    dids: tuple[str, ...]
    steps: tuple[Step, ...]
    final: Mapping[Key, Write]  # of every record that exists in the end
    features: Mapping[str, int]  # how many writes are each kind of trap

    @property
    def operations(self) -> int:
        return sum(len(step.writes) for step in self.steps)


def make_plan(
    dids: Sequence[str],
    operations: int,
    seed: int,
    *,
    namespace: str = "fm.plyr",
    outsiders: int = 2,
    blobs: Mapping[int, Record] | None = None,
) -> Plan:
    """At least `operations` writes over all `dids`; the last `outsiders` write to other apps alone.

    `blobs` holds a blob reference by actor, kept alive by a track that is never touched again.
    """
    planner = _Planner(tuple(dids), random.Random(seed), namespace, len(dids) - outsiders, blobs or {})
    planner.open()
    while planner.count < operations:
        planner.step()
    planner.close()
    return Plan(planner.dids, tuple(planner.steps), planner.state, dict(planner.features))


@dataclass
class _Planner:
    dids: tuple[str, ...]
    random: random.Random
    namespace: str
    insiders: int
    blobs: Mapping[int, Record]
    steps: list[Step] = field(default_factory=list)
    state: dict[Key, Write] = field(default_factory=dict)
    gone: deque[Key] = field(default_factory=lambda: deque(maxlen=40))  # deleted: may come back
    awaited: deque[Key] = field(default_factory=deque)  # liked, commented or listed before they exist
    untouchable: set[Key] = field(default_factory=set)
    features: Counter[str] = field(default_factory=Counter)
    count: int = 0
    busy: set[Key] = field(default_factory=set)  # keys of the step being planned: one commit names each once

    def __post_init__(self) -> None:
        self.make = RecordMaker(self.dids, self.random, self.features)

    # -- the shape of the whole

    def open(self) -> None:
        """Every insider begins with records of ours, which is what makes an account tracked."""
        for actor in range(self.insiders):
            self.begin()
            writes = [self.write(actor, f"{self.namespace}.actor.profile", "self", self.make.profile())]
            track = self.make.track(f"Artist {actor}")
            if actor in self.blobs:
                track.pop("audioUrl", None)
                track["audioBlob"] = self.blobs[actor]
                self.features["blob"] += 1
            rkey = self.make.rkey()
            writes.append(self.write(actor, f"{self.namespace}.track", rkey, track))
            self.untouchable.add((actor, f"{self.namespace}.track", rkey))
            self.end(actor, writes)
        for actor in range(self.insiders, len(self.dids)):
            self.begin()
            self.end(actor, [self.write(actor, BSKY_PROFILE, "self", {"displayName": f"Outsider {actor}"})])

    def step(self) -> None:
        self.begin()
        if self.random.random() < 0.08 and self.insiders < len(self.dids):
            actor = self.random.randrange(self.insiders, len(self.dids))
            self.features["outsider"] += 1
            self.end(actor, [self.write(actor, BSKY_POST, self.make.rkey(), self.make.post())])
            return
        actor = self.random.randrange(self.insiders)
        size = 1 if self.random.random() < 0.5 else self.random.randint(2, MAX_BATCH)
        self.end(actor, [write for _ in range(size) if (write := self.one(actor)) is not None])

    def close(self) -> None:
        """Half of what was awaited comes at last; the rest stays dangling."""
        for actor, collection, rkey in list(self.awaited)[::2]:
            self.begin()
            self.features["late track"] += 1
            self.end(actor, [self.write(actor, collection, rkey, self.make.track(f"Artist {actor}"))])

    def begin(self) -> None:
        self.busy = set()

    def end(self, actor: int, writes: list[Write]) -> None:
        if writes:
            self.steps.append(Step(actor, tuple(writes)))
            self.count += len(writes)

    # -- one write

    def one(self, actor: int) -> Write | None:
        kinds = {
            self.new_track: 10,
            self.awaited_track: 4,
            self.change_track: 8,
            self.new_like: 20,
            self.early_like: 4,
            self.double_like: 3,
            self.new_comment: 11,
            self.new_list: 3,
            self.change_list: 4,
            self.change_comment: 3,
            self.change_profile: 3,
            self.other_app: 9,
            self.remove: 13,
            self.come_back: 5,
            self.break_record: 3,
            self.mend_record: 3,
            self.same_again: 1,
        }
        pick = self.random.choices(list(kinds), weights=list(kinds.values()))[0]
        return pick(actor)

    def new_track(self, actor: int) -> Write:
        return self.write(
            actor, f"{self.namespace}.track", self.make.rkey(), self.make.track(f"Artist {actor}")
        )

    def awaited_track(self, actor: int) -> Write | None:
        for key in list(self.awaited)[:-5]:  # not at once: others shall have named it before
            if key[0] == actor and key not in self.busy:
                self.awaited.remove(key)
                self.features["late track"] += 1
                return self.write(*key, self.make.track(f"Artist {actor}"))
        return None

    def change_track(self, actor: int) -> Write | None:
        key = self.own(actor, f"{self.namespace}.track")
        return self.write(*key, self.make.track(f"Artist {actor}")) if key else None

    def new_like(self, actor: int) -> Write | None:
        subject = self.any_track()
        return subject and self.like(actor, subject)

    def early_like(self, actor: int) -> Write:
        if self.awaited and self.random.random() < 0.6:
            subject = self.random.choice(self.awaited)
        else:
            subject = (self.random.randrange(self.insiders), f"{self.namespace}.track", self.make.rkey())
            self.awaited.append(subject)
        self.features["early like"] += 1
        return self.like(actor, subject)

    def double_like(self, actor: int) -> Write | None:
        key = self.own(actor, f"{self.namespace}.like")
        if key is None or not self.state[key].valid:
            return None
        self.features["double like"] += 1
        record = dict(self.state[key].record or {}) | {"createdAt": self.make.now()}
        return self.write(actor, f"{self.namespace}.like", self.make.rkey(), record)

    def new_comment(self, actor: int) -> Write | None:
        subject = self.any_track()
        if subject is None:
            return None
        return self.write(
            actor, f"{self.namespace}.comment", self.make.rkey(), self.make.comment(self.uri(subject))
        )

    def change_comment(self, actor: int) -> Write | None:
        key = self.own(actor, f"{self.namespace}.comment")
        if key is None or not self.state[key].valid:
            return None
        record = dict(self.state[key].record or {}) | {"text": self.make.text(), "updatedAt": self.make.now()}
        return self.write(*key, record)

    def new_list(self, actor: int) -> Write:
        return self.write(
            actor, f"{self.namespace}.list", self.make.rkey(), self.make.list(self.some_tracks())
        )

    def change_list(self, actor: int) -> Write | None:
        key = self.own(actor, f"{self.namespace}.list")
        return self.write(*key, self.make.list(self.some_tracks())) if key else None

    def change_profile(self, actor: int) -> Write | None:
        if self.random.random() < 0.5:
            return self.write_free(actor, f"{self.namespace}.actor.profile", "self", self.make.profile())
        if len(self.steps) < 3 * self.insiders:  # well after the records that make the account tracked
            return None
        self.features["bsky profile"] += 1
        name = f"{self.random.choice(('Ada', 'Björk', '小林', 'MC'))} {self.random.randrange(1000)}"
        return self.write_free(
            actor, BSKY_PROFILE, "self", {"displayName": name, "description": "plays the tuba"}
        )

    def other_app(self, actor: int) -> Write:
        self.features["other app"] += 1
        return self.write(actor, BSKY_POST, self.make.rkey(), self.make.post())

    def remove(self, actor: int) -> Write | None:
        kinds = ("like", "like", "like", "comment", "track", "list")
        key = self.own(actor, f"{self.namespace}.{self.random.choice(kinds)}")
        if key is None:
            return None
        self.features[f"delete {key[1].rpartition('.')[2]}"] += 1
        self.gone.append(key)
        del self.state[key]
        self.busy.add(key)
        return Write("delete", key[1], key[2], None)

    def come_back(self, actor: int) -> Write | None:
        for key in self.gone:
            if key[0] == actor and key not in self.busy and key not in self.state:
                self.gone.remove(key)
                self.features["re-create"] += 1
                return self.write(*key, self.fresh(key))
        return None

    def break_record(self, actor: int) -> Write | None:
        kind = self.random.choice(("track", "track", "like", "comment", "list", "actor.profile"))
        key = self.own(actor, f"{self.namespace}.{kind}")
        if key is None:
            return None
        if self.random.random() < 0.3 and kind != "actor.profile":
            key = (actor, f"{self.namespace}.{kind}", self.make.rkey())
            self.features["born invalid"] += 1
        else:
            self.features["update to invalid"] += 1
        return self.write(*key, self.make.broken(self.kind(key), self.fresh(key)), valid=False)

    def mend_record(self, actor: int) -> Write | None:
        broken = [k for k, w in self.state.items() if k[0] == actor and not w.valid and k not in self.busy]
        if not broken:
            return None
        self.features["back to valid"] += 1
        key = self.random.choice(broken)
        return self.write(*key, self.fresh(key))

    def same_again(self, actor: int) -> Write | None:
        key = self.own(actor, f"{self.namespace}.track")
        if key is None or not self.state[key].valid:
            return None
        self.features["same again"] += 1
        return self.write(*key, dict(self.state[key].record or {}))

    # -- the book-keeping

    def kind(self, key: Key) -> str:
        return key[1].removeprefix(f"{self.namespace}.")

    def uri(self, key: Key) -> str:
        return f"at://{self.dids[key[0]]}/{key[1]}/{key[2]}"

    def some_tracks(self) -> list[str]:
        """URIs for a list: some that exist, maybe one that doesn't yet."""
        tracks = [key for key in self.state if self.kind(key) == "track"] + list(self.awaited)[:3]
        return [
            self.uri(key)
            for key in self.random.sample(tracks, k=min(len(tracks), self.random.randint(0, 12)))
        ]

    def write(self, actor: int, collection: str, rkey: str, record: Record, *, valid: bool = True) -> Write:
        key = (actor, collection, rkey)
        action = "update" if key in self.state else "create"
        made = Write(action, collection, rkey, {"$type": collection, **record}, valid)
        self.state[key] = made
        self.busy.add(key)
        return made

    def write_free(self, actor: int, collection: str, rkey: str, record: Record) -> Write | None:
        return None if (actor, collection, rkey) in self.busy else self.write(actor, collection, rkey, record)

    def own(self, actor: int, collection: str) -> Key | None:
        keys = [
            key
            for key in self.state
            if key[0] == actor
            and key[1] == collection
            and key not in self.busy
            and key not in self.untouchable
        ]
        return self.random.choice(keys) if keys else None

    def any_track(self) -> Key | None:
        keys = [key for key in self.state if key[1] == f"{self.namespace}.track"]
        # Some tracks are loved by many, so that counters climb above one.
        return self.random.choice(keys[: 1 + len(keys) // 3] if self.random.random() < 0.5 else keys)

    def like(self, actor: int, subject: Key) -> Write:
        return self.write(
            actor, f"{self.namespace}.like", self.make.rkey(), self.make.like(self.uri(subject))
        )

    def fresh(self, key: Key) -> Record:
        match self.kind(key):
            case "track":
                return self.make.track(f"Artist {key[0]}")
            case "like":
                return self.make.like(self.uri(self.any_track() or key))
            case "comment":
                return self.make.comment(self.uri(self.any_track() or key))
            case "list":
                return self.make.list(self.some_tracks())
            case _:
                return self.make.profile()
