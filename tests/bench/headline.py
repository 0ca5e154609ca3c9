"""(m) What an artist sees: an hour and a half of AIFF through all of plyr, beside one ffmpeg in the same run.

On a devnet, with `plyr web`, `worker` and `ingest` as people run them: 858 MB come in over HTTP, become a
track on the artist's PDS, and play. Timed is the job from its first step to its end, and its making of the
MP3 alone, as its owner is told; the other side is `ffmpeg -c:a libmp3lame -b:a 320k` on the same cores.

Gate: what `/audio` gives is as long as the sound, to the sample, and has its title; the record names it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg

from tests.acceptance.town import Town, opened
from tests.bench import database, transcode
from tests.bench.measure import Contestant, Finding, Goal, Sample, Target, WrongAnswer, require_equal
from tests.bench.options import Options
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.music import ffmpeg

RATIO = 1.85
MOST_BYTES = 64 << 20
UPLOAD = "/xrpc/fm.plyr.audio.uploadAudio"
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Story:
    """How long each part took, and the most memory of `web` above what it had before."""

    upload_s: float
    render_s: float
    job_s: float
    above_idle_bytes: int


async def run(options: Options, postgres: database.Server) -> Finding:
    length_s = options.size(transcode.HEADLINE_S, 5 * 60)
    source = transcode.write(options.scratch / "in.aiff", length_s)
    size = source.stat().st_size
    other = await transcode.single(source, options.scratch)
    folder = options.scratch / "plyr"
    folder.mkdir()
    async with opened(await postgres.fresh("headline"), folder) as town:
        story = await tell(town, source)
        await check(town, length_s, options.scratch / "heard.mp3")
    postgres.drop("headline")
    mine = Sample(length_s, story.render_s, story.render_s, story.above_idle_bytes)
    return Finding(
        name="headline",
        title=f"{length_s / 60:.0f} minutes of AIFF, {size / 1e6:,.0f} MB, from an artist to a listener",
        unit="second of sound",
        contestants=(Contestant("plyr", (mine,)), Contestant("one ffmpeg", (other,))),
        targets=(
            Target("a single ffmpeg's speed", (other.wall_s / story.render_s,), RATIO),
            Target("of 64 MiB above idle, in web", (MOST_BYTES / max(1, story.above_idle_bytes),), 1),
        ),
        goals=(
            Goal("received, hashed and staged", size / 1e6 / story.upload_s, 100, "MB/s"),
            Goal("the MP3, with tags", story.render_s, 41, "s", at_most=True),
            Goal("from the last byte to the track", story.job_s, 120, "s", at_most=True),
        ),
        gates=("as long as the sound to the sample, with its title; the PDS and the index name it",),
    )


async def tell(town: Town, source: Path) -> Story:
    """Upload it as the artist, and watch the job. Raises WrongAnswer where that fails."""
    ann = await town.net.account("ann")
    async with Browser(town.url) as browser:
        signed_in = await browser.sign_in(ann)
        require_equal("signing in", signed_in.status, 303)
        idle = resident(town.answers.pid, "VmRSS")
        began = time.perf_counter()
        with source.open("rb") as file:
            sent = await browser.ask(
                "POST",
                UPLOAD,
                params={"title": "A long evening"},
                data=file,
                headers={"Content-Type": "audio/aiff", "Origin": town.url},
                timeout=aiohttp.ClientTimeout(total=600),
            )
        upload_s = time.perf_counter() - began
        require_equal("the answer to the upload", sent.status, 200)
        phases = await watched(town)
    above = resident(town.answers.pid, "VmHWM") - idle
    return Story(upload_s, phases["transcode"], sum(phases.values()), above)


async def watched(town: Town) -> dict[str, float]:
    """How long the only job was in each phase. Raises WrongAnswer if it fails."""
    spent: dict[str, float] = {}
    async with await psycopg.AsyncConnection.connect(town.dsn, autocommit=True) as conn:
        at = time.perf_counter()
        while True:
            found = await conn.execute(
                "select phase, error, finished_at is not null from job where did is not null"
            )
            row = await found.fetchone()
            assert row is not None
            phase, error, over = row
            if error is not None:
                raise WrongAnswer(f"the job failed: {error}")
            if over:
                return spent
            await asyncio.sleep(_LOOK_S)
            now = time.perf_counter()
            spent[phase or "waiting"] = spent.get(phase or "waiting", 0.0) + now - at
            at = now


async def check(town: Town, length_s: int, path: Path) -> None:
    """The gate. Raises WrongAnswer."""
    await town.proven()
    [view] = await town.answers.all("fm.plyr.feed.getLatest", "tracks")
    require_equal("duration of the record", view["record"]["duration"], length_s)
    async with aiohttp.ClientSession() as http, http.get(view["record"]["audioUrl"]) as answer:
        require_equal("the answer of /audio", answer.status, 200)
        with path.open("wb") as file:
            async for chunk in answer.content.iter_chunked(1 << 20):
                file.write(chunk)
    await transcode.check_length(path, length_s * transcode.RATE)
    if b"title=A long evening" not in await ffmpeg("-i", path, "-f", "ffmetadata", "pipe:1"):
        raise WrongAnswer("the MP3 does not say what it is")


def resident(pid: int, field: str) -> int:
    """VmRSS or VmHWM of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
