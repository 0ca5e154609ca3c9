"""The servers of some stories: one directory for all, and for each a relay and a few hosts of its own."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.fakenet.pds import FakePds
from tests.fakenet.plc import FakePlc
from tests.fakenet.relay import FakeRelay
from tests.fakenet.server import Fault
from tests.fakenet.story import Story

HOSTS = 3
PATIENCE_S = 1.5  # of bodies that trickle or never end: a run shall not wait for a reader's own limits
REWIND = 100


@dataclass
class Worlds:
    """`truthful` ends the faults of the directory."""

    plc: FakePlc
    stories: list[Story]
    truthful: bool = False

    def settings(self) -> dict[str, str]:
        """What plyr needs in its environment to read all of them."""
        return {
            "PLYR_SOURCES": ",".join(story.relay.url for story in self.stories),
            "PLYR_PLC_URL": self.plc.origin,
            "PLYR_HANDLE_RESOLVER": self.plc.origin,
            "PLYR_DEV_LOOPBACK": "true",
            "PLYR_START": "oldest",
            "PLYR_REWIND_EVENTS": str(REWIND),
        }

    def end(self) -> None:
        self.truthful = True
        for story in self.stories:
            story.end()

    def fired(self) -> Counter[str]:
        """Every fault that happened, by its name: on the wire, by a host, by the directory."""
        total: Counter[str] = Counter()
        for story in self.stories:
            total.update({str(wire): n for wire, n in story.channel.fired.items()})
            total["the relay forgets what nobody had read"] += story.relay.outdated
            total["a cursor ahead of the relay's seqs"] += story.relay.ahead
            for host in story.hosts:
                total.update({str(fault): n for fault, n in host.fired.items()})
                total["a host is away"] += host.refused > 0
        total.update({f"the directory: {fault}": n for fault, n in self.plc.fired.items()})
        return total

    def _directory_fault(self, path: str, did: str | None, n: int) -> Fault | None:
        dice = random.Random(hashlib.sha256(f"{path} {n}".encode()).digest())
        if self.truthful or dice.random() > 0.03:
            return None
        return dice.choice((Fault.RETRY_AFTER, Fault.HTML_200, Fault.CUT, Fault.SLOW))


@asynccontextmanager
async def opened(seeds: Sequence[int], *, streamed: bool = False) -> AsyncIterator[Worlds]:
    """One world for each seed, its past already there."""
    async with AsyncExitStack() as stack:
        plc = await stack.enter_async_context(FakePlc(patience_s=PATIENCE_S))
        worlds = Worlds(plc, [], truthful=streamed)
        plc.chance = worlds._directory_fault
        for seed in seeds:
            hosts = [
                await stack.enter_async_context(FakePds(patience_s=PATIENCE_S, page_size=4))
                for _ in range(HOSTS)
            ]
            listing = FakePds(relays=True, collects=seed % 4 != 3, page_size=4)  # not every relay can tell
            relay = await stack.enter_async_context(FakeRelay(listing=listing.page))
            story = Story(seed, plc, hosts, relay, listing, streamed=streamed)
            story.begin()
            worlds.stories.append(story)
        yield worlds
