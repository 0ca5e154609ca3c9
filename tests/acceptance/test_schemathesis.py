"""Whatever our OpenAPI document lets a caller send, and much that it does not, is answered as it says, and
never by a failure of ours. What is sent is the same in every run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from appview.auth.keyring import KeyFile, KeyRing
from lexicons.syntax import Did
from tests.acceptance.service import web
from tests.fakenet.home import HomePds
from tests.fakenet.world import TRACK, track
from tests.integration.appview.social.square import RKEY, Square

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
CALLS = 5000
OF_EACH = 26  # as somebody, for each way in which they are made up
OF_NOBODY = 10
ASKS_OTHERS = "it asks authorization servers of the network"
LEFT_OUT = {
    "GET /auth/start": ASKS_OTHERS,
    "POST /auth/add-account/start": ASKS_OTHERS,
    "POST /auth/developer-token/start": ASKS_OTHERS,
    "POST /auth/scope-upgrade/start": ASKS_OTHERS,
}
_SLOW = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]
# Somebody else each time: the session ends by it, or nobody may do it often.
FRESH = {"POST /auth/logout", "POST /auth/logout-all", "POST /artists/", "POST /tracks/"}
# Nobody may change tracks often: each of these has somebody of its own, who has one.
CHANGING = ("PATCH /tracks/{track_id}", "PUT /tracks/{track_id}/audio")


@dataclass
class World:
    """What there is to ask for: `paths` by parameter, `queries` by route. `key` is that of who asks it."""

    url: str
    key: Callable[[str], str]
    paths: dict[str, Any]
    queries: dict[str, dict[str, Any]]
    changing: dict[str, int] = field(default_factory=dict)

    def known(self, operation: APIOperation) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of a route's parameters: what there is by these names, in its path and in its query."""
        names = [each.name for each in operation.path_parameters]
        paths = {name: self.paths[name] for name in names if name in self.paths}
        if operation.label in self.changing:
            paths["track_id"] = self.changing[operation.label]
        return paths, self.queries.get(operation.label, {})


@asynccontextmanager
async def opened(dsn: str, folder: Path) -> AsyncIterator[World]:
    """Ana has a track with a comment, a playlist, an album and a queue."""
    async with HomePds() as pds, aiohttp.ClientSession() as http:
        environ = {
            "PLYR_DATABASE_URL": dsn,
            "PLYR_DATA_DIR": str(folder / "data"),
            "PLYR_DEV_LOOPBACK": "true",
            "PLYR_PLC_URL": pds.url,
            "PLYR_PLAYS_PER_ADDRESS": "100000",
            "PLYR_RATE_LIMIT": "0",
            "PLYR_ADMIN_TOKEN": "that nobody here has",
        }
        async with web(environ, folder / "web.log") as served:
            ring = KeyRing(KeyFile(folder / "data" / "keys" / "encryption.keys"))
            square = Square([served.origin], dsn, pds, ring, http)
            await square.begin()
            yield await _furnished(square)


async def _furnished(square: Square) -> World:
    ana, id = square.ana.did, square.track_id
    await square.rows("update repo set handle = 'ana.test'")
    uri = f"at://{ana}/{TRACK}/{RKEY}"

    async def did(method: str, path: str, **options: Any) -> Any:
        answer = await square.ask(method, path, ana, **options)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json

    await did("POST", "/artists/", json={"display_name": "Ana"})
    await did("PATCH", f"/tracks/{id}", data={"album": "Days", "tags": '["dub"]'})
    [(file_id, cid)] = await square.rows("select file_id, cid from track")
    item = {"track_uri": uri, "track_cid": cid}
    comment = await did("POST", f"/tracks/{id}/comments", json={"text": "here", "timestamp_ms": 5})
    playlist = await did("POST", "/lists/playlists", json={"name": "road"})
    await did("POST", f"/lists/playlists/{playlist['id']}/tracks", json=item)
    [album] = (await did("GET", "/albums/ana.test"))["albums"]
    await did("POST", f"/albums/{album['id']}/finalize", json={"track_ids": [id]})
    await did("PUT", "/queue/", json={"state": {"track_ids": [file_id]}})
    await did("POST", f"/tracks/{id}/like")
    listed = playlist["atproto_record_uri"]
    keys = {"": square.keys[ana]}
    changing: dict[str, int] = {}
    for label in CHANGING:
        who = await square.person(label)
        await square.echo(square.pds.write(who, "create", TRACK, RKEY, track("Two")))
        [(changing[label],)] = await square.rows("select max(id) from track")
        keys[label] = square.keys[who]
    number = iter(range(CALLS))
    loop = asyncio.get_running_loop()

    async def fresh() -> str:
        who: Did = await square.person(f"fresh {next(number)}")
        return square.keys[who]

    def key(label: str) -> str:
        if label in FRESH:
            return asyncio.run_coroutine_threadsafe(fresh(), loop).result(10)
        return keys.get(label, keys[""])

    about = {"target": uri, "collection": "fm.plyr.like", "path": ".subject.uri"}
    return World(
        square.urls[0],
        key,
        {
            "track_id": id, "did": ana, "artist_did": ana, "handle": "ana.test", "file_id": file_id,
            "comment_id": comment["id"], "playlist_id": playlist["id"], "album_id": album["id"],
            "slug": album["slug"], "tag": "dub", "rkey": listed.rpartition("/")[2], "track_uri": uri,
            "revision_id": 1,
        },
        {
            "GET /tracks/by-uri": {"uri": uri},
            "GET /lists/by-uri": {"uri": listed},
            "GET /lists/playlists/by-uri": {"uri": listed},
            "GET /search/": {"q": "one"},
            "GET /search/handles": {"q": "ana"},
            "GET /oembed": {"url": f"{square.urls[0]}/track/{id}"},
            "GET /links": about,
            "GET /links/all": {"target": uri},
            "GET /links/count": about,
            "GET /links/count/distinct-dids": about,
        },
        changing,
    )  # fmt: skip


@dataclass
class Asked:
    """`calls`: by route and status. `faults`: by route and what is wrong, an example of each."""

    calls: dict[str, Counter[int]] = field(default_factory=dict)
    faults: dict[tuple[str, str], str] = field(default_factory=dict)

    def everything(self, document: Mapping[str, Any], world: World) -> None:
        """Every route but those that are left out; it blocks. What deletes comes last."""
        read = list(from_dict(dict(document)).get_all_operations())
        found = [each.ok() for each in read if isinstance(each, Ok)]
        assert len(found) == len(read), "our own document cannot be read"
        assert set(LEFT_OUT) <= {each.label for each in found}
        found = [each for each in found if each.label not in LEFT_OUT]
        found.sort(key=lambda each: (each.method == "delete", each.label == "DELETE /tracks/{track_id}"))
        with requests.Session() as http:
            http.trust_env = False  # or it looks for proxies before each call
            for operation in found:
                self.calls[operation.label] = Counter()
                paths, query = world.known(operation)
                for most, key in ((OF_EACH, world.key), (OF_NOBODY, None)):
                    self._ask(operation, world.url, http, most, key)
                if paths or query:
                    self._ask(operation, world.url, http, OF_EACH, world.key, paths=paths, query=query)
                if _may_be_wrong(operation, {}):
                    self._ask(operation, world.url, http, OF_EACH, world.key, GenerationMode.NEGATIVE)
                if paths and _may_be_wrong(operation, paths):
                    mode = GenerationMode.NEGATIVE
                    self._ask(operation, world.url, http, OF_EACH, world.key, mode, paths=paths)

    def _ask(
        self,
        operation: APIOperation,
        url: str,
        http: requests.Session,
        most: int,
        key: Callable[[str], str] | None,
        mode: GenerationMode = GenerationMode.POSITIVE,
        *,
        paths: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
    ) -> None:
        label = operation.label

        @seed(6)
        @settings(
            database=None,
            max_examples=most,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=_SLOW,
        )
        @given(case=operation.as_strategy(mode, path_parameters=paths or None, query=query or None))
        def ask(case: Case) -> None:
            headers = {} if key is None else {"Authorization": f"Bearer {key(label)}"}
            http.cookies.clear()
            answer = case.call(base_url=url, session=http, headers=headers, allow_redirects=False, timeout=20)
            self.calls[label][answer.status_code] += 1
            # oEmbed has a word of its own for formats that are not served.
            unmeant = [] if (label, answer.status_code) != ("GET /oembed", 501) else [not_a_server_error]
            try:
                case.validate_response(answer, checks=CHECKS, excluded_checks=unmeant)
            except FailureGroup as group:
                for each in group.exceptions:
                    self.faults.setdefault((label, f"{answer.status_code} {each}"[:200]), str(group))

        ask()

    def table(self) -> str:
        rows = [f"{'route':<64}{'calls':>6}  answers by status"]
        for label, counts in sorted(self.calls.items(), key=lambda each: each[0].split(" ")[::-1]):
            told = "  ".join(f"{status} {count}" for status, count in sorted(counts.items()))
            rows.append(f"{label:<64}{counts.total():>6}  {told}")
        return "\n".join(rows)


def _may_be_wrong(operation: APIOperation, paths: Mapping[str, Any]) -> bool:
    """Whether anything of a request may have another shape than it should: any text is a right path."""
    numbers = [
        each.name for each in operation.path_parameters if each.definition["schema"]["type"] == "integer"
    ]
    return bool(list(operation.query) or list(operation.body) or set(numbers) - set(paths))


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document with nothing that is left open: whatever answers may come is said by their status, and
    who asks is our choice."""
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"]["429"] = operation["responses"].pop("default")
            operation["security"] = []
    return document


async def test_generated_calls_are_answered_as_the_document_says(
    database: str, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    asked = Asked()
    async with opened(database, tmp_path) as world, aiohttp.ClientSession() as http:
        async with http.get(f"{world.url}/openapi.json") as answer:
            document = strict(json.loads(await answer.read()))
        await asyncio.to_thread(asked.everything, document, world)
    total = sum(each.total() for each in asked.calls.values())
    left = "\n".join(f"left out: {label}, {why}" for label, why in LEFT_OUT.items())
    measured(f"{total} generated calls, by route:\n{asked.table()}\n{left}")
    assert not asked.faults, "\n".join(
        f"{label}: {told}" for (label, _), told in sorted(asked.faults.items())
    )
    assert total >= CALLS
    assert all(each.total() for each in asked.calls.values())
