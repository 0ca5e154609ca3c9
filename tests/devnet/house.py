"""The process in which one test run makes its networks, one after the other.

To load the PLC directory and the PDS takes ten times as long as to start them. All that a network has, ports,
data, accounts and caches, is its own; what it shares with those before it is the programs.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from typing import Any

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15


class House:
    """Starts its process when the first network is wanted, and another when that is gone. It ends with its
    owner, by SIGKILL too: its stdin is a pipe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._told: Path | None = None  # what it says that is no answer
        self._last_words = ""
        atexit.register(self._end)

    def network(self, program: Path, options: dict[str, str]) -> dict[str, Any] | str:
        """What a new network says of itself, or the last words of one that did not come up. It blocks."""
        with self._lock:
            line = self._asked(program, options)
            if not line:  # it was dying since the last time
                line = self._asked(program, options)
            if not line:
                return self._last_words
        said = json.loads(line)
        return said if said["ready"] else said["error"]

    def _asked(self, program: Path, options: dict[str, str]) -> str:
        """The line with which it answers; of one that is gone an empty one."""
        process = self._running(program)
        assert process.stdin is not None
        assert process.stdout is not None
        late = Timer(START_TIMEOUT_S, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        with suppress(BrokenPipeError):
            print(json.dumps(options), file=process.stdin, flush=True)
        line = process.stdout.readline()
        late.cancel()
        if not line:
            self._end()
        return line

    def _running(self, program: Path) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            file, name = tempfile.mkstemp(prefix="devnet-", suffix=".log")
            self._told = Path(name)
            with os.fdopen(file, "wb") as told:
                self._process = subprocess.Popen(
                    ["node", str(program), "--house"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=told,
                    text=True,
                    start_new_session=True,
                )
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
        assert self._told is not None
        self._last_words = self._told.read_text(errors="replace").strip()
        self._told.unlink()


HOUSE = House()
