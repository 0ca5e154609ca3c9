"""Messages of the live feed, from outbox entries to finished WebSocket frames. Pure.

A message is written once for each form that somebody wants, and the same bytes go to everybody. In
CBOR a message is the two objects of the event-stream specification (header `{op, t}`, body), the
record inside spliced in as it was signed: hashing it again gives its CID. In JSON it is one object,
its type in `$type`. <https://atproto.com/specs/event-stream>
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

import libipld
import orjson

from firehose.events import Action
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Did, Nsid, Rkey
from storage.live import Standing
from storage.outbox import Entry, Kind

PING = b"\x89\x00"
_TEXT, _BINARY = 0x81, 0x82  # a whole message, from a server: not masked (RFC 6455, 5.2)
_cbor = libipld.encode_dag_cbor


class Form(Enum):
    """How a subscriber wants messages written."""

    CBOR = "cbor"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscriber wants to see, and how. Empty sets are no filter. Equal ones share their bytes."""

    form: Form = Form.CBOR
    collections: frozenset[str] = frozenset()
    dids: frozenset[str] = frozenset()

    @property
    def all(self) -> bool:
        return not self.collections and not self.dids

    def has(self, message: Message) -> bool:
        if self.dids and message.did not in self.dids:
            return False
        return not self.collections or message.collection is None or message.collection in self.collections


class Message:
    """One thing to tell. `collection` is that of a record, None for all else."""

    __slots__ = ("_block", "_cbor", "_fields", "_json", "_type", "collection", "did", "seq")

    def __init__(
        self,
        type_: str,
        seq: int,
        fields: Mapping[str, Any],
        did: Did | None = None,
        collection: Nsid | None = None,
        block: bytes | None = None,
    ) -> None:
        self.seq = seq
        self.did = did
        self.collection = collection
        self._type = type_
        self._fields = fields
        self._block = block
        self._cbor: bytes | None = None
        self._json: bytes | None = None

    def is_of(self, did: Did, collection: Nsid, rkey: Rkey) -> bool:
        """Whether it tells of a version of this record."""
        return (self.did, self.collection, self._fields.get("rkey")) == (did, collection, rkey)

    @property
    def size(self) -> int:
        """About how many bytes it has, in either form."""
        return 300 + 2 * len(self._block or b"")

    def frame(self, form: Form, namespace: str) -> bytes:
        """The whole WebSocket frame."""
        if form is Form.CBOR:
            if self._cbor is None:
                body = _header(self._type) + _map(self._fields, self._block)
                self._cbor = websocket_frame(_BINARY, body)
            return self._cbor
        if self._json is None:
            value = {"$type": f"{namespace}.sync.subscribe#{self._type}", **self._fields}
            if self._block is not None:
                value["record"] = to_json(decode(self._block))
            self._json = websocket_frame(_TEXT, orjson.dumps(value))
        return self._json


def message_of(
    entry: Entry, seq: int, at: datetime, standing: Standing, *, withheld: bool = False
) -> Message | None:
    """What subscribers hear of an entry, given how its account stands now, and whether its record is down;
    None: nothing.

    Not told: what is not proven yet, and records that are not shown, but that they are gone.
    """
    did = entry.did
    if did is None:
        return None
    fields: dict[str, Any] = {"seq": seq, "time": time_text(at), "did": did}
    if entry.kind is Kind.RECORD or of_record(entry):
        gone = entry.action == Action.DELETE
        if entry.verdict == "unverified" or not standing.shown or (withheld and not gone):
            return None
        fields |= {"rev": entry.rev, "collection": entry.collection, "rkey": entry.rkey}
        if entry.detail is not None and "over" in entry.detail:
            fields["over"] = entry.detail["over"]
        fields["action"] = entry.action
        if entry.cid is not None:
            fields["cid"] = entry.cid
        if entry.verdict == "invalid":
            fields["invalid"] = entry.reason or ""
            return Message("record", seq, fields, did, entry.collection)
        return Message("record", seq, fields, did, entry.collection, entry.block)
    if entry.kind is Kind.IDENTITY:
        handle = (entry.detail or {}).get("handle")
        if handle is not None:
            fields["handle"] = handle
        return Message("identity", seq, fields, did)
    if entry.kind is Kind.FORGOTTEN:
        return Message("account", seq, fields | {"active": False, "status": "deleted"}, did)
    if entry.kind is Kind.ACCOUNT or entry.kind is Kind.TAKEDOWN:
        fields["active"] = standing.shown
        if standing.taken_down:
            fields["status"] = "takendown"
        elif not standing.shown:
            fields["status"] = standing.status or "deactivated"
        return Message("account", seq, fields, did)
    return None


def standing_after(entry: Entry, before: Standing) -> Standing:
    """How an account stands once this entry about it is known."""
    if entry.kind is Kind.ACCOUNT:
        detail = entry.detail or {}
        return Standing(bool(detail.get("active", True)), detail.get("status"), before.taken_down)
    if entry.kind is Kind.TAKEDOWN and not of_record(entry):
        return Standing(before.active, before.status, entry.verdict == "down")
    if entry.kind is Kind.FORGOTTEN:
        return Standing(active=False, status="deleted")
    if entry.kind is Kind.REPO:  # new here, or back after it was forgotten
        return Standing()
    return before


def of_record(entry: Entry) -> bool:
    """Whether it is our decision about a record, and not about an account."""
    return entry.kind is Kind.TAKEDOWN and entry.collection is not None


def position(seq: int, now: datetime) -> Message:
    return Message("position", seq, {"seq": seq, "time": time_text(now)})


def outdated() -> Message:
    return Message(
        "info", 0, {"name": "OutdatedCursor", "message": "What came after the cursor is not here any more."}
    )


def error_frame(name: str, message: str, form: Form) -> bytes:
    """The last message before the close."""
    body = {"error": name, "message": message}
    if form is Form.JSON:
        return websocket_frame(_TEXT, orjson.dumps(body))
    return websocket_frame(_BINARY, _cbor({"op": -1}) + _cbor(body))


def websocket_frame(first: int, payload: bytes) -> bytes:
    """A whole, unmasked frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def time_text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache
def _header(type_: str) -> bytes:
    return _cbor({"op": 1, "t": f"#{type_}"})


def _map(fields: Mapping[str, Any], block: bytes | None) -> bytes:
    """The canonical DAG-CBOR map of the fields, with `block` as it is under `record`."""
    if block is None:
        return _cbor(dict(fields))
    values = {name: _cbor(value) for name, value in fields.items()} | {"record": block}
    parts = [bytes((0xA0 | len(values),))]
    for name in sorted(values, key=lambda name: (len(name), name)):
        parts += (_cbor(name), values[name])
    return b"".join(parts)
