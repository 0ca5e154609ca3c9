"""The account that publishes schemas, on its PDS: what it publishes, and writing to it.

    async with SchemaAccount(client, pds, did) as account:
        held = await account.published()
        await account.sign_in(password)
        await account.put(nsid, record, held.get(nsid))

Reading needs nobody's leave. Who signed in is signed out at the end; if that fails it is told, since the
session then lives on until it expires. Nothing is asked twice.

    PublishFailed              for a person, in one line, without a secret in it
    ├── NoSuchAccount          a handle or DID that leads to no PDS
    ├── NoAnswer               no connection, no valid answer, a server's error: try again later
    ├── PasswordRefused        signing in did not work out
    ├── ChangedMeanwhile       the record is not what was read before
    └── Refused                any other refusal
        └── NotThere           there is no such record

    lexicons com.atproto.server.createSession, com.atproto.repo.describeRepo, listRecords, getRecord
    and putRecord
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

import orjson

from firehose.fetch_errors import FetchFailed
from firehose.identity import IdentityError, IdentityResolver, IdentityUnreachable
from firehose.net import GuardedClient, Response, retry_after_s
from lexicons.publication import COLLECTION
from lexicons.syntax import Cid, Did, Nsid, Rkey, is_atproto_did, is_cid, is_nsid

MAX_BYTES = 16 * 1024 * 1024  # a page of a hundred schemas, none above the megabyte of a record
MAX_PAGES = 100
PAGE = 100


class PublishFailed(Exception):
    """The account's PDS did not do as it was asked."""


class NoSuchAccount(PublishFailed):
    """There is no account of this name, or it has no PDS."""


class NoAnswer(PublishFailed):
    """Nothing usable came; asking later may help."""


class PasswordRefused(PublishFailed):
    """The PDS does not take the password."""


class ChangedMeanwhile(PublishFailed):
    """Somebody else wrote the record after it was read."""


class Refused(PublishFailed):
    """The PDS understood and does not do it."""


class NotThere(Refused):
    """The account has no record of this name."""


@dataclass(frozen=True, slots=True)
class Published:
    """A record that is there; `value` is JSON."""

    cid: Cid
    value: object


async def locate(resolver: IdentityResolver, account: str) -> tuple[Did, str]:
    """DID and PDS behind a handle or DID. A handle has to hold both ways. Raises PublishFailed."""
    try:
        did = Did(account) if is_atproto_did(account) else await resolver.resolve_handle(account)
        if did is None:
            raise NoSuchAccount(f"{account} leads to no account: is it spelled right?")
        doc = await resolver.resolve(did)
    except IdentityUnreachable as error:
        raise NoAnswer(str(error)) from error
    except IdentityError as error:
        raise NoSuchAccount(str(error)) from error
    if did != account and doc.handle != account.lower():
        raise NoSuchAccount(f"{account} leads to {did}, whose document does not claim that handle")
    if doc.pds is None:
        raise NoSuchAccount(f"the DID document of {did} names no PDS")
    return did, doc.pds


class SchemaAccount:
    """One account. `told` hears of what went wrong at the end and changes nothing any more."""

    def __init__(
        self,
        client: GuardedClient,
        pds: str,
        did: Did,
        *,
        timeout_s: float = 15,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.did = did
        self.pds = pds
        self._client = client
        self._timeout_s = timeout_s
        self._told = told
        self._access: str | None = None
        self._refresh: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._refresh is None:
            return
        refresh, self._access, self._refresh = self._refresh, None, None
        try:
            await self._call("POST", "com.atproto.server.deleteSession", token=refresh)
        except PublishFailed as failed:
            self._told(f"the session on {self.pds} was not closed and expires by itself: {failed}")

    async def published(self) -> dict[Nsid, Published]:
        """Every schema that the account publishes, by name."""
        found: dict[Nsid, Published] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = {"repo": self.did, "collection": COLLECTION, "limit": str(PAGE)}
            body = await self._call(
                "GET",
                "com.atproto.repo.listRecords",
                params=params | ({} if cursor is None else {"cursor": cursor}),
            )
            page, following = body.get("records"), body.get("cursor")
            if type(page) is not list or not (following is None or type(following) is str):
                raise NoAnswer(f"{self.pds} answers listRecords with something else than records")
            found |= dict(self._record(line) for line in cast("list[object]", page))
            if not page or following is None or following == cursor:
                return found
            cursor = following
        raise NoAnswer(f"{self.pds} lists more than {MAX_PAGES * PAGE} schemas of {self.did}")

    async def sign_in(self, password: str) -> None:
        """Open a session, good until the end of the `async with`."""
        # A PDS looks for identifiers in lower case, and the DID of a host with a port has %3A.
        name = self.did if self.did == self.did.lower() else await self._handle()
        sent = {"identifier": name, "password": password}
        body = await self._call("POST", "com.atproto.server.createSession", sent)
        access, refresh = body.get("accessJwt"), body.get("refreshJwt")
        if type(access) is not str or type(refresh) is not str or body.get("did") != self.did:
            raise NoAnswer(f"{self.pds} signed in somebody else, or nobody")
        self._access, self._refresh = access, refresh

    async def put(self, nsid: Nsid, record: Mapping[str, Any], before: Published | None) -> None:
        """Write a schema in the place of what was read before, None: nothing was there."""
        await self.put_record(COLLECTION, Rkey(nsid), record, before)

    async def record(self, collection: Nsid, rkey: Rkey) -> Published | None:
        """Any record of the account."""
        params = {"repo": self.did, "collection": collection, "rkey": rkey}
        try:
            body = await self._call("GET", "com.atproto.repo.getRecord", params=params)
        except NotThere:
            return None
        cid = body.get("cid")
        if type(cid) is not str or not is_cid(cid):
            raise NoAnswer(f"{self.pds} gives a record without CID")
        return Published(Cid(cid), body.get("value"))

    async def put_record(
        self, collection: Nsid, rkey: Rkey, record: Mapping[str, Any], before: Published | None
    ) -> None:
        """As `put`, of any collection."""
        sent = {
            "repo": self.did,
            "collection": collection,
            "rkey": rkey,
            "record": record,
            "swapRecord": None if before is None else before.cid,
        }
        await self._call("POST", "com.atproto.repo.putRecord", sent, token=self._access)

    async def _handle(self) -> str:
        body = await self._call("GET", "com.atproto.repo.describeRepo", params={"repo": self.did})
        handle = body.get("handle")
        if type(handle) is not str:
            raise NoAnswer(f"{self.pds} names no handle of {self.did}")
        return handle

    def _record(self, line: object) -> tuple[Nsid, Published]:
        if type(line) is dict:
            fields = cast("dict[str, Any]", line)
            uri, cid = fields.get("uri"), fields.get("cid")
            rkey = uri.rpartition("/")[2] if type(uri) is str else ""
            if is_nsid(rkey) and type(cid) is str and is_cid(cid):
                return Nsid(rkey), Published(Cid(cid), fields.get("value"))
        raise NoAnswer(f"{self.pds} lists a schema without name or CID")

    async def _call(
        self,
        verb: str,
        method: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        query = f"?{urlencode(params, safe=':')}" if params else ""
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            response = await self._client.request(
                verb,
                f"{self.pds}/xrpc/{method}{query}",
                headers=headers,
                json=body,
                max_bytes=MAX_BYTES,
                timeout_s=self._timeout_s,
            )
        except FetchFailed as error:
            raise NoAnswer(f"{self.pds} does not answer: {error}") from error
        if response.status != 200:
            raise self._refusal(method, response)
        if not response.body:
            return {}
        if (found := _object(response.body)) is None:
            raise NoAnswer(f"{self.pds} answers {method} with something else than JSON")
        return found

    def _refusal(self, method: str, response: Response) -> PublishFailed:
        told = _object(response.body) or {}
        name, message = (_line(told.get(key)) for key in ("error", "message"))
        said = f"{self.pds} says {response.status} {name} {message}".rstrip()
        if response.status == 429:
            wait_s = retry_after_s(response.headers)
            return NoAnswer(f"{said}: try again " + (f"in {wait_s:.0f} s" if wait_s else "later"))
        if response.status >= 500:
            return NoAnswer(said)
        if name == "InvalidSwap":
            return ChangedMeanwhile(said)
        if method == "com.atproto.server.createSession":
            return PasswordRefused(said)
        if name == "RecordNotFound":
            return NotThere(said)
        return Refused(said)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", found) if type(found) is dict else None


def _line(value: object) -> str:
    return " ".join(value[:300].split()) if type(value) is str else ""
