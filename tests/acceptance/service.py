"""plyr's own processes, as a test starts, kills and asks them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psycopg

from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
PAUSE_S = 0.1


class Program:
    """One process of `bin.cli`, `command` with its words; its output goes to a log file. Started on entry,
    stopped on exit."""

    def __init__(self, command: str, environ: Mapping[str, str], log: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
        self._environ = clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | dict(environ)
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bin.cli",
                *self._command.split(),
                cwd=ROOT,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    async def kill(self) -> int:
        """`kill -9`; the exit status that it had in the end."""
        if self.running:
            self.process.kill()
        return await self.process.wait()

    async def stop(self, timeout_s: float = 30) -> int:
        """Asks it to end, as a supervisor does; the exit status."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), timeout_s)
            except TimeoutError:
                self.process.kill()
        return await self.process.wait()


class Answers:
    """Asks a running web process."""

    def __init__(self, session: aiohttp.ClientSession, origin: str, pid: int) -> None:
        self._session = session
        self.pid = pid
        self.origin = origin

    async def get(self, nsid: str, **params: str | int | list[str]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one query."""
        pairs = [
            (name, str(each))
            for name, value in params.items()
            for each in (value if isinstance(value, list) else [value])
        ]
        async with self._session.get(f"{self.origin}/xrpc/{nsid}", params=pairs) as answer:
            return answer.status, await answer.json()

    async def good(self, nsid: str, **params: str | int | list[str]) -> dict[str, Any]:
        status, value = await self.get(nsid, **params)
        assert status == 200, f"{nsid} {params}: {status} {value}"
        return value

    async def all(self, nsid: str, member: str, **params: str | int | list[str]) -> list[dict[str, Any]]:
        """Every item of a query that pages."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.good(nsid, limit=100, **params, **cursor)
            items += page[member]
            if "cursor" not in page:
                return items
            assert cursor != {"cursor": page["cursor"]}, "a cursor that leads to itself"
            cursor = {"cursor": page["cursor"]}


def alive() -> dict[int, tuple[str, int]]:
    """Name and parent of each process that has not ended."""
    found: dict[int, tuple[str, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            name, _, rest = path.read_text().rpartition(") ")
            state, parent = rest.split()[:2]
            if state != "Z":
                found[int(path.parent.name)] = name.partition("(")[2], int(parent)
    return found


@asynccontextmanager
async def web(environ: Mapping[str, str], log: Path) -> AsyncIterator[Answers]:
    """A running web process, ready to answer; on PLYR_PORT if that is given."""
    port = int(environ.get("PLYR_PORT") or free_port())
    async with (
        Program("web", {**environ, "PLYR_PORT": str(port)}, log) as program,
        aiohttp.ClientSession() as session,
    ):
        answers = Answers(session, f"http://127.0.0.1:{port}", program.process.pid)

        async def healthy() -> bool:
            assert program.running, program.output()
            try:
                status, _ = await answers.get("_health")
            except aiohttp.ClientConnectionError:
                return False
            return status == 200

        await until(healthy, 60, "the web process to be healthy")
        yield answers


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
    """Returns as soon as the condition holds; fails, with `what` it waited for, if it never does."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if await condition():
                    return
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s for {what}") from None


async def cursors(dsn: str) -> dict[str, int]:
    """How far each source is committed, by its origin."""
    # Autocommit: who is cancelled during the commit at the end of the block leaves the connection open.
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        rows = await (await conn.execute("select url, seq from source_cursor")).fetchall()
    return {url.partition("/xrpc/")[0]: seq for url, seq in rows}
