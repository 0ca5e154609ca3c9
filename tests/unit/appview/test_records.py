"""What a PDS answers to a write is either done, or one of few reasons why not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from appview.auth.credentials import NotNow, SessionEnded
from appview.auth.grant import Refusal
from appview.auth.oauth import PdsAnswer
from appview.pds import PdsUnreachable
from appview.records import Away, Declined, NotSignedIn, Records, Swapped, TooLarge, WriteFailed
from firehose.events import Action
from firehose.net import Streamed
from lexicons.datamodel import cid_of, encode
from lexicons.syntax import Cid, Did, Nsid, Rkey, tid_from_us

ANN = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
TRACK, RKEY = Nsid("fm.plyr.track"), Rkey("3mpt222222222")
URI = f"at://{ANN}/{TRACK}/{RKEY}"
RECORD = {"$type": TRACK, "title": "Dawn"}
CID = cid_of(encode(RECORD))
REV = "3mpt222222333"
AHEAD = tid_from_us(time.time_ns() // 1000 + 86_400_000_000)  # a day: tests may begin long after this


class Says:
    """A PDS that always says the same, and what it was asked."""

    def __init__(self, status: int, body: object = None, headers: Mapping[str, str] | None = None) -> None:
        self._answer = PdsAnswer(status, headers or {}, orjson.dumps(body), False)
        self.sent: Any = None

    async def call(self, session_id: int, method: str, nsid: str, **options: Any) -> PdsAnswer:
        self.sent = orjson.loads(options["body"]) if isinstance(options["body"], bytes) else options["body"]
        return self._answer


class Raises(Says):
    def __init__(self, error: Exception) -> None:
        super().__init__(200)
        self._error = error

    async def call(self, session_id: int, method: str, nsid: str, **options: Any) -> PdsAnswer:
        raise self._error


def records(pds: Says) -> Records:
    return Records(pds, 1, ANN)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pds", "error"),
    [
        (Says(400, {"error": "InvalidSwap"}), Swapped),
        (Says(400, {"error": "InvalidRequest", "message": "no"}), Declined),
        (Says(401, {"error": "AuthMissing"}), NotSignedIn),
        (Says(403, {"error": "insufficient_scope"}), Declined),
        (Says(429, {}), Away),
        (Says(503), Away),
        (Says(200, {"uri": URI}), Declined),
        (Says(200, "nonsense"), Declined),
        (Raises(PdsUnreachable(Refusal.UNREACHABLE)), Away),
        (Raises(NotNow(Refusal.UNREACHABLE)), Away),
        (Raises(SessionEnded("signed_out")), NotSignedIn),
    ],
)
async def test_why_nothing_was_written(pds: Says, error: type[WriteFailed]) -> None:
    with pytest.raises(error):
        await records(pds).put(TRACK, RKEY, RECORD)


async def test_a_pds_that_wants_to_be_left_alone_says_for_how_long() -> None:
    with pytest.raises(Away) as caught:
        await records(Says(429, {}, {"Retry-After": "7"})).put(TRACK, RKEY, RECORD)
    assert caught.value.wait_s == 7


async def test_what_was_written_is_known_with_its_rev_and_bytes() -> None:
    pds = Says(200, {"uri": URI, "cid": CID, "commit": {"rev": REV, "cid": CID}})
    put = await records(pds).put(TRACK, RKEY, RECORD, swap=Cid(CID))
    assert put.write is not None
    assert (put.write.rev, put.write.cid, put.write.block) == (REV, CID, encode(RECORD))
    assert (put.write.uri, put.write.action) == (URI, Action.UPDATE)
    assert pds.sent["swapRecord"] == CID


@pytest.mark.parametrize(
    "told",
    [
        {"cid": CID},
        {"cid": CID, "commit": {"rev": "soon"}},
        {"cid": CID, "commit": {"rev": AHEAD}},
        {"cid": cid_of(encode({"another": 1})), "commit": {"rev": REV}},
    ],
    ids=["nothing changed", "no rev", "a rev from the future", "other bytes"],
)
async def test_what_cannot_be_indexed_is_left_to_the_firehose(told: dict[str, Any]) -> None:
    assert (await records(Says(200, {"uri": URI} | told)).put(TRACK, RKEY, RECORD)).write is None


async def test_a_record_that_is_not_there_is_none_and_deleting_it_is_no_error() -> None:
    assert await records(Says(400, {"error": "RecordNotFound"})).get(TRACK, RKEY) is None
    assert await records(Says(200, {})).delete(TRACK, RKEY) is None


async def test_a_delete_at_a_rev_from_the_future_is_left_to_the_firehose() -> None:
    assert await records(Says(200, {"commit": {"rev": AHEAD}})).delete(TRACK, RKEY) is None
    assert await records(Says(200, {"commit": {"rev": REV}})).delete(TRACK, RKEY) is not None


@pytest.mark.parametrize(
    ("pds", "error"),
    [
        (Says(413, {"error": "PayloadTooLarge"}), TooLarge),
        (Says(400, {"error": "BlobTooLarge"}), TooLarge),
        (Says(200, {"blob": {"$type": "blob", "size": 8}}), Declined),
        (Says(200, {}), Declined),
    ],
)
async def test_a_blob_that_was_not_taken(pds: Says, error: type[WriteFailed]) -> None:
    with pytest.raises(error):
        await records(pds).upload(Streamed(7, lambda: iter(())), "audio/mpeg")  # type: ignore[arg-type, return-value]
