"""One Postgres server process: how it is spawned, and what its postmaster.pid tells about it."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from storage.binaries import ServerUser, server_environment

SOCKET = ".s.PGSQL.5432"

_PR_SET_PDEATHSIG = 1
# Loaded here, since nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What a server wrote about itself. It may be dead: the file outlives a kill -9."""

    pid: int
    sockets: Path
    ready: bool

    @staticmethod
    def read(folder: Path) -> Postmaster | None:
        """Line 1 is the pid, 5 the socket folder, 8 the state. None while there is no whole file."""
        try:
            lines = (folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return None
        if len(lines) < 8 or not lines[0].isdigit():
            return None
        return Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip() == "ready")

    def lives(self) -> bool:
        """Whether somebody listens on its socket. Its pid alone proves nothing: pids are used again."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.sockets / SOCKET))
            except OSError:
                return False
            return True


def spawn(command: list[str], user: ServerUser, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a server as `user`, in a session of its own: a Ctrl-C is for the owner, who stops it last."""
    return subprocess.Popen(
        command,
        cwd="/",
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=_die_with_parent,
        user=user.user,
        group=user.group,
        extra_groups=user.extra_groups,
    )


def _die_with_parent() -> None:
    """A fast shutdown when the owner dies, however it died. Linux alone; elsewhere the next start ends it."""
    if _libc:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
