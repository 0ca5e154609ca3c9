"""Job `sounds.check`: whether the addresses answer that records give of their sound.

    record ─▶ found ─▶ asked ─▶ it answers: asked again in ANSWERED_S, and players are sent there
                         ▲  └─▶ it does not: nobody is, and it is asked again, later each time
                         └─ another version of the record

Contract: players are sent to an address that answered when it was last asked, and to no other; who asks us
waits for nobody. The guarded client asks for one byte, where our setting allows it. That counts as an answer
if it is no page, and if its origin is allowed, too, wherever the address led.
"""

from __future__ import annotations

import asyncio

import orjson

from appview.jobs.tasks import Done, Run, Work
from appview.sound_origins import SoundOrigins, is_blob
from firehose.fetch_errors import FetchFailed
from firehose.net import GuardedClient
from storage import far_sounds
from storage.far_sounds import FarSound
from storage.postgres import Pool

AT_ONCE = 400
TIMEOUT_S = 10.0
ANSWERED_S, FIRST_S, LONGEST_S = 6 * 3600.0, 60.0, 86_400.0
_FOUND_AT_ONCE = 5000
_TOGETHER = 8


def wait_s(attempts: int) -> float:
    """Until an address is asked again that came to nothing so many times before."""
    return min(FIRST_S * 2.0 ** min(attempts, 20), LONGEST_S)


def check_sounds(
    pool: Pool,
    http: GuardedClient,
    origins: SoundOrigins,
    *,
    at_once: int = AT_ONCE,
    timeout_s: float = TIMEOUT_S,
) -> Run:
    """Asks `at_once` addresses that are due, each for `timeout_s` at most."""

    async def run(work: Work) -> Done:
        async with pool.connection() as conn:
            found = await far_sounds.find(conn, limit=_FOUND_AT_ONCE)
            due = await far_sounds.due(conn, limit=at_once)
        waiting, silent = iter(due), 0

        async def ask() -> None:
            nonlocal silent
            for sound in waiting:
                url = address(sound)
                if url is None or origins.is_own(url):
                    url = error = again_s = None  # whether that is here is known without asking
                else:
                    error = await _asked(http, origins, url, timeout_s)
                    again_s = ANSWERED_S if error is None else wait_s(sound.attempts)
                silent += error is not None
                async with pool.connection() as conn:
                    await far_sounds.note(conn, sound, url, error, wait_s=again_s)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_TOGETHER):
                tasks.create_task(ask())
        return Done("Asked for sound.", {"found": found, "asked": len(due), "silent": silent})

    return run


def address(sound: FarSound) -> str | None:
    """What its record says; None: nothing."""
    rest = sound.rest.encode()
    if is_blob(rest):
        return None
    return orjson.loads(b"{%b}" % (rest + b"null}" if rest.endswith(b":") else rest))["r2_url"]


async def _asked(http: GuardedClient, origins: SoundOrigins, url: str, timeout_s: float) -> str | None:
    """None where it answers; else why that is none."""
    if not origins.allows(url):
        return "its origin is not allowed"
    try:
        told = await http.get_head(url, timeout_s=timeout_s)
    except FetchFailed as error:
        return str(error)[:500]
    if not origins.allows(told.url):
        return f"it leads to {told.url[:400]}, whose origin is not allowed"
    if told.status not in (200, 206):
        return f"HTTP status {told.status}"
    if told.headers.get("Content-Type", "").lower().startswith("text/"):
        return f"it is {told.headers['Content-Type'][:100]}, and no sound"
    return None
