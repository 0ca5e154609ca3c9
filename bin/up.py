"""`plyr up`: a Postgres if none is given, then `ingest`, `sync`, `worker`, `scheduler` and `web`, kept
alive and shown until Ctrl-C.

All of it ends within 5 s: the children have 3 s to finish, the database then 1.5 s; what
takes longer is killed, and both recover at the next start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import shutil
import signal
import socket
import sys
import time

import psycopg

from bin import VERSION, scanning
from bin.settings import Settings, environment
from bin.supervisor import Part, Supervisor, Unusable
from bin.view import View, duration, live, plain, states
from lexicons.catalog import Catalog, CatalogError
from storage.binaries import EmbeddedFailed
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from storage.size import database_bytes

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PLAIN_EVERY_S = 10
CHILD_GRACE_S = 3
DATABASE_GRACE_S = 1.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    del args
    print(f"plyr {VERSION}", flush=True)
    if why := scanning.off(settings):
        print(f"AuDD is not asked about copyright: {why}", flush=True)
    # What no restart of a child would mend is found here, before anything runs.
    problem = lexicon_problem(settings.namespace) or port_problem(settings.host, settings.port)
    if problem:
        print(f"plyr: {problem}", file=sys.stderr)
        return 1
    for number in STOPPING:  # until the loop is up; afterwards _Up handles them
        signal.signal(number, signal.default_int_handler)
    if settings.database_url:
        return _serve(settings, None)
    postgres = EmbeddedPostgres(settings.data_dir)
    started = time.monotonic()
    try:
        dsn = postgres.start()
        assert postgres.binaries
        print(
            f"Postgres {postgres.binaries.major} ({postgres.binaries.origin}) in {postgres.folder}, "
            f"started in {time.monotonic() - started:.1f} s",
            flush=True,
        )
        return _serve(settings.model_copy(update={"database_url": dsn}), postgres)
    finally:
        postgres.stop(timeout_s=DATABASE_GRACE_S)


def lexicon_problem(namespace: str) -> str | None:
    """Why the lexicons cannot be used, as one line."""
    try:
        Catalog.load(namespace)
    except CatalogError as error:
        return str(error)
    return None


def port_problem(host: str, port: int) -> str | None:
    """Why nobody could listen there, as one line; None if one could."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return f"--host {host}: {error.strerror}"
    problems: list[OSError] = []
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            problems.append(error)
    in_use = any(error.errno == errno.EADDRINUSE for error in problems)
    if in_use:
        return f"cannot listen on {host}:{port}, something else listens there; --port takes another"
    # A name may have an address of a family that this machine has not: one that works is enough.
    return f"cannot listen on {host}:{port}: {problems[0].strerror}" if len(problems) == len(found) else None


def _serve(settings: Settings, postgres: EmbeddedPostgres | None) -> int:
    assert settings.database_url
    for name in asyncio.run(migrate(settings.database_url)):
        print(f"database: applied {name}", flush=True)
    return asyncio.run(_Up(settings, postgres).run())


class _Up:
    def __init__(self, settings: Settings, postgres: EmbeddedPostgres | None) -> None:
        self._settings = settings
        self._postgres = postgres
        self._started = time.monotonic()
        self._screen = _Screen(sys.stdout.isatty())
        self._parts = (
            Part("ingest"),
            Part("sync", arguments=("run",)),
            Part("worker"),
            Part("scheduler"),
            Part("web"),
        )
        self._children = [Supervisor(part, environment(settings), self._screen.say) for part in self._parts]
        self._signals = 0
        self._stop = asyncio.Event()
        self._database = "starting"

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self._on_signal)
        children = [asyncio.create_task(child.run(), name=child.part.name) for child in self._children]
        around = [asyncio.create_task(self._show()), asyncio.create_task(self._measure_database())]
        if self._postgres:
            around.append(asyncio.create_task(self._keep_postgres(self._postgres)))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([stop, *children, *around], return_when=asyncio.FIRST_COMPLETED)
            return await self._end(children)
        finally:
            for task in (stop, *around):
                task.cancel()
            for ended in await asyncio.gather(*around, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended

    def _on_signal(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            for child in self._children:
                child.kill()

    async def _end(self, children: list[asyncio.Task[None]]) -> int:
        """Stop every child, then tell how it went: 0 when asked to, 2 for wrong settings."""
        began = time.monotonic()
        self._stop.set()
        self._screen.say("stopping …")
        for child in self._children:
            child.stop()
        _, left = await asyncio.wait(children, timeout=CHILD_GRACE_S)
        for child in self._children:
            child.kill()
        if left:
            self._screen.say(
                f"killed {' and '.join(sorted(task.get_name() for task in left))}, too slow to stop"
            )
        outcome = await asyncio.gather(*children, return_exceptions=True)
        self._screen.close()
        for error in outcome:
            if isinstance(error, Unusable):
                return 2
            if isinstance(error, BaseException):
                raise error
        print(f"stopped in {time.monotonic() - began:.1f} s", flush=True)
        return 0

    async def _keep_postgres(self, postgres: EmbeddedPostgres) -> None:
        """Start the embedded server again whenever it died."""
        while True:
            if postgres.pid is None:
                self._database = "ended, starting again"
                self._screen.say("Postgres died, starting it again")
                try:
                    # The server dies with the thread that started it; this pool's last as long as the loop.
                    await asyncio.to_thread(postgres.restart, timeout_s=30)
                    self._screen.say("Postgres is back")
                except (EmbeddedFailed, psycopg.OperationalError) as error:
                    self._screen.say(str(error))
                    await asyncio.sleep(5)
            await asyncio.sleep(0.5)

    async def _measure_database(self) -> None:
        while True:
            size = await database_bytes(self._settings.database_url or "")
            self._database = "does not answer" if size is None else f"{size / 1e6:,.0f} MB"
            await asyncio.sleep(2 if size is None else 10)

    async def _show(self) -> None:
        shown: list[str] = []
        announced = False
        next_plain = time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            view = View(VERSION, now - self._started, *self._parts, self._database)
            address = view.web.status.get("address")
            if address and not announced:
                announced = True
                self._screen.say(f"listening on {address}, after {duration(now - self._started)}")
            if self._screen.live:
                self._screen.draw(live(view, shutil.get_terminal_size().columns, now))
            elif now >= next_plain or list(states(view)) != shown:
                shown = list(states(view))
                next_plain = now + PLAIN_EVERY_S
                self._screen.say(plain(view, now))
            await asyncio.sleep(0.5)


class _Screen:
    """Standard output: lines that stay, and on a terminal a block below them that is drawn over."""

    def __init__(self, live: bool) -> None:
        self.live = live
        self._block: list[str] = []

    def say(self, line: str) -> None:
        self._write(self._erase() + line + "\n" + "".join(f"{row}\n" for row in self._block))

    def draw(self, block: list[str]) -> None:
        self._write(self._erase() + "".join(f"{row}\n" for row in block))
        self._block = block

    def close(self) -> None:
        self._write(self._erase())
        self._block = []

    def _erase(self) -> str:
        return f"\x1b[{len(self._block)}A\x1b[J" if self._block else ""

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(text)
            sys.stdout.flush()
