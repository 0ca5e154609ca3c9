"""What a host of repos (a PDS or a relay) says over XRPC, in types; every refusal is an error of
`firehose.host_errors`.

Nothing here asks twice. `Lanes` shares out the host's slots and remembers its rests, across all
who ask it; when to ask again is the caller's, in the database.

    lexicons com.atproto.sync.*, com.atproto.repo.describeRepo, com.atproto.server.describeServer; rules
    E2, E4
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any, BinaryIO, NamedTuple, TypeGuard, cast
from urllib.parse import urlencode, urlsplit

import orjson

from firehose.fetch_errors import FetchFailed, TooLarge
from firehose.host_errors import (
    UNAVAILABLE,
    HostError,
    HostRefused,
    HostUnreachable,
    MethodMissing,
    RateLimited,
)
from firehose.lanes import MAX_REST_S, Lanes, Resting
from firehose.net import GuardedClient, Response, retry_after_s
from lexicons.syntax import Cid, Did, Nsid, Rev, is_cid, is_did, is_nsid, is_tid

CAR_TYPE = "application/vnd.ipld.car"
MAX_JSON_BYTES = 4 * 1024 * 1024
_MAX_CURSOR = 4096
_MAX_STATUS = 64


class Download(NamedTuple):
    """A repo that was fetched: the origin that gave it in the end, redirects followed, and its bytes."""

    origin: str
    size: int


class LatestCommit(NamedTuple):
    """The newest commit that the host has of a repo."""

    cid: Cid
    rev: Rev


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """What the host thinks of an account: `status` explains where it is not simply active."""

    active: bool
    status: str | None
    rev: Rev | None


@dataclass(frozen=True, slots=True)
class ListedRepo:
    """A line of `listRepos`; of `listReposByCollection` only the DID is there."""

    did: Did
    rev: Rev | None = None
    active: bool = True
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list. `cursor` None is its end; `skipped` lines had no DID."""

    repos: tuple[ListedRepo, ...]
    cursor: str | None
    skipped: int = 0


class SyncHost:
    """One host, asked through the guarded client in its lane. All methods raise `HostError` alone.

    The catch: the origin is taken as it comes, out of a DID document or from settings; what may be
    gone to is the client's judgement.
    """

    def __init__(
        self,
        client: GuardedClient,
        origin: str,
        lanes: Lanes | None = None,
        *,
        timeout_s: float = 15,
        repo_timeout_s: float = 1800,
        idle_s: float = 30,
        min_rate: float = 8192,
        max_repo_bytes: int = 2 * 1024**3,
    ) -> None:
        self.origin = origin.rstrip("/")
        self._client = client
        self._lanes = lanes or Lanes()
        self._timeout_s = timeout_s
        self._repo_timeout_s = repo_timeout_s
        self._idle_s = idle_s
        self._min_rate = min_rate
        self._max_repo_bytes = max_repo_bytes

    async def get_repo(self, did: Did, file: BinaryIO, since: Rev | None = None) -> Download:
        """The repo's CAR, unread, written to `file` from where it stands; with `since`, what came after.

        After an error the file may hold a part. `OSError` is the file's own.
        """
        start = file.tell()
        url = self._url("com.atproto.sync.getRepo", {"did": did, "since": since})
        response = await self._ask(url, file)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith("text/") or kind == "application/json":
            self._lanes.failed(self.origin)
            shown = kind[:40].encode("ascii", "replace").decode()  # headers are bytes, whatever they spell
            raise HostUnreachable(self.origin, f"{shown} instead of a repo")
        parts = urlsplit(response.url)
        return Download(f"{parts.scheme}://{parts.netloc}", file.tell() - start)

    async def repo_status(self, did: Did) -> RepoStatus:
        """What the host thinks of the account now (rules C4, C5)."""
        body = await self._json("com.atproto.sync.getRepoStatus", {"did": did})
        active, status = body.get("active"), body.get("status")
        if body.get("did") != did or type(active) is not bool or not (status is None or _is_word(status)):
            raise self._useless("getRepoStatus without the account's status")
        return RepoStatus(active, status, _rev(body.get("rev")))

    async def latest_commit(self, did: Did) -> LatestCommit:
        """CID and rev of the newest commit (rule E9)."""
        body = await self._json("com.atproto.sync.getLatestCommit", {"did": did})
        cid, rev = body.get("cid"), _rev(body.get("rev"))
        if type(cid) is not str or not is_cid(cid) or rev is None:
            raise self._useless("getLatestCommit without cid and rev")
        return LatestCommit(Cid(cid), rev)

    async def list_repos(self, cursor: str | None = None, limit: int = 1000) -> Page:
        """A page of all repos of the host, with their states."""
        return await self._page("com.atproto.sync.listRepos", {"cursor": cursor, "limit": str(limit)})

    async def list_repos_by_collection(
        self, collection: Nsid, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        """A page of the repos that hold, or held, records of the collection (rule E2)."""
        params = {"collection": collection, "cursor": cursor, "limit": str(limit)}
        return await self._page("com.atproto.sync.listReposByCollection", params)

    async def describe_repo(self, did: Did) -> tuple[Nsid, ...]:
        """The collections of a repo."""
        body = await self._json("com.atproto.repo.describeRepo", {"repo": did})
        listed = body.get("collections")
        if body.get("did") != did or type(listed) is not list:
            raise self._useless("describeRepo without collections")
        return tuple(Nsid(name) for name in cast("list[Any]", listed) if type(name) is str and is_nsid(name))

    async def is_pds(self) -> bool:
        """Whether it says of itself that it is a home of accounts: by `describeServer`, which relays do not
        have, and which they ask a host before they follow it."""
        try:
            body = await self._json("com.atproto.server.describeServer", {})
        except MethodMissing:
            return False
        did = body.get("did")
        return type(did) is str and is_did(did) and type(body.get("availableUserDomains")) is list

    async def _page(self, method: str, params: Mapping[str, str | None]) -> Page:
        body = await self._json(method, params)
        listed, cursor = body.get("repos"), body.get("cursor")
        if type(listed) is not list or not (cursor is None or type(cursor) is str):
            raise self._useless(f"{method} without repos")
        if cursor is not None and (len(cursor) > _MAX_CURSOR or "\0" in cursor):
            raise self._useless(f"{method} with a cursor of {len(cursor)} characters that cannot be kept")
        lines = cast("list[Any]", listed)
        repos = tuple(repo for repo in map(_listed, lines) if repo is not None)
        return Page(repos, cursor or None, len(lines) - len(repos))

    async def _json(self, method: str, params: Mapping[str, str | None]) -> dict[str, Any]:
        response = await self._ask(self._url(method, params), None)
        try:
            body = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            body = None
        if type(body) is not dict:
            self._lanes.failed(self.origin)
            raise HostUnreachable(self.origin, f"{method} is answered by something else than JSON")
        return cast("dict[str, Any]", body)

    async def _ask(self, url: str, file: BinaryIO | None) -> Response:
        """The 200 answer; everything else is an error, and the lane knows of it."""
        try:
            async with self._lanes.turn(self.origin):
                if file is None:
                    response = await self._client.get_bytes(
                        url, max_bytes=MAX_JSON_BYTES, timeout_s=self._timeout_s, accept="application/json"
                    )
                else:
                    response = await self._client.download(
                        url,
                        file,
                        max_bytes=self._max_repo_bytes,
                        timeout_s=self._repo_timeout_s,
                        idle_s=self._idle_s,
                        min_rate=self._min_rate,
                        accept=CAR_TYPE,
                    )
        except Resting as rest:
            kind = RateLimited if rest.limited else HostUnreachable
            raise kind(self.origin, "is left alone for now", rest.wait_s) from None
        except TooLarge as error:  # says something about the repo, nothing about the host's health
            raise HostRefused(self.origin, str(error)) from error
        except FetchFailed as error:
            self._lanes.failed(self.origin)
            raise HostUnreachable(self.origin, str(error), self._lanes.rest_s(self.origin) or None) from error
        if response.status == 200:
            self._lanes.answered(self.origin)
            return response
        raise self._refusal(response)

    def _refusal(self, response: Response) -> HostError:
        status, (name, message) = response.status, _xrpc_error(response.body)
        what = f"HTTP {status} {name} {message}".rstrip()
        if status == 429:
            rest_s = self._lanes.limit(self.origin, limit_s(response.headers, time()))
            return RateLimited(self.origin, what, rest_s)
        if status >= 500 and status != 501:
            self._lanes.failed(self.origin)
            wait_s = retry_after_s(response.headers)
            return HostUnreachable(self.origin, what, None if wait_s is None else min(wait_s, MAX_REST_S))
        self._lanes.answered(self.origin)
        if 400 <= status < 500 and name in UNAVAILABLE:
            return UNAVAILABLE[name](self.origin, what)
        # a PDS would pass on a call that it does not know, and says this if it knows nobody to pass it to
        nobody = name == "InvalidRequest" and message.startswith("No service configured for ")
        if status in (404, 405, 501) or nobody or name in ("MethodNotImplemented", "UnknownMethod"):
            return MethodMissing(self.origin, what)
        return HostRefused(self.origin, what)

    def _useless(self, what: str) -> HostUnreachable:
        return HostUnreachable(self.origin, what)

    def _url(self, method: str, params: Mapping[str, str | None]) -> str:
        query = urlencode({name: value for name, value in params.items() if value is not None}, safe=":")
        return f"{self.origin}/xrpc/{method}?{query}"


def limit_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """For how long a 429 wants to be left alone: Retry-After, or RateLimit-Reset (epoch seconds)."""
    found = retry_after_s(headers)
    if found is not None:
        return found
    reset = headers.get("RateLimit-Reset", "").strip()
    if not (reset.isascii() and reset.isdigit() and len(reset) < 12):
        return None
    return max(1.0, int(reset) - now_s)


def _xrpc_error(body: bytes) -> tuple[str, str]:
    """Name and message of an XRPC error, both empty for a body of another kind; for people, cut short."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if type(found) is not dict:
        return "", ""
    told = cast("dict[str, Any]", found)
    name, message = told.get("error"), told.get("message")
    return (
        name[:100].replace("\0", "") if type(name) is str else "",
        message[:300].replace("\0", "") if type(message) is str else "",
    )


def _listed(line: object) -> ListedRepo | None:
    if type(line) is not dict:
        return None
    repo = cast("dict[str, Any]", line)
    did, status = repo.get("did"), repo.get("status")
    if type(did) is not str or not is_did(did):
        return None
    return ListedRepo(
        did=Did(did),
        rev=_rev(repo.get("rev")),
        active=repo.get("active") is not False,
        status=status if type(status) is str else None,
    )


def _is_word(value: object) -> TypeGuard[str]:
    """A status is an open set, but a name all the same: nothing else is kept or shown."""
    return type(value) is str and len(value) <= _MAX_STATUS and value.isascii() and value.isprintable()


def _rev(value: object) -> Rev | None:
    return Rev(value) if type(value) is str and is_tid(value) else None
