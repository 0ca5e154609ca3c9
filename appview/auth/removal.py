"""A person's records of ours on their own PDS, removed in their name.

Whatever is listed is removed, a batch at a time; a batch is all or nothing at the PDS. Nothing is remembered
of how far it came: the list says what is left.

    NotRemoved         for now: the PDS does not answer, refuses in passing, or wants to be left alone
    RemovalRefused     for good: the grant is gone, or does not allow it
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from appview.auth.credentials import CredentialsFailed, NotNow
from appview.pds import Pds, PdsUnreachable
from firehose.net import retry_after_s
from lexicons.syntax import Did, Nsid, Rkey, is_rkey

BATCH = 50
PAGE = 100
MAX_PAGES = 1_000  # of a collection: their keys are held together
_APPLY, _LIST = "com.atproto.repo.applyWrites", "com.atproto.repo.listRecords"


class NotRemoved(Exception):
    """Some are still there; `wait_s` is for how long the PDS is to be left alone at least."""

    def __init__(self, reason: str, wait_s: float = 0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class RemovalRefused(Exception):
    """They stay there: nobody may remove them for the person."""


class Key(NamedTuple):
    collection: Nsid
    rkey: Rkey


class Removal:
    """The records of one account in these collections, through the grant of one session."""

    def __init__(self, pds: Pds, session_id: int, did: Did, collections: Collection[Nsid]) -> None:
        self._pds = pds
        self._session_id = session_id
        self._did = did
        self._collections = sorted(collections)

    async def listed(self) -> list[Key]:
        """What is there now."""
        return [key for collection in self._collections for key in await self._of(collection)]

    async def remove(self, keys: Sequence[Key]) -> None:
        """Remove up to BATCH records that were listed."""
        writes = [
            {"$type": f"{_APPLY}#delete", "collection": key.collection, "rkey": key.rkey} for key in keys
        ]
        await self._call("POST", _APPLY, body={"repo": self._did, "writes": writes})

    async def _of(self, collection: Nsid) -> list[Key]:
        found: list[Key] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = {"repo": self._did, "collection": collection, "limit": str(PAGE)}
            page = await self._call("GET", _LIST, params | ({} if cursor is None else {"cursor": cursor}))
            records, following = page.get("records"), page.get("cursor")
            if not isinstance(records, list):
                raise NotRemoved("the PDS lists no records")
            if len(records) > PAGE:
                raise NotRemoved("the PDS lists more records than it was asked for")
            found += [Key(collection, _rkey(record)) for record in records]
            if not records or not isinstance(following, str) or following == cursor:
                return found
            cursor = following
        raise NotRemoved("the PDS lists records without an end")

    async def _call(
        self,
        method: str,
        nsid: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        sent = None if body is None else orjson.dumps(body)
        kind = None if body is None else "application/json"
        try:
            answer = await self._pds.call(
                self._session_id, method, nsid, params=params, body=sent, content_type=kind
            )
        except (NotNow, PdsUnreachable) as error:
            raise NotRemoved(str(error)) from error
        except CredentialsFailed as error:
            raise RemovalRefused(str(error)) from error
        told = _object(answer.body)
        if answer.status == 200:
            return told
        said = f"the PDS says {answer.status} {str(told.get('error') or '')[:100]}".rstrip()
        if answer.status in (401, 403):
            raise RemovalRefused(said)
        raise NotRemoved(said, retry_after_s(answer.headers) or 0)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _rkey(record: object) -> Rkey:
    uri = record.get("uri") if isinstance(record, dict) else None
    rkey = uri.rpartition("/")[2] if isinstance(uri, str) else ""
    if not is_rkey(rkey):
        raise NotRemoved("the PDS lists a record without a key")
    return Rkey(rkey)
