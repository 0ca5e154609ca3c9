"""A PDS that its people write to: real repos behind `com.atproto.repo.*`, which remembers every commit.

    async with HomePds() as pds:
        ann = pds.settle("ann")                      # her token is her DID
        pds.instead["com.atproto.repo.putRecord"] = json_page({…}, 503)
        pds.held["com.atproto.repo.putRecord"] = event  # it is done, and the answer waits for this
        pds.commits[ann.did]                         # as the firehose would bring them

It takes whoever shows a token at their word, and grants back: what is proven of these is tested elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import libipld
import orjson
from aiohttp import web

from firehose.car import block_cid
from firehose.commit import verify_commit
from firehose.events import Commit
from firehose.keys import PublicKey
from lexicons.syntax import Did
from tests.fakenet.authserver import METADATA, REVOKE, metadata_of
from tests.fakenet.http import Page, json_page
from tests.fakenet.port import OnPort
from tests.fakenet.server import xrpc_error
from tests.fakenet.world import Author

REPO = "com.atproto.repo."


class HomePds(OnPort):
    """`people` by DID; `asked` counts calls by name; records of `lost_blobs` are refused."""

    host = "localhost"

    def __init__(self) -> None:
        super().__init__()
        self.people: dict[Did, Author] = {}
        self.commits: dict[Did, list[Commit]] = defaultdict(list)
        self.instead: dict[str, Page] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.lost_blobs: set[str] = set()
        self.asked: Counter[str] = Counter()

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.route("*", "/xrpc/{nsid}", self._answer),
            web.get(METADATA, self._metadata),
            web.post(REVOKE, self._revoke),
        )

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response(metadata_of(self.url))

    async def _revoke(self, _: web.Request) -> web.Response:
        return web.json_response({}, headers={"DPoP-Nonce": "nonce-0"})

    def settle(self, seed: object) -> Author:
        person = Author(seed)
        self.people[person.did] = person
        return person

    def write(self, did: Did, action: str, collection: str, rkey: str, record: Any) -> Commit:
        """What they write by another app."""
        person = self.people[did]
        now_us = time.time_ns() // 1000
        body = person.repo.write([(action, collection, rkey, record)], now_us)
        commit = verify_commit(body, PublicKey.parse(person.repo.key.did_key), now_us + 1_000_000)
        self.commits[did].append(commit)
        return commit

    def records(self, did: Did, collection: str) -> dict[str, dict[str, Any]]:
        """By key, all that is there."""
        repo = self.people[did].repo
        paths = (path.split("/") for path, _ in repo.listing())
        return {rkey: repo.get(collection, rkey) or {} for found, rkey in paths if found == collection}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        nsid = request.match_info["nsid"]
        self.asked[nsid] += 1
        page = self.instead.get(nsid)
        if page is None:
            did = Did(request.headers.get("Authorization", "").rpartition(" ")[2])
            if did not in self.people:
                page = xrpc_error("AuthenticationRequired", "who is that?", 401)
            else:
                told = orjson.loads(await request.read() or b"{}")
                page = self._done(nsid.removeprefix(REPO), did, {**request.query, **told})
            if (event := self.held.get(nsid)) is not None:
                await event.wait()
        return web.Response(body=page.body, status=page.status, headers=page.headers)

    def _done(self, name: str, did: Did, asked: dict[str, Any]) -> Page:
        if asked.get("repo") != did:
            return xrpc_error("AuthMissing", "of somebody else", 403)
        match name:
            case "listRecords":
                collection = asked["collection"]
                listed = [self._listed(did, collection, rkey) for rkey in self.records(did, collection)]
                return json_page({"records": listed})
            case "getRecord":
                if self.people[did].repo.get(asked["collection"], asked["rkey"]) is None:
                    return xrpc_error("RecordNotFound", "no such record")
                return json_page(self._listed(did, asked["collection"], asked["rkey"]))
            case "putRecord":
                return self._put(did, asked)
            case "deleteRecord":
                return self._delete(did, asked["collection"], asked["rkey"])
            case "applyWrites":
                for write in asked["writes"]:
                    self._delete(did, write["collection"], write["rkey"])
                return json_page({})
            case _:
                return xrpc_error("MethodNotImplemented", f"no {name} here", 501)

    def _put(self, did: Did, asked: dict[str, Any]) -> Page:
        collection, rkey, record = asked["collection"], asked["rkey"], asked["record"]
        blob = record.get("audioBlob", {}).get("ref", {}).get("$link")
        if blob in self.lost_blobs:
            return xrpc_error("InvalidRequest", f"Could not find blob: {blob}")
        before = self.people[did].repo.get(collection, rkey)
        if "swapRecord" in asked and asked["swapRecord"] != (None if before is None else _cid(before)):
            return xrpc_error("InvalidSwap", "Record was at another version")
        told = {"uri": f"at://{did}/{collection}/{rkey}", "cid": _cid(record), "validationStatus": "valid"}
        if before == record:
            return json_page(told)
        commit = self.write(did, "create" if before is None else "update", collection, rkey, record)
        return json_page(told | {"commit": {"cid": told["cid"], "rev": commit.rev}})

    def _delete(self, did: Did, collection: str, rkey: str) -> Page:
        if self.people[did].repo.get(collection, rkey) is None:
            return json_page({})
        commit = self.write(did, "delete", collection, rkey, None)
        return json_page({"commit": {"cid": "", "rev": commit.rev}})

    def _listed(self, did: Did, collection: str, rkey: str) -> dict[str, Any]:
        value = self.people[did].repo.get(collection, rkey)
        return {"uri": f"at://{did}/{collection}/{rkey}", "cid": _cid(value), "value": value}


def _cid(record: Any) -> str:
    return libipld.encode_cid(block_cid(libipld.encode_dag_cbor(record)))
