"""The way of events from their hosts to a relay's log, and all that gets lost, doubled or mixed up on it.

    channel = Channel(relay, random.Random(seed))
    channel.send("#commit", body)          # perhaps late, twice, or never
    channel.send("#account", body, sure=True)
    channel.calm()                         # what was held is delivered, and nothing goes wrong any more

Everything is decided by the given `random.Random`: the same calls have the same faults.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import FakeRepo, edit_blocks, frame, resign

YEARS_AHEAD = "7zzzzzzzzzzzz"


class Wire(StrEnum):
    """What can happen to an event on its way."""

    GAP = "an event is lost"
    DUPLICATE = "an event comes twice, with its seq"
    REORDERED = "an event comes after later ones of its repo"
    LATE = "an event comes late, under a seq below those before it"
    REEMITTED = "an old event comes again under a new seq"
    BLIND = "events of our collections are withheld"
    OFFLINE = "the relay passes nothing on"
    RESET = "the relay begins again at seq 1"
    OUTDATED = "the relay forgets what nobody had read"
    PURGED = "the relay removes the events of a deleted account"
    CUT = "the connection breaks"
    GARBAGE = "bytes that are no frame"
    FUTURE_KIND = "a message of an unknown type"
    FORGED = "a commit signed with another key"
    MISSING_BLOCK = "a commit without one of its blocks"
    FLIPPED_BLOCK = "a commit with a block's bytes changed"
    FUTURE_REV = "a commit with a rev from the future"
    HIDDEN_OP = "a commit that does not name one of its operations"


@dataclass
class _Held:
    after: int
    kind: str
    body: Mapping[str, Any]
    seq: int | None


class Channel:
    """Frames go to `relay` with seqs from 1 on. `fired` counts what happened; `sent` maps DIDs to seqs."""

    def __init__(
        self,
        relay: FakeRelay,
        chance: random.Random,
        *,
        gap: float = 0.008,
        duplicate: float = 0.02,
        reorder: float = 0.03,
        reemit: float = 0.005,
    ) -> None:
        self._relay = relay
        self._chance = chance
        self._rates = (gap, duplicate, reorder, reemit)
        self._held: list[_Held] = []
        self._recent: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=300)
        self._seqs: dict[str, list[int]] = {}
        self.fired: Counter[Wire] = Counter()
        self.seq = 0
        self.offline = False
        self.blind: frozenset[str] = frozenset()

    def send(self, kind: str, body: Mapping[str, Any], *, sure: bool = False) -> None:
        """One event of a host. `sure`: it may be doubled, and comes at once."""
        gap, duplicate, reorder, reemit = self._rates
        if not sure:
            if self.offline:
                self.fired[Wire.OFFLINE] += 1
                return
            if any(op["path"].partition("/")[0] in self.blind for op in body.get("ops", ())):
                self.fired[Wire.BLIND] += 1
                return
            if self._chance.random() < gap:
                self.fired[Wire.GAP] += 1
                return
            if self._chance.random() < reorder:
                seq = self._take_seq() if self._chance.random() < 0.5 else None
                self._held.append(_Held(self._chance.randint(1, 20), kind, body, seq))
                return
        self._emit(kind, body)
        if self._chance.random() < duplicate:
            self.fired[Wire.DUPLICATE] += 1
            self._relay.emit(self.seq, self._relay.log[self.seq])
        if self._recent and self._chance.random() < reemit:
            self.fired[Wire.REEMITTED] += 1
            self._emit(*self._chance.choice(self._recent))
        self._recent.append((kind, body))
        self._release()

    def calm(self) -> None:
        """From now on everything comes once and in order."""
        self._rates = (0.0, 0.0, 0.0, 0.0)
        self.offline = False
        self.blind = frozenset()
        while self._held:
            self._release()

    # -- faults that are not about one event

    def cut(self) -> None:
        self.fired[Wire.CUT] += self._relay.cut() > 0

    def reset(self) -> None:
        """The relay loses its history and numbers from 1 again, and says so to nobody (trap T24)."""
        self.fired[Wire.RESET] += 1
        self._relay.log.clear()
        self._seqs.clear()
        for held in self._held:
            held.seq = None
        self.seq = 0
        self._relay.strict = False
        self._relay.cut()

    def forget(self, keep: int) -> None:
        """The relay's window is now its last `keep` events. OUTDATED counts when a reader notices."""
        for held in self._held:
            held.seq = None
        for seq in sorted(self._relay.log)[:-keep]:
            del self._relay.log[seq]

    def purge(self, did: str) -> None:
        """The events of a deleted account are taken out of the relay's window."""
        seqs = [seq for seq in self._seqs.pop(did, ()) if self._relay.log.pop(seq, None) is not None]
        self.fired[Wire.PURGED] += bool(seqs)

    # -- messages that nobody should believe

    def poison(self, repo: FakeRepo, body: Mapping[str, Any], forgery: Mapping[str, Any]) -> None:
        """Something made of a real commit of `repo`; `forgery` is a commit by another key in its name."""
        kinds = [Wire.GARBAGE, Wire.FUTURE_KIND, Wire.FORGED, Wire.FLIPPED_BLOCK, Wire.FUTURE_REV]
        kind = self._chance.choice([*kinds, Wire.MISSING_BLOCK, Wire.HIDDEN_OP])
        if self.offline:
            return
        self.fired[kind] += 1
        if kind is Wire.GARBAGE:
            whole = frame("#commit", body, self._take_seq())
            self._relay.emit(self.seq, whole[: len(whole) // 2])
        elif kind is Wire.FUTURE_KIND:
            self._emit("#future", {"did": repo.did, "what": [1, 2, 3]})
        elif kind is Wire.FORGED:
            self._emit("#commit", forgery)
        elif kind is Wire.FLIPPED_BLOCK:
            self._emit("#commit", edit_blocks(body, _flip_last))
        elif kind is Wire.MISSING_BLOCK:
            self._emit("#commit", edit_blocks(body, _drop_last))
        elif kind is Wire.HIDDEN_OP:
            self._emit("#commit", {**body, "ops": body["ops"][1:]})
        else:
            self._emit("#commit", {**resign(body, repo.key, rev=YEARS_AHEAD), "rev": YEARS_AHEAD})

    # -- numbers and the log

    def _take_seq(self) -> int:
        self.seq += 1
        return self.seq

    def _emit(self, kind: str, body: Mapping[str, Any], seq: int | None = None) -> None:
        seq = seq or self._take_seq()
        self._seqs.setdefault(str(body.get("repo") or body.get("did")), []).append(seq)
        self._relay.emit(seq, frame(kind, body, seq))

    def _release(self) -> None:
        """One event has passed: whatever was held for that long goes."""
        for held in self._held:
            held.after -= 1
        due = [held for held in self._held if held.after <= 0]
        self._held = [held for held in self._held if held.after > 0]
        for held in due:
            self.fired[Wire.REORDERED if held.seq is None else Wire.LATE] += 1
            self._emit(held.kind, held.body, held.seq)


def _flip_last(blocks: dict[bytes, bytes]) -> None:
    cid, block = list(blocks.items())[-1]
    blocks[cid] = block[:-1] + bytes([block[-1] ^ 1])


def _drop_last(blocks: dict[bytes, bytes]) -> None:
    del blocks[list(blocks)[-1]]
