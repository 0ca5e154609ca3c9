"""A PLC directory that also answers for handles: who a DID is, and whom a handle names.

async with FakePlc() as plc:
    plc.publish(repo, pds.origin)         # its document, and its handle leads to it
    plc.tombstone(repo.did)               # 410 from now on
    IdentityResolver(client, plc.origin, handle_resolvers=[plc.origin])
"""

from __future__ import annotations

from typing import Any

from tests.fakenet.http import Page, json_page
from tests.fakenet.repo import FakeRepo
from tests.fakenet.server import Fault, XrpcServer, xrpc_error

RESOLVE = "com.atproto.identity.resolveHandle"


class FakePlc(XrpcServer):
    """`docs` by DID, `handles` as {handle: DID}, `tombstones` as DIDs that were given up."""

    def __init__(self, *, patience_s: float = 60) -> None:
        super().__init__(patience_s=patience_s)
        self.docs: dict[str, dict[str, Any]] = {}
        self.handles: dict[str, str] = {}
        self.tombstones: set[str] = set()

    def publish(self, repo: FakeRepo, pds: str, *, resolves: bool = True) -> None:
        """The document of `repo` as it is now, with this PDS; whoever had its handle has it no more."""
        self.docs[repo.did] = repo.did_doc(pds)
        self.tombstones.discard(repo.did)
        if resolves:
            self.handles[repo.handle] = repo.did

    def tombstone(self, did: str) -> None:
        self.tombstones.add(did)

    def page(self, nsid: str, query: dict[str, str]) -> Page:
        if nsid == RESOLVE:
            did = self.handles.get(query.get("handle", ""))
            return xrpc_error("HandleNotFound") if did is None else json_page({"did": did})
        did = nsid.removeprefix("/")
        if did in self.tombstones:
            return json_page({"message": f"DID not available: {did}"}, 410)
        if did in self.docs:
            return json_page(self.docs[did])
        return json_page({"message": f"DID not registered: {did}"}, 404)

    def spoil(self, fault: Fault, query: dict[str, str], good: Page) -> Page:
        return good
