"""The REST routes of the web frontend, against the same routes made with FastAPI and SQLAlchemy.

Both servers read one database, that of a service which has been running for a while, and answer the same
questions of people who are signed in: the newest tracks, what they like, their queue, a track, an album, the
totals. As in `feed`, each is pinned to the same core in turn, and what counts is a server's own CPU time of
each answer. Then all routes of ours that read are asked at a fixed modest rate, and tell their p99.

Gate: on a sample of questions each route's answers hold the same members on both sides, but for what ours
alone has; and no answer of either failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import aiohttp
import orjson
import psycopg

from storage import stats
from tests.bench import database, load, machine, rest_routes, rest_seed, seed
from tests.bench.children import Child
from tests.bench.feed import Load, Server, loaded
from tests.bench.measure import Contestant, Finding, Pair, Sample, Target, WrongAnswer, require_equal
from tests.bench.options import Options
from tests.bench.rest_seed import Listener

RATIO, AIM = 15.0, 35.0
LISTENERS = 300
PROFILED = 1_000
PUBLIC_URL = "https://plyr.example"
# Members that each side pages by in its own way.
_OWN = frozenset({"next_cursor"})


@dataclass(frozen=True, slots=True)
class Contest:
    """A route of both sides: its questions, and how many answers a run of each takes."""

    name: str
    questions: Sequence[tuple[str, str]]  # path, key
    ours: int
    baseline: int


async def run(options: Options, postgres: database.Server) -> Finding:
    """Seed, start both servers, compare their answers, load them in turns, then ours alone at a rate."""
    size = options.size(
        seed.Size(100_000, 1_000_000, 5_000_000, 500_000), seed.Size(10_000, 100_000, 500_000, 50_000)
    )
    dsn = await postgres.fresh("rest")
    await asyncio.to_thread(seed.seed, dsn, size)
    listeners = await asyncio.to_thread(rest_seed.fill, dsn, size, LISTENERS)
    await counted(dsn)
    postgres.checkpoint()
    cores = machine.cores() or (None, None)
    folder = options.scratch / "rest"
    folder.mkdir()
    task = {"dsn": dsn, "profiled": PROFILED, "folder": str(folder), "public_url": PUBLIC_URL}
    async with (
        await Child.start("tests.bench.auth_server", task, core=cores[1]) as our_child,
        await Child.start("tests.bench.rest_orm", task, core=cores[1]) as orm_child,
    ):
        ours = Server(our_child, (await our_child.answer(60))["port"])
        orm = Server(orm_child, (await orm_child.answer(60))["port"])
        contests = contested(size, listeners, options)
        gates = [await check(ours, orm, contest) for contest in contests]
        found: dict[str, list[tuple[Load, Load]]] = {}
        for contest in contests:
            found[contest.name] = await rounds(contest, ours, orm, postgres.pid, cores[0], options)
        profiles = await profiled(contests, ours, postgres.pid) if options.profile else {}
        await asyncio.to_thread(rest_seed.fill_reads, dsn)
        postgres.checkpoint()
        told, slowest, whole = await rest_routes.ask_all(ours, PUBLIC_URL, dsn, size, listeners, options)
    postgres.drop("rest")
    return Finding(
        name="rest",
        title=f"REST routes for people who are signed in, out of {size}, {size.comments:,} comments",
        unit="request",
        contestants=(
            _together("plyr", [mine.sample for pairs in found.values() for mine, _ in pairs]),
            _together("FastAPI + SQLAlchemy async", [o.sample for pairs in found.values() for _, o in pairs]),
        ),
        targets=tuple(
            Target(
                f"{name}: requests per second of server CPU",
                tuple(Pair(mine.sample, other.sample).by_cpu for mine, other in pairs),
                RATIO,
                AIM,
            )
            for name, pairs in found.items()
        ),
        goals=(slowest,),
        gates=(*gates, whole),
        profiles=profiles,
        notes=(*(_note(name, pairs) for name, pairs in found.items()), *told),
    )


async def counted(dsn: str) -> None:
    """What there is, as the scheduler has it counted: of so much nobody counts while somebody waits."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        totals = orjson.dumps(asdict(await stats.count(conn))).decode()
        await conn.execute(
            "insert into job (kind, state, result, finished_at) values (%s, 'done', %s, now())",
            (stats.COUNT, totals),
        )


def contested(size: seed.Size, listeners: Sequence[Listener], options: Options) -> list[Contest]:
    """The routes that both have, with random questions from a fixed seed."""
    dice = random.Random(11)

    def by_anyone(count: int = 500) -> list[str]:
        return [dice.choice(listeners).key for _ in range(count)]

    tracks = [(f"/tracks/{dice.randint(1, size.tracks)}", key) for key in by_anyone()]
    albums = [(f"/albums/{rest_routes.album(dice)}", key) for key in by_anyone()]
    many, few = options.size((3_000, 200), (600, 60))
    return [
        Contest("/tracks/", [("/tracks/?limit=50", key) for key in by_anyone()], many, few),
        Contest("/tracks/liked", [("/tracks/liked?limit=50", key) for key in by_anyone()], many, few),
        Contest("/queue/", [("/queue/", key) for key in by_anyone()], many, few),
        Contest("/stats", [("/stats", key) for key in by_anyone(10)], many, options.size(20, 20)),
        Contest("/tracks/{id}", tracks, many * 2, few * 2),
        Contest("/albums/{handle}/{slug}", albums, many * 2, few * 2),
    ]


async def rounds(
    contest: Contest, ours: Server, orm: Server, postmaster: int, core: int | None, options: Options
) -> list[tuple[Load, Load]]:
    """Loads in pairs, of which the first side alternates, after a little of each that does not count."""
    requests = _requests(contest)

    async def on(server: Server, count: int) -> Load:
        return await loaded(server, requests, count, postmaster, core)

    await on(ours, contest.ours // 4)
    await on(orm, max(contest.baseline // 4, 5))
    found: list[tuple[Load, Load]] = []
    for number in range(options.size(5, 3)):
        if number % 2:
            other = await on(orm, contest.baseline)
            mine = await on(ours, contest.ours)
        else:
            mine = await on(ours, contest.ours)
            other = await on(orm, contest.baseline)
        found.append((mine, other))
    return found


async def profiled(contests: Sequence[Contest], ours: Server, postmaster: int) -> dict[str, str]:
    """Where ours spends its time on each route."""
    found: dict[str, str] = {}
    for contest in contests:
        os.kill(ours.child.pid, signal.SIGUSR1)
        await loaded(ours, _requests(contest), PROFILED, postmaster, None)
        os.kill(ours.child.pid, signal.SIGUSR1)
        found[contest.name] = (await ours.child.answer(60))["profile"]
    return found


def _requests(contest: Contest) -> list[str]:
    return [load.request_text(path, {"authorization": f"Bearer {key}"}) for path, key in contest.questions]


async def check(ours: Server, orm: Server, contest: Contest, sample: int = 20) -> str:
    """The gate. Raises WrongAnswer; returns what held, in words."""
    async with aiohttp.ClientSession() as client:
        seen: list[Any] = []
        for path, key in contest.questions[:sample]:
            left, right = [await _get(client, server.port, path, key) for server in (ours, orm)]
            compare(f"{path}", left, right)
            seen.append(left)
    if contest.name != "/stats" and not any(_tracks(each) for each in seen):
        raise WrongAnswer(f"{contest.name}: there was nothing to compare")
    liked = sum(track["is_liked"] for each in seen for track in _tracks(each))
    return (
        f"{contest.name}: {len(seen)} answers equal, member by member, {liked} likes of the asker among them"
    )


def compare(what: str, ours: Any, other: Any) -> None:
    """Raises WrongAnswer unless ours has all that the other has."""
    if isinstance(other, dict):
        for name in other.keys() - _OWN:
            if name not in ours:
                raise WrongAnswer(f"{what}: there is no {name}")
            compare(f"{what} {name}", ours[name], other[name])
    elif isinstance(other, list):
        require_equal(f"length of {what}", len(ours), len(other))
        for place, (left, right) in enumerate(zip(ours, other, strict=True)):
            compare(f"{what} {place}", left, right)
    else:
        require_equal(what, ours, other)


def _tracks(answer: Any) -> list[dict[str, Any]]:
    return answer.get("tracks", [answer] if "file_id" in answer else [])


async def _get(client: aiohttp.ClientSession, port: int, path: str, key: str) -> Any:
    url = f"http://127.0.0.1:{port}{path}"
    async with client.get(url, headers={"authorization": f"Bearer {key}"}) as response:
        require_equal(f"status of {path}", response.status, 200)
        return await response.json()


def _together(name: str, samples: Sequence[Sample]) -> Contestant:
    return Contestant(name, tuple(samples))


def _note(name: str, pairs: Sequence[tuple[Load, Load]]) -> str:
    mine, other = (median(pair[side].sample.per_cpu_second for pair in pairs) for side in (0, 1))
    ours, theirs = (median(pair[side].postgres_us for pair in pairs) for side in (0, 1))
    return (
        f"{name}: {mine:,.0f} against {other:,.0f} requests per second of server CPU; "
        f"Postgres {ours:,.0f} and {theirs:,.0f} µs a request"
    )
