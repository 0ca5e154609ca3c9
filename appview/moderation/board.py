"""What labelers say now of what is on a page.

Contract: what we said is shown a second later at the latest, and what is taken back or over is not (rules
X13, L4). Our own labels are in memory and cost a page no question. Seqs are dense and appear in order, so
what is new is what comes after the last one that was read: whoever asks first after a second reads it.
Others' labels, which may be millions, cost a page one question, if somebody wants those of a labeler that we
follow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import orjson

from appview.labelers import Labeler
from appview.moderation.labels import fields
from lexicons.catalog import Collections
from lexicons.syntax import Did
from storage import foreign_labels, labels
from storage.foreign_labels import Active
from storage.labels import LabelRow
from storage.reader import Reads

FRESH_S = 1.0
_PAGE = 1000
_REDACTING = frozenset({"!takedown", "!suspend"})
_SELF = b'"$type":"com.atproto.label.defs#selfLabels"'
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Said:
    """A label that holds until `ends_at` (seconds since 1970); `cid`: for this version alone."""

    json: bytes
    cid: bytes | None
    ends_at: float | None


OfSubject = dict[tuple[Did, str], Said]  # by who says it, and what


@dataclass(frozen=True, slots=True)
class Shown:
    """The labels that a client wants to see. `redacting`: whose takedowns are left out altogether.
    `profiles`: paths of the records that say how an account looks."""

    said: Mapping[bytes, OfSubject] = field(default_factory=dict[bytes, OfSubject])
    accepted: frozenset[Did] = frozenset()
    redacting: frozenset[Did] = frozenset()
    profiles: tuple[bytes, ...] = ()
    now_s: float = 0.0

    def record(self, card: bytes) -> bytes:
        """The JSON array of the labels on a record, its author's own included, by its card."""
        own = _self_labels(card) if _SELF in card else []
        return b"[%b]" % b",".join([*self._on(*_named(card)), *own]) if own or self.said else b"[]"

    def account(self, card: bytes) -> bytes:
        """The same of an account, and of the records that say how it looks."""
        if not self.said:
            return b"[]"
        uris = subjects(card, self.profiles)
        return b"[%b]" % b",".join([json for uri in uris for json in self._on(uri, None)])

    def kept(self, rows: Sequence[_R], names: Callable[[_R], Sequence[bytes]]) -> list[_R]:
        """The rows of which nothing is taken down by a labeler that may redact; `names` are the cards of a
        row's records and accounts."""
        if not self.redacting:
            return list(rows)
        return [row for row in rows if not any(self._redacted(card) for card in names(row))]

    def _redacted(self, card: bytes) -> bool:
        uri, cid = _named(card)
        return any(
            src in self.redacting and val in _REDACTING and self._holds(said, cid)
            for (src, val), said in self.said.get(uri, {}).items()
        )

    def _on(self, uri: bytes, cid: bytes | None) -> list[bytes]:
        found = self.said.get(uri)
        if found is None:
            return []
        return [s.json for (src, _), s in found.items() if src in self.accepted and self._holds(s, cid)]

    def _holds(self, said: Said, cid: bytes | None) -> bool:
        return (said.ends_at is None or said.ends_at > self.now_s) and said.cid in (None, cid)


NOTHING = Shown()


class Board:
    """Reads what is new of ours at most every `fresh_s`. `others`: whom we follow."""

    def __init__(
        self,
        reads: Reads,
        collections: Collections,
        *,
        others: Iterable[Did] = (),
        fresh_s: float = FRESH_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reads = reads
        self._others = frozenset(others)
        self._profiles = tuple(
            f"{nsid}/self".encode() for nsid in (collections.profile, collections.bsky_profile)
        )
        self._fresh_s = fresh_s
        self._now = now
        self._lock = asyncio.Lock()
        self._said: dict[bytes, OfSubject] = {}
        self._seq = 0
        self._read_at: float | None = None

    async def shown(self, labelers: Sequence[Labeler], cards: Iterable[bytes]) -> Shown:
        """What these say of the records and accounts with these cards. Raises ReadFailed."""
        if not labelers:
            return NOTHING
        said = await self._of_ours()
        others = [each.did for each in labelers if each.did in self._others]
        if others:
            said = await self._of_others(others, cards, said)
        if not said:
            return NOTHING
        return Shown(
            said,
            frozenset([each.did for each in labelers]),
            frozenset([each.did for each in labelers if each.redact]),
            self._profiles,
            self._now(),
        )

    async def _of_others(
        self, others: Sequence[Did], cards: Iterable[bytes], own: Mapping[bytes, OfSubject]
    ) -> Mapping[bytes, OfSubject]:
        """What these say, and what we say, of what these cards are about."""
        uris = {uri for card in cards for uri in subjects(card, self._profiles)}
        said = {uri: dict(own[uri]) for uri in uris if uri in own}
        if not uris:
            return said
        for label in await foreign_labels.on(self._reads, [uri.decode() for uri in sorted(uris)], others):
            told = {name: getattr(label, name) for name in Active.__slots__}
            json = orjson.dumps({"ver": 1} | {name: each for name, each in told.items() if each is not None})
            cid = None if label.cid is None else label.cid.encode()
            of_subject = said.setdefault(label.uri.encode(), {})
            of_subject[Did(label.src), label.val] = Said(json, cid, None)  # the question knew the time
        return said

    async def _of_ours(self) -> Mapping[bytes, OfSubject]:
        if not self._fresh() and (self._read_at is None or not self._lock.locked()):
            async with self._lock:
                if not self._fresh():
                    began = self._now()
                    await self._read()
                    self._read_at = began
        return self._said

    def _fresh(self) -> bool:
        return self._read_at is not None and 0 <= self._now() - self._read_at < self._fresh_s

    async def _read(self) -> None:
        while True:
            rows = (await labels.after(self._reads, self._seq, limit=_PAGE)).rows
            for row in rows:
                self._put(row)
            if rows:
                self._seq = rows[-1].seq
            if len(rows) < _PAGE:
                return

    def _put(self, row: LabelRow) -> None:
        """The last word on a value counts."""
        uri, key = row.uri.encode(), (Did(row.src), row.val)
        of_subject = self._said.setdefault(uri, {})
        if row.neg:
            of_subject.pop(key, None)
            if not of_subject:
                del self._said[uri]
            return
        ends_at = None if row.exp is None else datetime.fromisoformat(row.exp).timestamp()
        cid = None if row.cid is None else row.cid.encode()
        of_subject[key] = Said(orjson.dumps(fields(row)), cid, ends_at)


def subjects(card: bytes, profiles: Sequence[bytes]) -> list[bytes]:
    """What a label on a record or an account may be about, by its card; of an account also the records that
    say how it looks, which have these paths."""
    uri, cid = _named(card)
    return [uri] if cid is not None else [uri, *(b"at://%b/%b" % (uri, path) for path in profiles)]


def _named(card: bytes) -> tuple[bytes, bytes | None]:
    """URI and CID of a record, or the DID of an account: with these a card begins (`indexer/cards.py`)."""
    if card.startswith(b'"did":"'):
        return card[7 : card.index(b'"', 7)], None
    end = card.index(b'"', 7)
    cid = end + len(b'","cid":"')
    return card[7:end], card[cid : card.index(b'"', cid)]


def _self_labels(card: bytes) -> list[bytes]:
    """The labels that an author gave a record."""
    view: dict[str, Any] = orjson.loads(b"{%b}" % card)
    given = view["record"].get("labels")
    if not isinstance(given, dict) or given.get("$type") != "com.atproto.label.defs#selfLabels":
        return []  # the words stand somewhere else in the record
    did = view["uri"].removeprefix("at://").partition("/")[0]
    told = {"src": did, "uri": view["uri"], "cid": view["cid"], "cts": view["indexedAt"]}
    return [orjson.dumps({**told, "val": each["val"]}) for each in given["values"]]
