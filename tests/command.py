"""`plyr` as a process, the way a person starts it."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bin.settings import ROOT


@asynccontextmanager
async def plyr(*words: str, environ: Mapping[str, str] = {}, **options: Any) -> AsyncIterator[Process]:
    """What it says comes through pipes. Of our variables it has those in `environ` alone. At the end it is
    killed, if it still runs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bin.cli", *words),
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT)} | dict(environ),
        stdout=PIPE,
        stderr=PIPE,
        **options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
