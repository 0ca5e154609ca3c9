"""What it costs to know who asks: a page of tracks by session and by service token, against nobody's.

A server, as `plyr web` builds it, on one core; the same pages, asked for by nobody in particular, by
accounts with a session, and by accounts whose PDS signs a token for each request, in turns. The tokens'
keys are those that the server keeps; each token is new, and written down as used before it is answered.
What counts is the server's own CPU time for each answer. One process is slower than another by some
hundredths at the one or the other for as long as it lives, so the rounds are of several, one after the other.

Gate: a sample of pages is the same three times but for the viewer's own likes, which nobody in particular
is not shown; a token that comes a second time is refused, and so is one that another key signed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import aiohttp
import psycopg

from tests.bench import database, machine, seed
from tests.bench.activity import did
from tests.bench.children import Child
from tests.bench.feed import LIMIT, Load, Server, loaded
from tests.bench.load import request_text
from tests.bench.measure import Contestant, Finding, Pair, Target, WrongAnswer, require_equal
from tests.bench.options import Options
from tests.fakenet.repo import SigningKey
from tests.fakenet.tokens import token

MOST = 1.3  # times what nobody's page costs
PUBLIC_URL, AUDIENCE = "https://bench.example", "did:web:bench.example"
LATEST = "fm.plyr.feed.getLatest"
ACCOUNTS = 100
PAGES = 50
LIFE_S = 1800

WAYS = ("anonymous", "session", "service token")


@dataclass(frozen=True, slots=True)
class Asker:
    """An account that can prove who it is, in either way."""

    did: str
    key: SigningKey
    session: str

    def bearer(self, way: str) -> dict[str, str]:
        match way:
            case "session":
                return {"authorization": f"Bearer {self.session}"}
            case "service token":
                return {"authorization": f"Bearer {self.token()}"}
            case _:
                return {}

    def token(self, **claims: Any) -> str:
        more = claims or {"iss": self.did}
        return token(self.key, aud=AUDIENCE, lxm=LATEST, **more)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Those who ask, from `core`, for any of the pages."""

    paths: Sequence[str]
    askers: Sequence[Asker]
    dice: random.Random
    postmaster: int
    core: int | None

    async def load(self, server: Server, way: str, n: int) -> Load:
        """One run of so many requests, each of somebody."""
        choice = self.dice.choice
        requests = [request_text(choice(self.paths), choice(self.askers).bearer(way)) for _ in range(n)]
        return await loaded(server, requests, n, self.postmaster, self.core)


async def run(options: Options, postgres: database.Server) -> Finding:
    """Seed, let accounts in, compare what they see, then load servers in the three ways in turns."""
    size = options.size(
        seed.Size(20_000, 100_000, 500_000, 50_000), seed.Size(10_000, 50_000, 250_000, 25_000)
    )
    dsn = await postgres.fresh("auth")
    await asyncio.to_thread(seed.seed, dsn, size)
    askers = await asyncio.to_thread(let_in, dsn)
    postgres.checkpoint()
    cores = machine.cores() or (None, None)
    count = options.size(3_000, 1_500)
    task = {
        "dsn": dsn,
        "folder": str(options.scratch),
        "public_url": PUBLIC_URL,
        "profiled": count,
    }

    @asynccontextmanager
    async def started() -> AsyncIterator[Server]:
        async with await Child.start("tests.bench.auth_server", task, core=cores[1]) as child:
            yield Server(child, (await child.answer(60))["port"])

    rounds: list[dict[str, Load]] = []
    profiles: dict[str, str] = {}
    async with started() as server:
        paths = await pages(server)
        gates = await check(server, paths, askers)
        crowd = Crowd(paths, askers, random.Random(7), postgres.pid, cores[0])
        if options.profile:
            for way in WAYS:
                os.kill(server.child.pid, signal.SIGUSR1)
                await crowd.load(server, way, count)
                os.kill(server.child.pid, signal.SIGUSR1)
                profiles[way] = (await server.child.answer(60))["profile"]
    for _ in range(options.size(6, 1)):
        async with started() as server:
            for way in WAYS:
                await crowd.load(server, way, count // 4)
            for number in range(3):
                order = WAYS[number:] + WAYS[:number]
                rounds.append({way: await crowd.load(server, way, count) for way in order})
    postgres.drop("auth")
    return finding(size, rounds, gates, profiles)


def finding(
    size: seed.Size, rounds: Sequence[dict[str, Load]], gates: tuple[str, ...], profiles: dict[str, str]
) -> Finding:
    """The rounds as one judgement for each way of saying who one is."""
    targets: list[Target] = []
    notes: list[str] = []
    for way in WAYS[1:]:
        pairs = [Pair(each[way].sample, each["anonymous"].sample) for each in rounds]
        targets.append(
            Target(
                f"the answers to nobody in particular, by {way}, per second of server CPU",
                tuple(pair.by_cpu for pair in pairs),
                1 / MOST,
            )
        )
        own = median(1 / pair.by_cpu for pair in pairs)
        both = median(_both_s(each[way]) / _both_s(each["anonymous"]) for each in rounds)
        notes.append(
            f"{way}: {own:.2f} × the server CPU of nobody's answer (at most {MOST} wanted), "
            f"{both:.2f} × with Postgres counted in"
        )
    for way in WAYS:
        typical = [each[way] for each in rounds]
        notes.append(
            f"{way}: Postgres {median(each.postgres_us for each in typical):,.0f} µs a request, "
            f"p50 {median(each.p50_ms for each in typical):.1f} ms, "
            f"p99 {median(each.p99_ms for each in typical):.1f} ms"
        )
    return Finding(
        name="auth",
        title=f"getLatest, {LIMIT} tracks, by nobody, by session, by service token, out of {size}",
        unit="request",
        contestants=tuple(Contestant(way, tuple(each[way].sample for each in rounds)) for way in WAYS),
        targets=tuple(targets),
        gates=gates,
        notes=tuple(notes),
        profiles=profiles,
    )


def _both_s(load: Load) -> float:
    """CPU seconds of an answer, the server's and Postgres'."""
    return (load.sample.cpu_s + load.postgres_s) / load.sample.n


def let_in(dsn: str) -> list[Asker]:
    """Accounts with keys of their own and a session each, each of which likes what is newest."""
    askers = [
        Asker(did(number), SigningKey(f"asker {number}"), hashlib.sha256(b"%d" % number).hexdigest()[:43])
        for number in range(1, ACCOUNTS + 1)
    ]
    with psycopg.connect(dsn) as conn:
        for asker in askers:
            hashed = hashlib.sha256(asker.session.encode()).digest()
            conn.execute(
                "update repo set signing_key = %s, rev = '3kzzzzzzzzzz2', gaps = '[]' where did = %s",
                (asker.key.did_key, asker.did),
            )
            conn.execute(
                "insert into session (token_hash, kind, did, scope, expires_at)"
                " values (%s, 'browser', %s, 'atproto', now() + interval '14 days')",
                (hashed, asker.did),
            )
        conn.execute(
            'insert into "like" (repo_id, track_id, rkey, sort_at)'
            " select r.id, t.id, '3kzzzzzzzzz' || lpad(t.n::text, 2, '2'), now() from repo r,"
            " (select id, row_number() over (order by sort_at desc, id desc) n from track"
            "   order by sort_at desc, id desc limit 3) t where r.did = any(%s)"
            " on conflict do nothing",
            ([asker.did for asker in askers],),
        )
    return askers


async def pages(server: Server) -> list[str]:
    """The addresses of the newest pages, one after the other."""
    found = [f"/xrpc/{LATEST}?limit={LIMIT}"]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
        while len(found) < PAGES:
            async with client.get(found[-1]) as answer:
                cursor = (await answer.json())["cursor"]
            found.append(f"/xrpc/{LATEST}?limit={LIMIT}&cursor={cursor}")
    return found


async def check(server: Server, paths: Sequence[str], askers: Sequence[Asker]) -> tuple[str, ...]:
    """The gate. Raises WrongAnswer; returns what held, in words."""
    liked = 0
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:

        async def ask(path: str, headers: dict[str, str]) -> tuple[int, Any]:
            async with client.get(path, headers=headers) as answer:
                return answer.status, await answer.json()

        for asker, path in zip(askers, paths, strict=False):
            for page in (paths[0], path):
                _, nobodys = await ask(page, {})
                require_equal("viewers in an answer to nobody", _viewers(nobodys), [None] * LIMIT)
                seen: list[Any] = []
                for way in WAYS[1:]:
                    status, answer = await ask(page, asker.bearer(way))
                    require_equal(f"status by {way}", status, 200)
                    seen.append(_viewers(answer))
                    require_equal(f"page by {way}", _without_viewers(answer), _without_viewers(nobodys))
                require_equal("viewers by service token", seen[1], seen[0])
                likes = [viewer["like"] for viewer in seen[0] if "like" in viewer]
                if not all(like.startswith(f"at://{asker.did}/") for like in likes):
                    raise WrongAnswer(f"{asker.did} is shown a like of somebody else's")
                liked += len(likes)
        used = askers[0].bearer("service token")
        statuses = [(await ask(paths[0], used))[0] for _ in range(3)]
        require_equal("statuses of a token that comes again", statuses, [200, 401, 401])
        forged = {"authorization": f"Bearer {askers[0].token(iss=askers[1].did)}"}
        _, refused = await ask(paths[0], forged)
        # By another key than we know, so the directory would have the last word: here is none.
        require_equal("a forged token", refused["error"], "UpstreamFailure")
    if liked < len(askers):
        raise WrongAnswer(f"viewers were shown {liked} likes only")
    same = 2 * min(len(askers), len(paths))
    return (
        f"{same} pages are the same by session, by service token and for nobody but for {liked} likes",
        "a token that comes again is refused, and a forged one",
    )


def _viewers(answer: Any) -> list[Any]:
    return [track.get("viewer") for track in answer["tracks"]]


def _without_viewers(answer: Any) -> list[Any]:
    return [{name: value for name, value in track.items() if name != "viewer"} for track in answer["tracks"]]
