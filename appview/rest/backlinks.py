"""Who points at a track, asked as one asks Constellation, the network's index of links.

    GET /links/all?target=                                every source, with records and accounts
    GET /links/count?target=&collection=&path=            records
    GET /links/count/distinct-dids?target=&…              accounts
    GET /links?target=&…&limit=&cursor=                   the records themselves, latest first

We know three sources, whose records we hold and have verified: likes and comments (`.subject.uri`), and
the items of lists (`.items[].subject.uri`). Of others we know nothing, and say so instead of zero.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web

from appview import cursors
from appview.errors import InvalidRequest
from appview.rest.answers import Refused, answer, rest
from appview.rest.spec import described, query_of
from indexer.prepare import track_uri
from lexicons.catalog import Collections
from lexicons.syntax import AtUri, Nsid
from storage import backlinks, keyset
from storage.backlinks import Source
from storage.reader import Reads

MOST = 100
_SUBJECT, _ITEM = ".subject.uri", ".items[].subject.uri"
_NO_TARGET = "target is the at:// URI of a track, by the DID of its artist"


class Target(msgspec.Struct):
    target: Annotated[str, msgspec.Meta(max_length=1024)]


class Question(Target):
    collection: Annotated[str, msgspec.Meta(max_length=317)]
    path: Annotated[str, msgspec.Meta(max_length=200)]


class Paged(Question):
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 16
    cursor: str | None = None


class Total(msgspec.Struct):
    total: int


class Linking(msgspec.Struct):
    did: str
    collection: str
    rkey: str


class Links(msgspec.Struct):
    total: int
    linking_records: list[Linking]
    cursor: str | None


class SourceCount(msgspec.Struct):
    records: int
    distinct_dids: int


class AllLinks(msgspec.Struct):
    """By collection, then by path."""

    links: dict[str, dict[str, SourceCount]]


_ERRORS = {400: "no track, or a collection or path that we don't index"}


class Backlinks:
    def __init__(self, reads: Reads, collections: Collections) -> None:
        self._reads = reads
        self._collections = collections
        self._sources: dict[tuple[Nsid, str], Source] = {
            (collections.like, _SUBJECT): Source.LIKE,
            (collections.comment, _SUBJECT): Source.COMMENT,
            (collections.list, _ITEM): Source.LIST,
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/links", rest(self.records))
        router.add_get("/links/all", rest(self.all))
        router.add_get("/links/count", rest(self.count))
        router.add_get("/links/count/distinct-dids", rest(self.accounts))

    @described("Records that point at a track, latest first", answer=Links, query=Paged, errors=_ERRORS)
    async def records(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, Paged)
        target, source = self._target(asked.target), self._source(asked)
        try:
            after = cursors.decode(asked.cursor, keyset.TIME_REPO_RKEY)
        except InvalidRequest as error:
            raise Refused(400, str(error)) from None
        total, page = await asyncio.gather(
            backlinks.count(self._reads, source, target),
            backlinks.records(self._reads, source, target, after, asked.limit),
        )
        found = [{"did": did, "collection": asked.collection, "rkey": rkey} for did, rkey in page.rows]
        cursor = None if page.next is None else cursors.encode(page.next).decode()
        return answer({"total": total, "linking_records": found, "cursor": cursor})

    @described("How many point at a track, by source", answer=AllLinks, query=Target, errors=_ERRORS)
    async def all(self, request: web.Request) -> web.StreamResponse:
        counts = await backlinks.counts(self._reads, self._target(query_of(request, Target).target))
        links: dict[str, dict[str, dict[str, int]]] = {}
        for (collection, path), source in self._sources.items():
            count = counts[source]
            if count.records:
                told = {"records": count.records, "distinct_dids": count.accounts}
                links.setdefault(collection, {})[path] = told
        return answer({"links": links})

    @described("How many records point at a track", answer=Total, query=Question, errors=_ERRORS)
    async def count(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, Question)
        target, source = self._target(asked.target), self._source(asked)
        return answer({"total": await backlinks.count(self._reads, source, target)})

    @described("Of how many accounts", answer=Total, query=Question, errors=_ERRORS)
    async def accounts(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, Question)
        target, source = self._target(asked.target), self._source(asked)
        return answer({"total": await backlinks.accounts(self._reads, source, target)})

    def _target(self, text: str) -> AtUri:
        uri = track_uri(text, self._collections) if text.startswith("at://") else None
        if uri is None:
            raise Refused(400, _NO_TARGET)
        return uri

    def _source(self, asked: Question) -> Source:
        source = self._sources.get((Nsid(asked.collection), asked.path))
        if source is None:
            known = ", ".join(f"{collection} {path}" for collection, path in self._sources)
            raise Refused(400, f"only these are indexed here: {known}")
        return source
