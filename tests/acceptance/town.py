"""A devnet with all of plyr that makes tracks, put together for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.acceptance.service import Answers, Program, until
from tests.acceptance.service import web as served
from tests.devnet.network import Devnet
from tests.ports import free_port


@dataclass
class Town:
    """One PDS, and `web`, `ingest` and `worker`."""

    net: Devnet
    dsn: str
    answers: Answers
    worker: Program

    @property
    def url(self) -> str:
        return self.answers.origin

    async def fact(self, statement: str, *params: object) -> Any:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as conn:
            row = await (await conn.execute(statement.encode(), params)).fetchone()
            return None if row is None else row[0]

    async def ended(self, id: str) -> str | None:
        """How a job ended, once it has."""

        async def over() -> bool:
            return await self.fact("select finished_at is not null from job where id = %s", id)

        await until(over, 60, "the job to end")
        return await self.fact("select coalesce(error, state) from job where id = %s", id)

    async def proven(self) -> None:
        async def all_are() -> bool:
            return await self.fact("select count(*) from record where not verified") == 0

        await until(all_are, 60, "the firehose to prove what was written")


@asynccontextmanager
async def opened(database: str, tmp_path: Path, **settings: str) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(Devnet(pds=1))
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": database,
            "PLYR_DATA_DIR": str(tmp_path / "data"),
            "PLYR_PORT": str(free_port()),
            **settings,
        }
        answers = await stack.enter_async_context(served(environ, tmp_path / "web.log"))
        programs = [Program(name, environ, tmp_path / f"{name}.log") for name in ("ingest", "worker")]
        for program in programs:
            await stack.enter_async_context(program)
        yield Town(net, database, answers, programs[1])
