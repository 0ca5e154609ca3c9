"""A devnet with plyr reading it, put together for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.service import Answers, Program, cursors, until, web
from tests.devnet.network import Devnet


@dataclass(frozen=True)
class World:
    """A devnet, plyr reading it with two sources, and a way to ask."""

    net: Devnet
    dsn: str
    answers: Answers
    ingest: Program

    async def caught_up(self, timeout_s: float = 60) -> None:
        """Returns once everything that the PDSs have sent is committed."""
        newest = {pds.source: await self.net.last_seq(pds.index) for pds in self.net.pds}

        async def reached() -> bool:
            assert self.ingest.running, self.ingest.output()
            seen = await cursors(self.dsn)
            return all(seen.get(url, 0) >= seq for url, seq in newest.items())

        await until(reached, timeout_s, f"the cursors to reach {newest}")


@asynccontextmanager
async def opened(database: str, logs: Path) -> AsyncIterator[World]:
    """A new network and new processes on a migrated, empty database."""
    async with Devnet(pds=2) as net:
        environ = net.service_settings() | {"PLYR_DATABASE_URL": database}
        async with (
            web(environ, logs / "web.log") as answers,
            Program("ingest", environ, logs / "ingest.log") as ingest,
        ):
            yield World(net, database, answers, ingest)
