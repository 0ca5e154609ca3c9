"""The outbox as subscribers hear of it: the latest in a ring, what came before in pages.

Contract: the ring has every message between its floor and its head, in order of seq, told with how
accounts stood then or later, never earlier. The records of an account that stops being shown are erased from
the ring in the same step in which that becomes known, and so is a record that we take down; of an account
that is forgotten, everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import structlog

from appview.messages import Wanted, message_of, of_record, standing_after
from appview.ring import Ring
from appview.subscriber import LiveConfig
from lexicons.syntax import Did, Nsid, Rkey
from storage import live
from storage.live import Standing
from storage.outbox import Batch, Entry, Kind
from storage.reader import Reads, TimedOut, Unavailable

log = structlog.get_logger()

POLL_S = 1.0  # where nothing rings
_VISIBLE = Standing()
_OF_STANDING = frozenset({Kind.ACCOUNT, Kind.TAKEDOWN, Kind.FORGOTTEN, Kind.REPO})


class Tail:
    """Made by `begin`, kept up by `follow`."""

    def __init__(
        self,
        reads: Reads,
        namespace: str,
        config: LiveConfig,
        ring: Ring,
        hidden: dict[Did, Standing],
        withheld: set[tuple[Did, Nsid, Rkey]],
    ) -> None:
        self.ring = ring
        self._reads = reads
        self._namespace = namespace
        self._config = config
        self._hidden = hidden
        self._withheld = withheld

    @classmethod
    async def begin(cls, reads: Reads, namespace: str, config: LiveConfig) -> Tail:
        """With the latest of the past: who comes back after a restart finds it in the ring. Raises
        Unavailable and TimedOut."""
        head = await live.head(reads)
        hidden = await live.hidden(reads)
        withheld = await live.withheld(reads)
        batches = await live.after(reads, max(0, head - config.warm_seqs))
        floor = batches[0].first_seq - 1 if batches else head
        ring = Ring(floor, max_bytes=config.ring_bytes, namespace=namespace)
        tail = cls(reads, namespace, config, ring, hidden, withheld)
        while batches:
            for batch in batches:
                tail._take(batch)
            batches = await live.after(reads, ring.head) if ring.head < head else []
        return tail

    async def follow(self, bell: asyncio.Event, grown: asyncio.Event) -> None:
        """Reads whatever is added into the ring. Returns when the outbox does not go on where that ends."""
        while True:
            bell.clear()
            try:
                batches = await live.after(self._reads, self.ring.head)
                if not batches:
                    await wait(bell, POLL_S)
                    if not bell.is_set() and await live.head(self._reads) < self.ring.head:
                        return
                    continue
            except (Unavailable, TimedOut) as error:
                log.warning("the live feed cannot read", reason=str(error))
                await asyncio.sleep(POLL_S)
                continue
            if batches[0].first_seq > self.ring.head + 1:
                return
            for batch in batches:
                self._take(batch)
                grown.set()
                await asyncio.sleep(0)
            await asyncio.sleep(self._config.coalesce_s)

    def _take(self, batch: Batch) -> None:
        ring = self.ring
        for seq, entry in enumerate(batch.entries, batch.first_seq):
            did = entry.did
            if did is None or seq <= ring.head:
                continue
            standing = self._hidden.get(did, _VISIBLE)
            if of_record(entry):
                self._withhold(entry)
            elif entry.kind in _OF_STANDING:
                standing = standing_after(entry, standing)
                if standing.shown:
                    self._hidden.pop(did, None)
                else:
                    self._hidden[did] = standing
                    ring.erase(did, whole=entry.kind is Kind.FORGOTTEN)
            message = message_of(entry, seq, batch.at, standing, withheld=self._is_withheld(entry))
            if message is not None:
                ring.add(message)
        ring.advance(batch.last_seq)

    def _withhold(self, entry: Entry) -> None:
        """From here on nothing is told of the record, or everything again."""
        assert entry.did is not None
        assert entry.collection is not None
        assert entry.rkey is not None
        if entry.verdict == "down":
            self._withheld.add((entry.did, entry.collection, entry.rkey))
            self.ring.erase_record(entry.did, entry.collection, entry.rkey)
        else:
            self._withheld.discard((entry.did, entry.collection, entry.rkey))

    def _is_withheld(self, entry: Entry) -> bool:
        return (entry.did, entry.collection, entry.rkey) in self._withheld

    def frames(self, batch: Batch, seq: int, wanted: Wanted) -> Iterator[bytes]:
        """What is wanted of a batch above `seq`, in chunks, as accounts stand now."""
        parts: list[bytes] = []
        size = 0
        for each, entry in enumerate(batch.entries, batch.first_seq):
            if each <= seq or entry.did is None:
                continue
            message = message_of(
                entry,
                each,
                batch.at,
                self._hidden.get(entry.did, _VISIBLE),
                withheld=self._is_withheld(entry),
            )
            if message is None or not wanted.has(message):
                continue
            parts.append(message.frame(wanted.form, self._namespace))
            size += len(parts[-1])
            if size >= self._config.chunk_bytes:
                yield b"".join(parts)
                parts, size = [], 0
        yield b"".join(parts)


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until the event is set, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
