"""The real application on a port, on a real database; each good answer is checked against its lexicon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from appview.app import build_app, make_reader
from appview.protocol import make_runner
from appview.service import AppConfig
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid
from lexicons.validate import validate_output
from storage.reader import Reads
from tests.integration.appview.seed import Seed

Params = Mapping[str, Any] | list[tuple[str, str]]


async def viewer_of(request: web.Request) -> Viewer | None:
    """Takes the header X-Viewer at its word. A test's stand-in for sign-in."""
    viewer = request.headers.get("X-Viewer")
    return None if viewer is None else Viewer(Did(viewer))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True)
class Server:
    url: str
    http: aiohttp.ClientSession
    catalog: Catalog
    checked: list[Nsid]

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, self.url + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def ask(self, name: str, params: Params | None = None, *, viewer: str | None = None) -> Any:
        """The answer to a query that must succeed."""
        headers = {} if viewer is None else {"X-Viewer": viewer}
        path = f"/xrpc/{self.catalog.namespace}.{name}"
        answer = await self.request("GET", path, params=params or {}, headers=headers)
        assert answer.status == 200, answer.body
        return answer.json

    async def refused(self, name: str, params: Params | None = None) -> tuple[int, str]:
        """Status and error name of a query that must fail."""
        answer = await self.request("GET", f"/xrpc/{self.catalog.namespace}.{name}", params=params or {})
        assert answer.headers["Content-Type"].startswith("application/json")
        assert set(answer.json) == {"error", "message"}
        return answer.status, answer.json["error"]


@asynccontextmanager
async def serving(
    reads: Reads,
    catalog: Catalog,
    *,
    dsn: str | None = None,
    parts: Callable[[Reads], Mapping[str, Any]] | None = None,
    **options: Any,
) -> AsyncIterator[Server]:
    """The application on a free port, with further parts of it; extra options go to its config."""
    checked: list[Nsid] = []

    def check(nsid: Nsid, body: bytes) -> None:
        if nsid in catalog.outputs:
            validate_output(catalog, nsid, orjson.loads(body))
        checked.append(nsid)

    config = AppConfig(
        **{"version": "9.8.7", "stats_ttl_s": 0, "viewer_of": viewer_of, "on_answer": check} | options
    )
    runner = make_runner(build_app(reads, catalog, config, dsn=dsn, **(parts(reads) if parts else {})))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}"
        async with aiohttp.ClientSession() as http:
            yield Server(url, http, catalog, checked)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(dsn: str, catalog: Catalog, **options: Any) -> AsyncIterator[Server]:
    """Like `serving`, with a reader of its own on the database."""
    async with (
        make_reader(dsn, connections=2) as reads,
        serving(reads, catalog, dsn=dsn, **options) as server,
    ):
        yield server


@dataclass(frozen=True)
class World:
    """A server and the rows behind it."""

    server: Server
    seed: Seed
    dsn: str
