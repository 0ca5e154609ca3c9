"""Records and blobs of one person on their PDS, read and written in their name.

Every attempt is logged with what came of it and how long it took. Nothing is tried twice here but what
`appview.pds` tries twice; whoever writes under a key that it made itself may simply write again.

    WriteFailed
    ├── NotSignedIn    nobody may act for this person any more: they have to sign in again
    ├── Away           no answer, or one that may be another next time; it may have been done
    ├── Swapped        the record is not the one that was read: read it again
    ├── TooLarge       more bytes than the PDS takes
    └── Declined       the PDS will not do it; the text is its own
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import structlog

from appview.auth.credentials import CredentialsFailed, NotNow
from appview.auth.oauth import PdsAnswer
from appview.pds import TIMEOUT_S, Pds, PdsUnreachable
from firehose.events import Action
from firehose.message import is_future
from firehose.net import Streamed, retry_after_s
from indexer.cards import iso
from indexer.written import OwnWrite
from lexicons.datamodel import cid_of, encode, from_json
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey, is_cid, is_rkey, is_tid, tid_from_us

LEAST_BYTES_PER_S = 100_000  # a PDS that takes a blob more slowly is not waited for
_REPO = "com.atproto.repo."
_JSON = "application/json"
_MOST_SAID = 200

log = structlog.get_logger()

Record = dict[str, Any]


def fresh_rkey() -> Rkey:
    """A TID of now, for a record that is to be written: whoever does not know whether it was, may say it
    again."""
    return Rkey(tid_from_us(time.time_ns() // 1000, random.randrange(1024)))


def now_text() -> str:
    """Now, as records have it."""
    return iso(datetime.now(UTC))


class WriteFailed(Exception):
    """The PDS did not do what it was asked for."""


class NotSignedIn(WriteFailed):
    """There is no grant to act with."""


class Away(WriteFailed):
    """The PDS, or its authorization server, is away; `wait_s`: it wants to be left alone for so long."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Swapped(WriteFailed):
    """Somebody else wrote the record meanwhile."""


class TooLarge(WriteFailed):
    """The PDS takes no blob of that size."""


class Declined(WriteFailed):
    """The PDS refuses, for good, or the grant does not go so far."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record as it is on the PDS, in JSON form, with all fields that we don't know."""

    cid: Cid
    value: Record


@dataclass(frozen=True, slots=True)
class Put:
    """What is there now. `write` None: it was there already, or is not what we sent, and the firehose tells
    the rest."""

    uri: str
    cid: Cid
    write: OwnWrite | None


class Records:
    """One person's, through the grant of one session."""

    def __init__(self, pds: Pds, session_id: int, did: Did) -> None:
        self._pds = pds
        self._session_id = session_id
        self._did = did

    async def get(self, collection: Nsid, rkey: Rkey) -> Found | None:
        params = {"repo": self._did, "collection": collection, "rkey": rkey}
        answer = await self._call("GET", "getRecord", params=params)
        if answer.status == 400 and _told(answer).get("error") == "RecordNotFound":
            return None
        told = _good(answer)
        cid, value = told.get("cid"), told.get("value")
        if not isinstance(cid, str) or not is_cid(cid) or not isinstance(value, dict):
            raise Declined("the PDS gave no record")
        return Found(cid, value)

    async def page(
        self, collection: Nsid, cursor: str | None = None, *, limit: int = 100
    ) -> tuple[dict[Rkey, Record], str | None]:
        """Records by their keys, and where to go on, if there may be more."""
        params = {"repo": self._did, "collection": collection, "limit": str(limit)}
        told = _good(
            await self._call("GET", "listRecords", params=params | ({"cursor": cursor} if cursor else {}))
        )
        records, following = told.get("records"), told.get("cursor")
        if not isinstance(records, list):
            raise Declined("the PDS lists no records")
        found: dict[Rkey, Record] = {}
        for each in cast("list[object]", records):
            uri, value = (each.get("uri"), each.get("value")) if isinstance(each, dict) else (None, None)
            rkey = str(uri).rpartition("/")[2]
            if not isinstance(uri, str) or not is_rkey(rkey) or not isinstance(value, dict):
                raise Declined("the PDS lists what is no record")
            found[Rkey(rkey)] = value
        more = isinstance(following, str) and following != cursor and bool(found)
        return found, following if more else None

    async def put(
        self,
        collection: Nsid,
        rkey: Rkey,
        record: Record,
        *,
        swap: Cid | None = None,
        fresh: bool = False,
    ) -> Put:
        """Write this record under this key. With `swap` only in place of that version, `fresh` only where
        there is none: raises Swapped."""
        sent = {"repo": self._did, "collection": collection, "rkey": rkey, "record": record}
        if swap is not None or fresh:
            sent["swapRecord"] = swap
        told = _good(await self._call("POST", "putRecord", body=sent))
        uri, cid, rev = told.get("uri"), told.get("cid"), _rev(told)
        if not isinstance(uri, str) or not isinstance(cid, str) or not is_cid(cid):
            raise Declined("the PDS did not say what it wrote")
        block = encode(from_json(record))
        if rev is None or cid_of(block) != cid:
            return Put(uri, cid, None)
        action = Action.CREATE if swap is None else Action.UPDATE
        return Put(uri, cid, OwnWrite(self._did, collection, rkey, rev, action, cid, block))

    async def delete(self, collection: Nsid, rkey: Rkey) -> OwnWrite | None:
        """Remove the record; None: it was not there, or the firehose tells the rest."""
        sent = {"repo": self._did, "collection": collection, "rkey": rkey}
        rev = _rev(_good(await self._call("POST", "deleteRecord", body=sent)))
        if rev is None:
            return None
        return OwnWrite(self._did, collection, rkey, rev, Action.DELETE, None, None)

    async def upload(self, body: Streamed, mime: str) -> Record:
        """Store a blob; the reference to put into a record. It is kept while a record names it, and for some
        time until one does. Raises TooLarge."""
        timeout_s = TIMEOUT_S + body.size / LEAST_BYTES_PER_S
        answer = await self._call("POST", "uploadBlob", body=body, content_type=mime, timeout_s=timeout_s)
        if answer.status == 413 or _told(answer).get("error") in ("PayloadTooLarge", "BlobTooLarge"):
            raise TooLarge("the PDS takes no file of that size")
        blob = _good(answer).get("blob")
        if not isinstance(blob, dict) or blob.get("$type") != "blob" or blob.get("size") != body.size:
            raise Declined("the PDS gave no reference to the blob")
        return blob

    async def _call(
        self,
        method: str,
        name: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Streamed | None = None,
        content_type: str = _JSON,
        timeout_s: float = TIMEOUT_S,
    ) -> PdsAnswer:
        sent = body if body is None or isinstance(body, Streamed) else orjson.dumps(body)
        began = time.monotonic()
        outcome: str | int = "cancelled"
        try:
            answer = await self._pds.call(
                self._session_id,
                method,
                _REPO + name,
                params=params,
                body=sent,
                content_type=None if body is None else content_type,
                timeout_s=timeout_s,
            )
            outcome = answer.status
        except (NotNow, PdsUnreachable) as error:
            outcome = type(error).__name__
            raise Away(str(error)) from error
        except CredentialsFailed as error:
            outcome = type(error).__name__
            raise NotSignedIn(str(error)) from error
        finally:
            took_ms = round(1000 * (time.monotonic() - began))
            log.info("asked a PDS", did=self._did, call=name, outcome=outcome, took_ms=took_ms)
        return answer


def _good(answer: PdsAnswer) -> dict[str, Any]:
    """The body of an answer that says yes. Raises what it says otherwise."""
    told = _told(answer)
    if answer.status == 200:
        return told
    word = str(told.get("error") or "")
    said = f"the PDS says {answer.status} {word[:100]} {str(told.get('message') or '')[:_MOST_SAID]}".rstrip()
    if word == "InvalidSwap":
        raise Swapped(said)
    if answer.status == 401:
        raise NotSignedIn(said)
    if answer.status in (408, 425, 429) or answer.status >= 500:
        raise Away(said, retry_after_s(answer.headers))
    raise Declined(said)


def _told(answer: PdsAnswer) -> dict[str, Any]:
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _rev(told: Mapping[str, Any]) -> Rev | None:
    commit = told.get("commit")
    rev = commit.get("rev") if isinstance(commit, dict) else None
    if not isinstance(rev, str) or not is_tid(rev):
        return None
    # The firehose would not take it, and nothing that it brings would be newer.
    return None if is_future(Rev(rev), time.time_ns() // 1000) else Rev(rev)
