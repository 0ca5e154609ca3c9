"""Installs Swift, once per lock file and Python, into the user's cache folder.

    ~/.cache/plyr/swift-<hash>/            complete: it got this name by one rename at the very end
    ~/.cache/plyr/swift-<hash>.partial/    being built, or left by an install that was interrupted

It is a folder of packages and no virtual environment, whose programs would know where they were built.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.devnet.install import InstallFailed, Progress, cache_folder, locked

LOCK = Path(__file__).parent / "requirements.lock"
_TIMEOUT_S = 600


def say(line: str) -> None:
    print(f"swift: {line}", file=sys.stderr, flush=True)


def ensure(environ: Mapping[str, str] | None = None, progress: Progress = say) -> Path:
    """A folder for PYTHONPATH that has Swift in it; fetches it (10 s) when it isn't there.

    Any number of processes may call this at once. Raises InstallFailed.
    """
    environ = os.environ if environ is None else environ
    cache = cache_folder(environ)
    built_for = f"\0{platform.python_implementation()}{sys.version_info[:2]}{platform.machine()}"
    key = hashlib.sha256(LOCK.read_bytes() + built_for.encode()).hexdigest()[:16]
    folder = cache / f"swift-{key}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), progress):
        if not folder.is_dir():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _build(partial, progress)
            partial.rename(folder)
    return folder


def _build(folder: Path, progress: Progress) -> None:
    progress(f"installing OpenStack Swift into {folder.with_suffix('')} (once; 40 MB)")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--require-hashes", "--target", folder, "-r", LOCK],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise InstallFailed(f"Swift cannot be installed: {lines[-1] if lines else 'pip failed'}")
