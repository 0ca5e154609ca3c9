"""Other labelers, followed: what each says of accounts, and of records like ours, is kept once it is proven.

    DID ─▶ document ─▶ service #atproto_labeler, key #atproto_label ─▶ subscribeLabels from the saved seq
                                                                         │ each label proven by the key
                                              one transaction: labels, and how far the labeler was heard

A signature that does not hold may be of a new key: the document is read again, and what still does not hold
is refused, counted and kept out. If the key was the same, a minute passes until it is read for that reason
again. Nothing stops the stream: a frame that is none is refused alike. The document is read anew each hour in
any case, and after a lost database; the labeler is then heard on from where it was left, so nothing is missed
and what comes twice changes nothing.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import aclosing

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from firehose.events import ErrorFrame
from firehose.frames import BadFrame, decode_frame, seq_of
from firehose.labelers import LabelerService, NoLabeler, find_labeler
from firehose.labels import BadLabel, Heard, Label, last_words, read_labels
from firehose.net import GuardedClient
from firehose.relay import Source, SourceStatus, Timing, stream
from lexicons.catalog import Collections
from lexicons.syntax import Did, parse_at_uri
from storage import foreign_labels
from storage.foreign_labels import ForeignLabel
from storage.postgres import Pool

log = structlog.get_logger()

DOCUMENT_EVERY_S = 3600.0
DOCUMENT_PAUSE_S = 60.0
RETRY_S = 30.0
_TIMING = Timing()


class LabelerFollower:
    """Follows one labeler for ever; `run` ends by cancellation alone."""

    def __init__(
        self,
        *,
        pool: Pool,
        client: GuardedClient,
        plc_url: str,
        did: Did,
        collections: Collections,
        timing: Timing = _TIMING,
        ssl_context: ssl.SSLContext | None = None,
        retry_s: float = RETRY_S,
        document_pause_s: float = DOCUMENT_PAUSE_S,
    ) -> None:
        self.did = did
        self.status = SourceStatus(did)
        self._pool = pool
        self._client = client
        self._plc_url = plc_url
        self._wanted = collections.own | {collections.bsky_profile}
        self._timing = timing
        self._ssl = ssl_context
        self._retry_s = retry_s
        self._document_pause_s = document_pause_s
        self._trusted_until = float("-inf")

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(DOCUMENT_EVERY_S):
                    await self._follow(await self._find())
            except TimeoutError:
                continue
            except (NoLabeler, psycopg.OperationalError, PoolTimeout) as error:
                log.warning("cannot follow a labeler", did=self.did, reason=str(error).strip())
                await asyncio.sleep(self._retry_s)

    async def _find(self) -> LabelerService:
        return await find_labeler(self._client, self._plc_url, self.did)

    async def _follow(self, service: LabelerService) -> None:
        async with self._pool.connection() as conn:
            seq = await foreign_labels.seq_of(conn, self.did)
        frames = stream(
            Source(service.url), lambda: seq, self.status, timing=self._timing, ssl_context=self._ssl
        )
        async with aclosing(frames) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    seq, service = await self._take(raw, seq, service)

    async def _take(self, raw: bytes, seq: int, service: LabelerService) -> tuple[int, LabelerService]:
        """Keep what a frame says; how far the labeler is heard then, and how it signs."""
        try:
            frame = decode_frame(raw)
        except BadFrame as error:
            await self._keep(seq, Heard([], [BadLabel(error.reason)]))
            return seq, service
        if isinstance(frame, ErrorFrame) or frame.type != "#labels":
            log.info("a labeler says something else", did=self.did, frame=repr(frame)[:200])
            return seq, service
        at = seq_of(frame)
        if at is None:
            await self._keep(seq, Heard([], [BadLabel("a frame without a seq")]))
            return seq, service
        if at <= seq:
            return seq, service
        heard = read_labels(frame.body, self.did, service.key)
        if heard.wrong_signature and time.monotonic() >= self._trusted_until:
            known, service = service.key.did_key, await self._find()
            heard = read_labels(frame.body, self.did, service.key)
            if service.key.did_key == known:
                self._trusted_until = time.monotonic() + self._document_pause_s
        await self._keep(at, heard)
        return at, service

    async def _keep(self, seq: int, heard: Heard) -> None:
        rows = [_row(label) for label in last_words(filter(self._concerns_us, heard.labels))]
        refusal = str(heard.refusals[-1])[:200] if heard.refusals else None
        if refusal is not None:
            log.warning("a labeler's word does not hold", did=self.did, seq=seq, reason=refusal)
        async with self._pool.connection() as conn, conn.transaction():
            await foreign_labels.put(conn, rows)
            await foreign_labels.heard(conn, self.did, seq, refused=len(heard.refusals), refusal=refusal)

    def _concerns_us(self, label: Label) -> bool:
        """Whether it is about an account, or a record of a kind that is shown here."""
        return label.uri.startswith("did:") or parse_at_uri(label.uri).collection in self._wanted


def _row(label: Label) -> ForeignLabel:
    return ForeignLabel(**{name: getattr(label, name) for name in ForeignLabel.__slots__})
