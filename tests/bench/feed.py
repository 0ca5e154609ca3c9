"""(d) A page of 50 tracks with viewer state, against the same listing made with FastAPI and SQLAlchemy.

Both servers read one database and answer the same questions: a random page among the newest
10,000 tracks, for a random account. Each is pinned to the same core in turn, its load comes
from the other one, and Postgres runs where it likes. What counts is a server's own CPU time
for each answer, from /proc; the time that its Postgres backends take is told beside it.

Gate: on a sample of pages and viewers both answers hold the same track views, member by
member, the viewer's likes among them; and no answer of either failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.bench import database, load, machine, seed
from tests.bench.activity import did
from tests.bench.children import Child
from tests.bench.measure import Finding, Goal, Pair, Sample, Target, WrongAnswer, contest, require_equal
from tests.bench.options import Options

RATIO, AIM = 15.0, 35.0
GOAL_P99_MS = 10.0
CONNECTIONS = 16
LIMIT = 50
PAGES = 200
_OURS, _ORM = "/xrpc/fm.plyr.feed.getLatest", "/feed"


@dataclass(frozen=True, slots=True)
class Question:
    """One page for one viewer, as each server wants to be asked."""

    viewer: str
    ours: str
    orm: str


@dataclass(frozen=True, slots=True)
class Load:
    """One run against one server."""

    sample: Sample
    postgres_s: float
    p50_ms: float
    p99_ms: float

    @property
    def postgres_us(self) -> float:
        return self.postgres_s / self.sample.n * 1e6

    @property
    def postgres_share(self) -> float:
        return self.postgres_s / (self.postgres_s + self.sample.cpu_s)


@dataclass(frozen=True, slots=True)
class Server:
    child: Child
    port: int


async def run(options: Options, postgres: database.Server) -> Finding:
    """Seed, start both servers, compare their answers, then load them in turns."""
    size = options.size(
        seed.Size(200_000, 1_000_000, 5_000_000, 500_000), seed.Size(20_000, 100_000, 500_000, 50_000)
    )
    dsn = await postgres.fresh("feed")
    await asyncio.to_thread(seed.seed, dsn, size)
    postgres.checkpoint()
    cores = machine.cores() or (None, None)
    counts = options.size((6_000, 500), (1_500, 150))
    task = {"dsn": dsn, "profiled": counts[0]}
    async with (
        await Child.start("tests.bench.feed_server", task, core=cores[1]) as our_child,
        await Child.start("tests.bench.orm_server", task, core=cores[1]) as orm_child,
    ):
        ours = Server(our_child, (await our_child.answer(60))["port"])
        orm = Server(orm_child, (await orm_child.answer(60))["port"])
        questions = await prepare_questions(ours, size)
        gates = await check(ours, orm, questions)

        async def load_on(server: Server, requests: list[str], count: int) -> Load:
            return await loaded(server, requests, count, postgres.pid, cores[0])

        for_ours, for_orm = (
            [_request(q.ours, q.viewer) for q in questions],
            [_request(q.orm, q.viewer) for q in questions],
        )
        await load_on(ours, for_ours, counts[0] // 4)
        await load_on(orm, for_orm, counts[1] // 4)
        rounds: list[tuple[Load, Load]] = []
        for number in range(options.size(5, 3)):
            if number % 2:
                other = await load_on(orm, for_orm, counts[1])
                mine = await load_on(ours, for_ours, counts[0])
            else:
                mine = await load_on(ours, for_ours, counts[0])
                other = await load_on(orm, for_orm, counts[1])
            rounds.append((mine, other))
        profiles: dict[str, str] = {}
        if options.profile:
            os.kill(our_child.pid, signal.SIGUSR1)
            await load_on(ours, for_ours, counts[0])
            os.kill(our_child.pid, signal.SIGUSR1)
            profiles["feed"] = (await our_child.answer(60))["profile"]
    postgres.drop("feed")
    pairs = [Pair(mine.sample, other.sample) for mine, other in rounds]
    both = median(
        (other.sample.cpu_s + other.postgres_s)
        / other.sample.n
        / ((mine.sample.cpu_s + mine.postgres_s) / mine.sample.n)
        for mine, other in rounds
    )
    contestants = contest("plyr", "FastAPI + SQLAlchemy async", pairs)
    return Finding(
        name="feed",
        title=f"getLatest, {LIMIT} hydrated tracks with viewer state, out of {size}",
        unit="request",
        contestants=contestants,
        targets=(
            Target("requests per second of server CPU", tuple(pair.by_cpu for pair in pairs), RATIO, AIM),
        ),
        goals=(
            Goal(
                f"p99 at {CONNECTIONS} connections",
                median(mine.p99_ms for mine, _ in rounds),
                GOAL_P99_MS,
                "ms",
                at_most=True,
            ),
        ),
        gates=gates,
        notes=(
            f"with the CPU of Postgres counted in on both sides: {both:.1f} ×",
            _note("plyr", [mine for mine, _ in rounds]),
            _note("FastAPI + SQLAlchemy", [other for _, other in rounds]),
        ),
        profiles=profiles,
    )


def _request(path: str, viewer: str) -> str:
    return load.request_text(path, {"x-viewer": viewer})


def _note(name: str, loads: Sequence[Load]) -> str:
    rate = median(each.sample.per_cpu_second for each in loads)
    postgres_us, share = (
        median(each.postgres_us for each in loads),
        median(each.postgres_share for each in loads),
    )
    p50_ms, p99_ms = median(each.p50_ms for each in loads), median(each.p99_ms for each in loads)
    return (
        f"{name}: {rate:,.0f} requests per second of server CPU, Postgres {postgres_us:,.0f} µs a request "
        f"({share:.0%} of both), p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms"
    )


async def prepare_questions(ours: Server, size: seed.Size, count: int = 2_000) -> list[Question]:
    """Random pages for random viewers, from a fixed seed. Our own server's cursors say where pages begin."""
    dice = random.Random(5)
    places: list[tuple[str | None, str | None]] = [(None, None)]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{ours.port}") as client:
        while len(places) < PAGES:
            answer = await _get(client, _path(_OURS, places[-1][0]))
            last = answer["tracks"][-1]
            moment = datetime.fromisoformat(last["record"]["createdAt"]).astimezone(UTC)
            places.append((answer["cursor"], f"{round(moment.timestamp() * 1e6)}:{last['id']}"))
    questions: list[Question] = []
    for _ in range(count):
        mine, other = dice.choice(places)
        viewer = did(dice.randint(1, size.accounts))
        questions.append(Question(viewer, _path(_OURS, mine), _path(_ORM, other)))
    return questions


def _path(base: str, cursor: str | None) -> str:
    return f"{base}?limit={LIMIT}" + ("" if cursor is None else f"&cursor={quote(cursor)}")


async def check(
    ours: Server, orm: Server, questions: Sequence[Question], sample: int = 40
) -> tuple[str, ...]:
    """The gate. Raises WrongAnswer; returns what held, in words."""
    liked = 0
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{ours.port}") as mine,
        aiohttp.ClientSession(f"http://127.0.0.1:{orm.port}") as other,
    ):
        for question in questions[:sample]:
            left = await _get(mine, question.ours, question.viewer)
            right = await _get(other, question.orm, question.viewer)
            compare_pages(left["tracks"], right["tracks"])
            # Random viewers rarely like what is on a page: ask again as one who does.
            liker = await _liker(mine, left["tracks"])
            if liker is not None:
                left = await _get(mine, question.ours, liker)
                right = await _get(other, question.orm, liker)
                compare_pages(left["tracks"], right["tracks"])
                liked += sum("like" in track["viewer"] for track in left["tracks"])
    if not liked:
        raise WrongAnswer("no viewer of the sample likes anything: viewer state was not checked")
    return (f"{sample} pages of {LIMIT} are equal, member by member, {liked} likes of viewers among them",)


def compare_pages(ours: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """Raises WrongAnswer unless both list the same track views in the same order."""
    require_equal("uris of a page", [track["uri"] for track in ours], [track["uri"] for track in other])
    require_equal("length of a page", len(ours), LIMIT)
    for left, right in zip(ours, other, strict=True):
        for member in sorted({*left, *right}):
            require_equal(f"{member} of {left['uri']}", left.get(member), right.get(member))


async def _liker(client: aiohttp.ClientSession, tracks: list[dict[str, Any]]) -> str | None:
    for track in tracks:
        if track["stats"]["likes"]:
            answer = await _get(client, f"/xrpc/fm.plyr.feed.getLikes?uri={quote(track['uri'])}")
            return answer["likes"][0]["actor"]["did"]
    return None


async def _get(client: aiohttp.ClientSession, path: str, viewer: str | None = None) -> Any:
    headers = {} if viewer is None else {"x-viewer": viewer}
    async with client.get(path, headers=headers) as response:
        require_equal(f"status of {path}", response.status, 200)
        return await response.json()


async def loaded(
    server: Server, requests: Sequence[str], count: int, postmaster: int, core: int | None
) -> Load:
    """One run of so many requests against a server, from `core`."""
    task = {
        "port": server.port,
        "requests": requests,
        "count": count,
        "connections": CONNECTIONS,
        "seconds": 60,
    }
    async with await Child.start("tests.bench.load", task, core=core) as generator:
        # The generator starts with its first line of input; what the start costs is not the server's.
        cpu, postgres = machine.cpu_seconds(server.child.pid), machine.family_cpu_seconds(postmaster)
        answer = await generator.answer(120)
        cpu = machine.cpu_seconds(server.child.pid) - cpu
        postgres = machine.family_cpu_seconds(postmaster) - postgres
    require_equal("answers that failed", answer["failed"], 0)
    sample = Sample(answer["n"], answer["wall_s"], cpu, machine.peak_bytes(server.child.pid))
    return Load(sample, postgres, answer["p50_ms"], answer["p99_ms"])
