"""Makes `.venv` from one of the lock files. Standard library only: this runs before anything is installed.

    python3 -P bin/bootstrap.py runtime|dev

With -P, as modules beside it may be called like ones of the standard library. Safe to interrupt and to run
twice at once: a file lock lets one work, and the copy of the lock file that says "installed" is written last.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# dev.lock holds everything of runtime.lock at the same versions.
INCLUDES = {"runtime": ("runtime",), "dev": ("dev", "runtime")}


def installed(name: str) -> bool:
    stamp, lock = VENV / f"{name}.lock", ROOT / "requirements" / f"{name}.lock"
    return (VENV / "bin" / "python").exists() and stamp.exists() and stamp.read_bytes() == lock.read_bytes()


def works() -> bool:
    """Whether `.venv` is there with a pip that runs: an interrupted start leaves half of one."""
    python = VENV / "bin" / "python"
    if not python.exists():
        return False
    return (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )


def say(text: str) -> None:
    print(f"plyr: {text}", file=sys.stderr, flush=True)


def main(name: str) -> int:
    try:
        import ensurepip  # noqa: F401 (Debian has it in another package)
        import venv  # noqa: F401
    except ModuleNotFoundError:
        say("this Python cannot make virtual environments, install python3-venv: apt install python3-venv")
        return 1
    with (ROOT / ".venv.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another plyr prepares .venv, waiting for it")
            fcntl.flock(guard, fcntl.LOCK_EX)
        if installed(name):
            return 0
        return install(name)


def install(name: str) -> int:
    started = time.monotonic()
    lock = ROOT / "requirements" / f"{name}.lock"
    packages = sum(1 for line in lock.read_text().splitlines() if line[:1].isalnum())
    say(f"installing {packages} packages of requirements/{name}.lock into .venv; once, a minute or so …")
    for stamp in INCLUDES[name]:
        (VENV / f"{stamp}.lock").unlink(missing_ok=True)
    if not works():
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=False)
        if made.returncode:
            say("could not make .venv, install python3-venv: apt install python3-venv")
            return 1
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input"]
    result = subprocess.run(
        [*pip, "--disable-pip-version-check", "--require-hashes", "-r", lock],
        env={**os.environ, "PYTHONNOUSERSITE": "1", "PIP_USER": "0"},
        check=False,
    )
    if result.returncode:
        say(f"could not install requirements/{name}.lock, see above; run the same command to try again")
        return 1
    for stamp in reversed(INCLUDES[name]):
        shutil.copyfile(ROOT / "requirements" / f"{stamp}.lock", VENV / f"{stamp}.lock.new")
        (VENV / f"{stamp}.lock.new").replace(VENV / f"{stamp}.lock")
    say(f"installed in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        say("interrupted; the next start goes on from here")
        sys.exit(130)
