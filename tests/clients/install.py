"""Installs the npm packages that query.mjs and labels.mjs need, once per lock file, into the user's cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.devnet.install import cache_folder, locked, say

HERE = Path(__file__).parent
FILES = (".npmrc", "package.json", "package-lock.json", "query.mjs", "labels.mjs")
INSTALL_TIMEOUT_S = 300


class InstallFailed(Exception):
    """The client cannot be installed here; the message says why in one line."""


def installed(environ: Mapping[str, str]) -> Path:
    """A folder in which `node query.mjs` runs. Raises InstallFailed.

    It gets its name by a rename at the very end, so a folder of that name is complete.
    """
    if shutil.which("npm", path=environ.get("PATH", "")) is None:
        raise InstallFailed("`npm` was not found on PATH")
    digest = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    folder = cache_folder(environ) / f"clients-{digest}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), say):
        if not folder.exists():
            partial = Path(tempfile.mkdtemp(prefix="clients-", dir=folder.parent))
            try:
                _build(partial, environ)
            except InstallFailed:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            partial.rename(folder)
    return folder


def _build(folder: Path, environ: Mapping[str, str]) -> None:
    for name in FILES:
        shutil.copy(HERE / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["npm ci failed"]
        raise InstallFailed(lines[0])
