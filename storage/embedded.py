"""A Postgres of our own: a folder, a unix socket, no TCP, no other users.

    with EmbeddedPostgres(Path("data")) as postgres:
        psycopg.connect(postgres.dsn)

The contract: one process at a time owns a folder (a lock file says so), and the server lives
no longer than its owner; others may attach. What was committed survives kill -9 of the
server and of its owner. As root the server runs as user postgres or nobody; where that
user cannot reach the folder, the database is in `/var/lib/plyr` and `<data>/postgres` is a
link to it. Errors are those of `storage.binaries`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psycopg

from storage.binaries import (
    FALLBACK,
    AlreadyRunning,
    Binaries,
    DidNotStart,
    NoPostgres,
    Origin,
    ServerUser,
    WrongMajor,
    find_binaries,
    within_reach,
)
from storage.postmaster import SOCKET, Postmaster, spawn

ROLE = DATABASE = "plyr"
MAX_SOCKET_PATH = 103  # sun_path of macOS without its NUL; Linux has 107

# For a small machine that runs the appview, too. Who needs other values has a Postgres already.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
# Fast and lost with a power cut: for tests.
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_compression": "off"}


class EmbeddedPostgres:
    """A Postgres server that this object owns.

    On Linux it dies with the *thread* that started it: start it from one that lives on.
    """

    def __init__(
        self, data_dir: Path, *, origin: Origin = "any", server_settings: Mapping[str, str] | None = None
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._origin: Origin = origin
        self._settings = SERVER_SETTINGS | dict(server_settings or {})
        self._user = ServerUser.choose()
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self.binaries: Binaries | None = None  # known once started
        self.folder = self._data_dir / "postgres"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """Address of our database; DidNotStart before `start`."""
        return self._dsn(DATABASE)

    def _dsn(self, database: str) -> str:
        if self._sockets is None:
            raise DidNotStart("Postgres was not started")
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self._sockets), safe='')}"

    @property
    def pid(self) -> int | None:
        """Of the server that this object started; None when it is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        return self._data_dir / "postgres.log"

    def start(self, *, attach: bool = False, timeout_s: float = 60) -> str:
        """Start the server, making the database if there is none; returns its DSN. Raises EmbeddedFailed.

        With `attach` a server that another process owns is used, and left alone by `stop`.
        """
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DidNotStart(f"cannot make the folder {self._data_dir}: {error.strerror}") from None
        deadline = time.monotonic() + timeout_s
        if not self._take_lock():
            if not attach:
                raise AlreadyRunning(f"another plyr is running on {self._data_dir}")
            return self._attach(deadline)
        try:
            self.folder = self._place()
            self._end_orphan(deadline)
            self.binaries = self._choose()
            if not (self.folder / "PG_VERSION").exists():
                self._initdb(self.binaries)
            self._launch(self.binaries, deadline)
        except BaseException:
            self.stop()
            raise
        return self.dsn

    def restart(self, *, timeout_s: float = 60) -> None:
        """Start the server again after it died; the DSN stays. Raises DidNotStart."""
        if self.binaries is None or self._lock is None:
            raise DidNotStart("Postgres was not started here")
        self._launch(self.binaries, time.monotonic() + timeout_s)

    def stop(self, *, timeout_s: float = 10) -> None:
        """Stop the server; what takes longer than `timeout_s` is left to the recovery of the next start."""
        if self._process:
            for number, wait_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 2), (signal.SIGKILL, None)):
                if self._process.poll() is None:
                    self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(wait_s)
                    break
            self._process = None
        if self._lock:
            if self._sockets and self._sockets != self.folder:
                shutil.rmtree(self._sockets, ignore_errors=True)
            self._lock.close()
            self._lock = None
        self._sockets = None

    # Where the database is, and whose it is

    def _take_lock(self) -> bool:
        lock = (self._data_dir / "postgres.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _place(self) -> Path:
        """The folder of the database, made if absent, where the server's user can reach it."""
        place = self._data_dir / "postgres"
        if place.exists():
            return place.resolve()
        if self._user.reaches(self._data_dir):
            self._user.own_folder(place)
            return place
        FALLBACK.mkdir(mode=0o711, parents=True, exist_ok=True)
        fallback = FALLBACK / f"{self._data_dir.parent.name}-{secrets.token_hex(4)}"
        self._user.own_folder(fallback)
        place.unlink(missing_ok=True)  # a link whose target is gone
        place.symlink_to(fallback)
        return fallback

    def _choose(self) -> Binaries:
        """The best programs; for a database that exists, the best of its major version."""
        # The wheel's can be copied to where the server's user reaches them, the system's cannot.
        every = find_binaries(self._origin)
        found = [one for one in every if one.origin == "wheel" or self._user.reaches(one.folder)]
        version = self.folder / "PG_VERSION"
        if version.exists():
            made_by = int(version.read_text().split(".")[0])
            here = ", ".join(str(binaries.major) for binaries in found) or "none"
            found = [binaries for binaries in found if binaries.major == made_by]
            if not found:
                raise WrongMajor(
                    f"{self.folder} was made by Postgres {made_by}, installed here: {here}; install "
                    f"postgresql-{made_by}, or move the folder away to start with an empty database"
                )
        if not found:
            raise NoPostgres("no Postgres found: apt install postgresql, or give a --database-url")
        return within_reach(found[0], self._user)

    def _end_orphan(self, deadline: float) -> None:
        """Stop a server whose owner is gone: we hold the lock, so it serves nobody."""
        left = Postmaster.read(self.folder)
        if left is None or not left.lives():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(left.pid, signal.SIGINT)
        while left.lives() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _attach(self, deadline: float) -> str:
        while time.monotonic() < deadline:
            self.folder = (self._data_dir / "postgres").resolve()
            there = Postmaster.read(self.folder)
            if there and there.ready:
                self._sockets = there.sockets
                with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.dsn):
                    return self.dsn
            time.sleep(0.1)
        raise DidNotStart(f"the Postgres of {self._data_dir} belongs to another plyr and does not answer")

    # The server itself

    def _initdb(self, binaries: Binaries) -> None:
        """Make the database aside, then move it in, PG_VERSION last: it says that all is there."""
        new = self.folder / "new"
        for path in self.folder.iterdir():  # what an interrupted attempt left
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        # Trust: whoever can enter the socket's folder is the server's user, or root.
        flags = ["-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C"]
        if self._settings.get("fsync") == "off":
            flags.append("--no-sync")
        result = self._user.run(binaries.folder / "initdb", "-D", new, *flags)
        if result.returncode:
            raise DidNotStart(f"initdb failed: {_telling_line(result.stderr)}")
        for path in sorted(new.iterdir(), key=lambda path: path.name == "PG_VERSION"):
            path.rename(self.folder / path.name)
        new.rmdir()

    def _socket_folder(self) -> Path:
        """The database's folder, which only its user may enter; one in /tmp if that path is too long."""
        if len(os.fsencode(self.folder / f"{SOCKET}.lock")) <= MAX_SOCKET_PATH:
            return self.folder
        made = Path(tempfile.mkdtemp(prefix="plyr-postgres-", dir="/tmp"))
        os.chown(made, self._user.uid, self._user.gid)
        return made

    def _launch(self, binaries: Binaries, deadline: float) -> None:
        if self._sockets is None or not self._sockets.exists():
            self._sockets = self._socket_folder()
        command = [str(binaries.folder / "postgres"), "-D", str(self.folder)]
        for name, value in {**self._settings, "unix_socket_directories": str(self._sockets)}.items():
            command += ["-c", f"{name}={value}"]
        while True:
            with self.log.open("ab") as log:
                begin = log.tell()
                process = spawn(command, self._user, log)
            self._process = process
            try:
                return self._wait(process, deadline)
            except DidNotStart:
                said = self.log.read_bytes()[begin:].decode(errors="replace")
                # The processes of a server that was killed need a moment to notice.
                if "shared memory block" not in said or time.monotonic() > deadline:
                    raise DidNotStart(f"Postgres did not start: {_telling_line(said)} ({self.log})") from None
                time.sleep(0.2)

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        """Until the server takes connections and has our database."""
        while process.poll() is None and time.monotonic() < deadline:
            seen = Postmaster.read(self.folder)
            if seen and seen.pid == process.pid and seen.ready:
                with psycopg.connect(self._dsn("postgres"), autocommit=True) as conn:
                    row = conn.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone()
                    if row is None:
                        conn.execute(f"create database {DATABASE}")
                return
            time.sleep(0.02)
        raise DidNotStart("no answer")


def _telling_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line]
    return (telling or lines or ["it said nothing"])[-1]
