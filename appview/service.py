"""What every answer is made from: the way to the database, the lexicons, who we are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

import structlog
from aiohttp import web

from appview.errors import AuthenticationRequired, NotCountedYet
from appview.guards import GuardConfig, ViewerOf
from appview.incoming import Incoming
from appview.labelers import Labeler
from appview.media.receive import Receiver
from appview.moderation.board import FRESH_S, NOTHING, Board, Shown
from appview.moderation.labeler import Labeler as OwnLabeler
from appview.moderation.reports import Reports
from appview.rest.plays import Plays
from appview.sound_origins import ANYWHERE, SoundOrigins
from appview.subscriber import LiveConfig
from appview.viewer import Viewer
from indexer.alarms import Thresholds
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid
from storage import stats
from storage.postgres import Pool
from storage.reader import ReadFailed, Reads
from storage.spread import Spreads

log = structlog.get_logger()

R = TypeVar("R")
_REST = 20  # times as long as an answer takes


@dataclass(frozen=True, slots=True)
class Home:
    """The PDS that keeps a repo under the service's DID, and the did:key that signs it."""

    pds: str
    signing_key: str


@dataclass(frozen=True, slots=True)
class AppConfig:
    """How this server presents itself, and two seams. `home`: of a repo of its own, if it has one.

    `viewer_of` tells on whose behalf a request is made; without it, nobody's. `labelers`: whose labels are
    shown to a client that does not say, no later than `labels_fresh_s` after they were said;
    `other_labelers`: whose labels are kept, besides ours. `sounds`: where the sound of others may be.
    `on_answer` sees each good answer before it leaves: tests check it against its lexicon there.
    """

    version: str
    public_url: str | None = None
    service_did: str | None = None
    home: Home | None = None
    stats_ttl_s: float = 10.0
    live: LiveConfig = field(default_factory=LiveConfig)
    thresholds: Thresholds = field(default_factory=Thresholds)
    guards: GuardConfig = field(default_factory=GuardConfig)
    labelers: tuple[Labeler, ...] = ()
    sounds: SoundOrigins = field(default_factory=lambda: SoundOrigins([ANYWHERE]))
    labels_fresh_s: float = FRESH_S
    other_labelers: tuple[Did, ...] = ()
    viewer_of: ViewerOf | None = None
    on_answer: Callable[[Nsid, bytes], None] | None = None


class TotalsCache:
    """Totals about `ttl_s` old, where there is so much that a job counts, as old as its last count; at 0
    everybody asks anew. Not more than one asks at a time, those who come meanwhile get what was known before,
    and the longer an answer takes, the longer it is good for."""

    def __init__(self, reads: Reads, ttl_s: float) -> None:
        self._reads = reads
        self._ttl_s = ttl_s
        self._lock = asyncio.Lock()
        self._value: stats.Totals | None = None
        self._fresh_until = 0.0

    async def get(self) -> stats.Totals:
        """Raises ReadFailed or NotCountedYet, where nothing was ever counted."""
        if not self._ttl_s:
            return await self._totals()
        if self._value is not None and (self._lock.locked() or monotonic() < self._fresh_until):
            return self._value
        async with self._lock:
            if self._value is None or monotonic() >= self._fresh_until:
                await self._count()
            assert self._value is not None
            return self._value

    async def _count(self) -> None:
        began = monotonic()
        try:
            self._value = await self._totals()
        except (ReadFailed, NotCountedYet) as error:
            if self._value is None:
                raise
            log.warning("cannot count anew", error=str(error))
        now = monotonic()
        self._fresh_until = now + max(self._ttl_s, _REST * (now - began))

    async def _totals(self) -> stats.Totals:
        try:
            return await stats.totals(self._reads)
        except stats.NotCounted:
            raise NotCountedYet from None


@dataclass(frozen=True, slots=True)
class Service:
    """`receiver` None: nothing can be uploaded here; `plays` None: no play is counted; `pool` None: nobody's
    preferences are kept; `labeler` None: we label nothing; `reports` None: nothing can be reported."""

    reads: Reads
    catalog: Catalog
    config: AppConfig
    totals: TotalsCache
    spreads: Spreads
    receiver: Receiver | None = None
    plays: Plays | None = None
    pool: Pool | None = None
    labeler: OwnLabeler | None = None
    reports: Reports | None = None
    board: Board | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its parameters, checked and with defaults, who asks, and whose labels they want to see.

    Of a procedure also its body: `input` is the JSON, checked; of any other media type it is still on its
    way in, as `body`. `asker` is the viewer with what else is known of them. `request`: for what no lexicon
    knows of, as an address.
    """

    service: Service
    params: dict[str, Any]
    viewer: Did | None = None
    labelers: tuple[Labeler, ...] = ()
    asker: Viewer | None = None
    input: Any = None
    body: Incoming | None = None
    request: web.Request | None = None

    @property
    def reads(self) -> Reads:
        """What takes along whatever is yet to be found out about who asks."""
        proviso = None if self.asker is None else self.asker.proviso
        return proviso or self.service.reads

    async def labelled(
        self, rows: Sequence[R], cards_of: Callable[[R], Sequence[bytes]]
    ) -> tuple[list[R], Shown]:
        """The rows without those that a labeler takes down who may redact, and what the labelers say whose
        labels the caller wants to see. `cards_of` a row are those of its records and accounts. Raises
        ReadFailed."""
        if self.service.board is None:
            return list(rows), NOTHING
        cards = (card for row in rows for card in cards_of(row))
        labels = await self.service.board.shown(self.labelers, cards)
        return labels.kept(rows, cards_of), labels

    def require_asker(self) -> Viewer:
        """Who asks. Raises AuthenticationRequired."""
        if self.asker is None:
            raise AuthenticationRequired
        return self.asker


Handler = Callable[[Call], Awaitable[bytes]]
