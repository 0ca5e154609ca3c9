"""A PDS at a port that keeps records as it is asked to, and the client that reaches it without a grant."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import aiohttp
from aiohttp import web

from appview.auth.grant import Credentials
from appview.auth.oauth import PdsAnswer
from lexicons.datamodel import cid_of, encode, from_json
from lexicons.syntax import Did, Tid, tid_from_us
from tests.fakenet.port import OnPort
from tests.integration.appview.auth.signing import Village, asked_at, credentials_at

Path = tuple[str, str, str]  # DID, collection, rkey


class RecordKeeper(OnPort):
    """`records` by path. `status`: what is answered instead, while it is not 200. `refuses`: rkeys that are
    never written; `puts_left`: how many writes it takes before it is away. `unseen`: how many questions
    for a record it says there is none to, though there is. `asked`: the calls that came, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[Path, dict[str, Any]] = {}
        self.status = 200
        self.refuses: set[str] = set()
        self.puts_left: int | None = None
        self.unseen = 0
        self.asked: list[str] = []
        self._rev_us = 0

    def routes(self) -> Iterable[web.RouteDef]:
        for verb, name, handler in (
            ("GET", "getRecord", self._get),
            ("GET", "listRecords", self._list),
            ("POST", "putRecord", self._put),
            ("POST", "deleteRecord", self._delete),
        ):
            yield web.route(verb, f"/xrpc/com.atproto.repo.{name}", self._ready(name, handler))

    def credentials(self, did: Did) -> Credentials:
        return credentials_at(self.url, did)

    def rev(self) -> Tid:
        """Newer than all before, and not in the future."""
        self._rev_us = max(self._rev_us + 1, time.time_ns() // 1000)
        return tid_from_us(self._rev_us)

    def _ready(self, name: str, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            self.asked.append(name)
            if self.status != 200:
                return web.json_response({"error": "Elsewhere"}, status=self.status)
            return await handler(request)

        return handle

    async def _get(self, request: web.Request) -> web.Response:
        path = request.query["repo"], request.query["collection"], request.query["rkey"]
        record = self.records.get(path)
        if record is None or self.unseen:
            self.unseen -= record is not None
            return web.json_response({"error": "RecordNotFound", "message": "none"}, status=400)
        return web.json_response({"uri": _uri(path), "cid": _cid(record), "value": record})

    async def _list(self, request: web.Request) -> web.Response:
        """By key, falling, as the reference server does it; `cursor` is the last of the page before."""
        of, limit = (request.query["repo"], request.query["collection"]), int(request.query["limit"])
        assert limit <= 100
        cursor = request.query.get("cursor")
        paths = sorted((path for path in self.records if path[:2] == of), reverse=True)
        left = [path for path in paths if cursor is None or path[2] < cursor]
        page = [
            {"uri": _uri(path), "cid": _cid(self.records[path]), "value": self.records[path]}
            for path in left[:limit]
        ]
        more = {"cursor": left[limit - 1][2]} if len(left) >= limit else {}
        return web.json_response({"records": page} | more)

    async def _put(self, request: web.Request) -> web.Response:
        told = await request.json()
        path = told["repo"], told["collection"], told["rkey"]
        if self.puts_left is not None:
            self.puts_left -= 1
            if self.puts_left < 0:
                return web.json_response({"error": "Elsewhere"}, status=503)
        if path[2] in self.refuses:
            return web.json_response({"error": "InvalidRecord", "message": "not this one"}, status=400)
        before = self.records.get(path)
        if "swapRecord" in told and told["swapRecord"] != (None if before is None else _cid(before)):
            return web.json_response({"error": "InvalidSwap", "message": "another"}, status=400)
        self.records[path] = told["record"]
        return web.json_response({"uri": _uri(path), "cid": _cid(told["record"]), "commit": self._commit()})

    async def _delete(self, request: web.Request) -> web.Response:
        told = await request.json()
        if self.records.pop((told["repo"], told["collection"], told["rkey"]), None) is None:
            return web.json_response({})
        return web.json_response({"commit": self._commit()})

    def _commit(self) -> dict[str, str]:
        return {"cid": _cid({}), "rev": self.rev()}


def _uri(path: Path) -> str:
    return "at://" + "/".join(path)


def _cid(record: dict[str, Any]) -> str:
    return cid_of(encode(from_json(record)))


class Neighbours(Village):
    """A village whose people have their records at a PDS."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        super().__init__()
        self._http = http

    async def revoke(self, credentials: Credentials) -> None:
        self.revoked.append(credentials.did)

    async def call_pds(
        self, credentials: Credentials, method: str, nsid: str, **options: Any
    ) -> tuple[PdsAnswer, Credentials]:
        kind = options.get("content_type")
        headers = {} if kind is None else {"Content-Type": kind}
        url, params, body = f"{credentials.pds}/xrpc/{nsid}", options.get("params"), options.get("body")
        answer = await asked_at(self._http, method, url, params=params, data=body, headers=headers)
        return answer, credentials
