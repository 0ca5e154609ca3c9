"""What subscribers are told of an entry, and how that looks on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbrrr
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appview.messages import Form, error_frame, message_of, standing_after, websocket_frame
from lexicons.datamodel import encode
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey
from storage.live import Standing
from storage.outbox import Entry, Kind

ANN = Did("did:plc:ann")
AT = datetime(2026, 7, 4, 12, 0, 0, 123456, tzinfo=UTC)
SHOWN = Standing()
TRACK = Nsid("fm.plyr.track")
KEYS = st.text(max_size=8).filter(lambda key: not key.startswith("$"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def record(block: bytes | None, **changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "rev": Rev("3jzfcijpj2z2a"),
        "rkey": Rkey("a"),
        "action": "create",
        "verdict": "valid",
    }
    whole: dict[str, Any] = {
        "collection": TRACK,
        "cid": Cid("bafy"),
        "block": block,
        "did": ANN,
        **fields,
        **changes,
    }
    return Entry(kind=Kind.RECORD, source="wss://relay.test", **whole)


def payload(frame: bytes) -> bytes:
    """The content of one whole frame, its length checked."""
    size, start = frame[1], 2
    if size == 126:
        size, start = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(frame[2:10], "big"), 10
    assert len(frame) == start + size
    return frame[start:]


def test_a_version_that_goes_over_what_was_not_the_accounts_says_so() -> None:
    message = message_of(record(encode({}), detail={"over": "3jzfcijpj2z2b"}), 1, AT, SHOWN)
    assert message is not None
    told = orjson.loads(payload(message.frame(Form.JSON, "fm.plyr")))
    assert (told["rev"], told["over"]) == ("3jzfcijpj2z2a", "3jzfcijpj2z2b")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5), st.integers(1, 2**60))
def test_a_record_is_canonical_for_other_libraries_and_holds_the_bytes_that_were_signed(
    value: dict[str, Any], seq: int
):
    block = encode(value)
    message = message_of(record(block), seq, AT, SHOWN)
    assert message is not None
    raw = payload(message.frame(Form.CBOR, "fm.plyr"))
    header = cbrrr.encode_dag_cbor({"op": 1, "t": "#record"})
    assert raw.startswith(header)
    body: Any = cbrrr.decode_dag_cbor(raw[len(header) :])  # refuses what is not canonical
    assert cbrrr.encode_dag_cbor(body) == raw[len(header) :]
    assert body["seq"] == seq
    assert cbrrr.encode_dag_cbor(body["record"]) == block
    assert (body["did"], body["time"], body["cid"]) == (ANN, "2026-07-04T12:00:00.123Z", "bafy")
    json = orjson.loads(payload(message.frame(Form.JSON, "fm.plyr")))
    assert json["$type"] == "fm.plyr.sync.subscribe#record"
    assert json["record"].keys() == value.keys()


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 100_000])
def test_a_frame_of_any_size_has_its_length(size: int):
    assert payload(websocket_frame(0x82, b"x" * size)) == b"x" * size


@pytest.mark.parametrize(
    "kind", [kind for kind in Kind if kind not in ("record", "identity", "account", "takedown", "forgotten")]
)
def test_of_our_own_bookkeeping_nothing_is_told(kind: Kind):
    assert message_of(Entry(kind, "us", did=ANN, detail={}), 1, AT, SHOWN) is None


@pytest.mark.parametrize("standing", [Standing(active=False), Standing(taken_down=True)])
def test_x21_records_of_an_account_that_is_not_shown_are_not_told(standing: Standing):
    assert message_of(record(encode({})), 1, AT, standing) is None
    assert message_of(record(None, action="delete", cid=None), 1, AT, standing) is None


@pytest.mark.parametrize("standing", [SHOWN, Standing(taken_down=True)])
def test_who_was_forgotten_is_told_as_deleted_and_begins_anew_later(standing: Standing):
    entry = Entry(Kind.FORGOTTEN, "us", did=ANN)
    message = message_of(entry, 1, AT, standing)
    assert message is not None
    body = orjson.loads(payload(message.frame(Form.JSON, "fm.plyr")))
    assert (body["did"], body["active"], body["status"]) == (ANN, False, "deleted")
    gone = standing_after(entry, standing)
    assert not gone.shown
    assert standing_after(Entry(Kind.REPO, "us", did=ANN), gone) == SHOWN


def test_an_account_is_shown_if_neither_upstream_nor_we_object():
    def told(entry: Entry, standing: Standing) -> tuple[bool, str | None]:
        message = message_of(entry, 1, AT, standing)
        assert message is not None
        body = orjson.loads(payload(message.frame(Form.JSON, "fm.plyr")))
        return body["active"], body.get("status")

    def account(active: bool, status: str | None = None) -> Entry:
        return Entry(Kind.ACCOUNT, "pds", did=ANN, detail={"active": active, "status": status})

    def takedown(verdict: str) -> Entry:
        return Entry(Kind.TAKEDOWN, "us", did=ANN, verdict=verdict)

    standing = SHOWN
    story: list[tuple[Entry, tuple[bool, str | None]]] = [
        (account(False), (False, "deactivated")),
        (takedown("down"), (False, "takendown")),
        (account(True), (False, "takendown")),
        (account(False, "suspended"), (False, "takendown")),
        (takedown("up"), (False, "suspended")),
        (account(True), (True, None)),
    ]
    for entry, expected in story:
        standing = standing_after(entry, standing)
        assert told(entry, standing) == expected


def test_an_error_is_a_frame_of_its_own_kind():
    raw = payload(error_frame("ConsumerTooSlow", "why", Form.CBOR))
    header = cbrrr.encode_dag_cbor({"op": -1})
    assert cbrrr.decode_dag_cbor(raw[len(header) :]) == {"error": "ConsumerTooSlow", "message": "why"}
    json = orjson.loads(payload(error_frame("ConsumerTooSlow", "why", Form.JSON)))
    assert json == {"error": "ConsumerTooSlow", "message": "why"}
