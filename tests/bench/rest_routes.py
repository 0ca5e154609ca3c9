"""All routes that read, asked at a fixed modest rate, each with questions that have an answer.

Which routes there are, the server's own description says. The gate: each is asked here or excused by name, so
that one that is new cannot be forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import psycopg

from tests.bench import seed, steady
from tests.bench.activity import did, seeded_rkey
from tests.bench.feed import Server
from tests.bench.measure import Goal, WrongAnswer
from tests.bench.options import Options
from tests.bench.rest_seed import Listener

PER_SECOND = 50
GOAL_P99_MS = 50.0
LATE_MS = 10.0  # from here on it is told how late we were ourselves

# Routes that read and are not asked here, each with the reason.
EXCUSED: Mapping[str, str] = {
    "/admin/audit": "the operator's alone",
    "/auth/callback": "the way back from an authorization server, which must have sent somebody",
    "/auth/start": "asks an authorization server",
    "/exports/{id}/progress": "a stream that lasts as long as its job",
    "/exports/{id}/{name}": "a ZIP's bytes, which `zip` measures",
    "/image/{sha256}": "a file's bytes, as `ranges` measures them",
    "/private/{sha256}": "a file's bytes, as `ranges` measures them",
    "/tracks/uploads/{id}/progress": "a stream that lasts as long as its job",
}


@dataclass(frozen=True, slots=True)
class Route:
    """Paths, each with the key of who asks, and the status of a good answer."""

    questions: Sequence[tuple[str, str]]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Owned:
    """What the listener with this key has."""

    key: str
    track_id: int
    export_id: str
    playlist_id: int


async def ask_all(
    server: Server,
    public_url: str,
    dsn: str,
    size: seed.Size,
    listeners: Sequence[Listener],
    options: Options,
) -> tuple[list[str], Goal, str]:
    """p50 and p99 of each route as lines for a table, the goal for the slowest, and the gate in words. One
    that misses the goal is asked once more, which counts. Raises WrongAnswer."""
    count = options.size(250, 100)
    told, slowest, worst_ms = [f"at {PER_SECOND} requests a second, {count} each: p50 and p99"], "", 0.0
    asked = routes(public_url, dsn, size, listeners)
    async with aiohttp.ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{server.port}/openapi.json") as answer:
            gate = check_whole(await answer.json(), asked)
        for path, route in asked.items():
            said: list[str] = []
            p99_ms = 0.0
            # One pause of a quarter second makes any route miss the goal: what is slow itself is so twice.
            for _ in range(2):
                answers = await steady.ask(
                    client, server.port, route.questions,
                    count=count, per_second=PER_SECOND, status=route.status,
                )  # fmt: skip
                said.append(_told(answers))
                if (p99_ms := answers.p99_ms) <= GOAL_P99_MS:
                    break
            told.append(f"{path}: {', and once more '.join(said)}")
            if p99_ms > worst_ms:
                slowest, worst_ms = path, p99_ms
    told += [f"not asked: {path}, {reason}" for path, reason in EXCUSED.items()]
    what = f"p99 of the slowest route, {slowest}, at {PER_SECOND} requests a second"
    return told, Goal(what, worst_ms, GOAL_P99_MS, "ms", at_most=True), gate


def _told(answers: steady.Answers) -> str:
    late = f" (asked up to {answers.late_ms:.0f} ms late)" if answers.late_ms > LATE_MS else ""
    return f"{answers.p50_ms:.1f} ms, {answers.p99_ms:.1f} ms{late}"


def check_whole(described: Mapping[str, Any], asked: Mapping[str, Route]) -> str:
    """The gate. Raises WrongAnswer unless every route that reads is asked or excused, and no other is."""
    there = {path for path, verbs in described["paths"].items() if "get" in verbs}
    known = asked.keys() | EXCUSED.keys()
    if there != known:
        raise WrongAnswer(
            f"neither asked nor excused: {sorted(there - known)}; not there: {sorted(known - there)}"
        )
    if both := asked.keys() & EXCUSED.keys():
        raise WrongAnswer(f"asked, and excused: {sorted(both)}")
    return f"all {len(there)} routes that read are asked, but for {len(EXCUSED)}, each with its reason"


def routes(public_url: str, dsn: str, size: seed.Size, listeners: Sequence[Listener]) -> Mapping[str, Route]:
    """What each route that reads is asked, at random from a fixed seed."""
    dice = random.Random(13)
    who = [dice.choice(listeners) for _ in range(100)]
    ids = [dice.randint(1, size.tracks) for _ in range(100)]
    words = [f"track {dice.randint(1, size.tracks)}" for _ in range(100)]
    loved = [n * 7919 % size.tracks + 1 for n in range(100)]  # what most people like
    albums = [album(dice) for _ in range(100)]
    files, owned = _look_up(dsn, {one.did: one.key for one in listeners})

    def by_anyone(path: str, values: Sequence[object] = ("",), status: int = 200) -> Route:
        keys = [listeners[n % len(listeners)].key for n in range(max(len(values), 100))]
        return Route([(path.format(values[n % len(values)]), key) for n, key in enumerate(keys)], status)

    def by_owners(path: str, of: str, status: int = 200) -> Route:
        return Route([(path.format(getattr(each, of)), each.key) for each in owned], status)

    def uri(account: int, collection: str, rkey: str) -> str:
        return quote(f"at://{did(account)}/{collection}/{rkey}", safe="")

    dids, handles = [one.did for one in who], [one.handle for one in who]
    targets = [uri(n % size.accounts + 1, "fm.plyr.track", seeded_rkey(n)) for n in loved]
    lists = [uri(one.account, "fm.plyr.list", "playlist-1") for one in who]
    likes = "&collection=fm.plyr.like&path=.subject.uri"
    playlists = [each.playlist_id for each in owned]
    anyone = {
        "/tracks/": ["/tracks/?limit=50", *("/tracks/?artist_did=" + each for each in dids)],
        "/tracks/me": ["/tracks/me", "/tracks/me?sort=plays&limit=10", "/tracks/me?q=track"],
        "/tracks/top": ["/tracks/top", "/tracks/top?period=week&limit=50"],
    }
    alone = (
        "/.well-known/jwks.json", "/albums/", "/artists/me", "/artists/me/analytics",
        "/artists/me/analytics/days", "/auth/developer-tokens", "/auth/me", "/auth/pds-options", "/config",
        "/health", "/lists/playlists", "/migration/check", "/moderation/sensitive-images",
        "/oauth-client-metadata.json", "/openapi.json", "/preferences/", "/queue/", "/sitemap-data", "/stats",
        "/tracks/liked", "/tracks/me/broken", "/tracks/tags", "/transparency.json", "/uploads",
    )  # fmt: skip
    page = "/oembed?url=" + quote(f"{public_url}/track/", safe="")
    return {
        **{path: by_anyone("{}", paths) for path, paths in anyone.items()},
        **{path: by_anyone(path) for path in alone},
        "/albums/{handle}": by_anyone("/albums/{}", [each.partition("/")[0] for each in albums]),
        "/albums/{handle}/{slug}": by_anyone("/albums/{}", albums),
        "/artists/by-handle/{handle}": by_anyone("/artists/by-handle/{}", handles),
        "/artists/{did}": by_anyone("/artists/{}", dids),
        "/artists/{did}/analytics": by_anyone("/artists/{}/analytics", dids),
        "/audio/{file_id}": by_anyone("/audio/{}", files, 307),
        "/audio/{file_id}/download": by_anyone("/audio/{}/download", files, 307),
        "/audio/{file_id}/url": by_anyone("/audio/{}/url", files),
        "/exports/{id}/download": by_owners("/exports/{}/download", "export_id", 307),
        "/links": by_anyone("/links?target={}" + likes, targets),
        "/links/all": by_anyone("/links/all?target={}", targets),
        "/links/count": by_anyone("/links/count?target={}" + likes, targets),
        "/links/count/distinct-dids": by_anyone("/links/count/distinct-dids?target={}" + likes, targets),
        "/lists/by-uri": by_anyone("/lists/by-uri?uri={}", lists),
        "/lists/playlists/by-artist/{artist_did}": by_anyone("/lists/playlists/by-artist/{}", dids),
        "/lists/playlists/by-uri": by_anyone("/lists/playlists/by-uri?uri={}", lists),
        "/lists/playlists/{playlist_id}": by_anyone("/lists/playlists/{}", playlists),
        "/lists/playlists/{playlist_id}/meta": by_anyone("/lists/playlists/{}/meta", playlists),
        "/lists/playlists/{playlist_id}/recommendations": by_owners(
            "/lists/playlists/{}/recommendations", "playlist_id"
        ),
        "/now-playing/by-did/{did}": by_anyone("/now-playing/by-did/{}", dids),
        "/now-playing/by-handle/{handle}": by_anyone("/now-playing/by-handle/{}", handles),
        "/oembed": by_anyone(page + "{}", ids),
        "/search/": by_anyone("/search/?q={}", [quote(word) for word in words]),
        "/search/handles": by_anyone("/search/handles?q={}", [handle[:9] for handle in handles]),
        "/tracks/by-uri": by_anyone("/tracks/by-uri?uri={}", targets),
        "/tracks/tags/{tag}": by_anyone("/tracks/tags/{}", [f"mood%20{n}" for n in range(97)]),
        "/tracks/{track_id}": by_anyone("/tracks/{}", ids),
        "/tracks/{track_id}/comments": by_anyone("/tracks/{}/comments", loved),
        "/tracks/{track_id}/likes": by_anyone("/tracks/{}/likes", loved),
        "/tracks/{track_id}/revisions": by_owners("/tracks/{}/revisions", "track_id"),
        "/users/{handle}/likes": by_anyone("/users/{}/likes", handles),
    }  # fmt: skip


def album(dice: random.Random) -> str:
    """One of those with all of an account's tracks: the account of number n has those of numbers n - 1."""
    number = dice.randint(1, 999)
    return f"artist{number + 1}.plyr.example/album-{number}"


def _look_up(dsn: str, keys: Mapping[str, str]) -> tuple[list[str], list[Owned]]:
    """Names of sound that is elsewhere, and what listeners have, whose `keys` are by DID."""
    with psycopg.connect(dsn) as conn:
        files = conn.execute(
            "select t.file_id from far_sound f join track t on t.id = f.track_id order by t.id limit 100"
        ).fetchall()
        owned = conn.execute(
            "select r.did, (select min(id) from track where repo_id = r.id), j.id::text, l.id"
            " from job j join repo r on r.did = j.did join list l on l.repo_id = r.id"
            " where j.kind = 'export' and l.rkey = 'playlist-1' order by r.id"
        ).fetchall()
    return [file for (file,) in files], [Owned(keys[did_], *rest) for did_, *rest in owned]
