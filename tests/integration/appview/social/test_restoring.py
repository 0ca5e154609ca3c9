"""A record that its PDS has lost is written again as it was, and only then."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from appview.rest import shapes
from lexicons.datamodel import cid_bytes
from lexicons.syntax import Cid
from tests.fakenet.home import REPO
from tests.fakenet.server import xrpc_error
from tests.fakenet.world import TRACK, track
from tests.integration.appview.auth.signing import detail
from tests.integration.appview.service import Answer
from tests.integration.appview.social.square import RKEY, Square

PUT = REPO + "putRecord"
BLOB = "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy"
SOUND = {"$type": "blob", "ref": cid_bytes(Cid(BLOB)), "mimeType": "audio/mpeg", "size": 3}


async def restore(square: Square, who: Any = None) -> Answer:
    return await square.ask("POST", f"/tracks/{square.track_id}/restore-record", who)


def lose(square: Square) -> dict[str, Any]:
    """The PDS comes back from a backup without the record, and says nothing of that."""
    [record] = square.pds.records(square.ana.did, TRACK).values()
    square.pds.write(square.ana.did, "delete", TRACK, RKEY, None)
    return record


async def test_a_lost_record_is_written_again_as_it_was(square: Square) -> None:
    record = lose(square)
    answer = await restore(square, square.ana.did)
    assert answer.status == 200, answer.body
    told = msgspec.convert(answer.json, shapes.RestoredRecord)
    assert (told.success, told.restored_uri) == (True, square.ana.uri(TRACK, RKEY))
    assert (told.track.id, told.track.title) == (square.track_id, "One")
    assert square.pds.records(square.ana.did, TRACK) == {RKEY: record}
    assert await square.rows("select verified from record where collection = %s", TRACK) == [(False,)]
    await square.echoes([square.ana.did])
    assert await square.rows("select verified, cid is null from record where collection = %s", TRACK) == [
        (True, False)
    ]


async def test_what_is_there_is_left_alone(square: Square) -> None:
    answer = await restore(square, square.ana.did)
    uri = square.ana.uri(TRACK, RKEY)
    assert detail(answer) == (
        400, {"error": "already_has_record", "message": "this track has its record", "uri": uri},
    )  # fmt: skip
    assert square.pds.asked[PUT] == 0


async def test_what_is_there_after_all_is_not_overwritten(square: Square) -> None:
    """Ana writes it anew by another app between the question and the answer."""
    newer = track("One, again")
    square.pds.write(square.ana.did, "update", TRACK, RKEY, newer)
    square.pds.instead[REPO + "getRecord"] = xrpc_error("RecordNotFound", "none")
    answer = await restore(square, square.ana.did)
    assert detail(answer) == (502, "failed to restore the record")
    assert square.pds.records(square.ana.did, TRACK) == {RKEY: newer}


async def test_who_may_not_restore_it(square: Square) -> None:
    lose(square)
    bob = await square.person("bob")
    assert detail(await restore(square)) == (401, "not authenticated - login required")
    assert detail(await restore(square, bob)) == (403, "you can only restore your own tracks")
    square.keys[square.ana.did] = await square.sign_in(square.ana.did, scope="atproto")
    assert detail(await restore(square, square.ana.did)) == (403, "scope_upgrade_required")
    assert square.pds.asked[PUT] == 0


async def test_what_we_do_not_have_cannot_be_restored(square: Square) -> None:
    lose(square)
    await square.echoes([square.ana.did])  # the firehose has told of it, and the track is gone
    assert detail(await restore(square, square.ana.did)) == (404, "track not found")
    nowhere = await square.ask("POST", "/tracks/one/restore-record", square.ana.did)
    assert nowhere.status == 422


@pytest.mark.parametrize(("status", "error", "expected"), [(503, "Down", 502), (400, "InvalidRecord", 500)])
async def test_a_pds_that_does_not_take_it_is_said(
    square: Square, status: int, error: str, expected: int
) -> None:
    lose(square)
    square.pds.instead[PUT] = xrpc_error(error, "not today", status)
    assert detail(await restore(square, square.ana.did)) == (expected, "failed to restore the record")


async def test_a_sound_that_the_pds_has_lost_stays_out(square: Square) -> None:
    record = track("One") | {"audioBlob": SOUND}
    await square.echo(square.pds.write(square.ana.did, "update", TRACK, RKEY, record))
    lose(square)
    square.pds.lost_blobs.add(BLOB)
    answer = await restore(square, square.ana.did)
    assert answer.status == 200, answer.body
    assert square.pds.records(square.ana.did, TRACK) == {RKEY: track("One")}
    assert answer.json["track"]["audio_storage"] == "r2"


async def test_a_sound_that_nobody_has_is_said(square: Square) -> None:
    record = {name: value for name, value in track("One").items() if name != "audioUrl"}
    await square.echo(square.pds.write(square.ana.did, "update", TRACK, RKEY, record | {"audioBlob": SOUND}))
    lose(square)
    square.pds.lost_blobs.add(BLOB)
    status, told = detail(await restore(square, square.ana.did))
    assert (status, told["error"]) == (400, "no_public_url")
    assert square.pds.records(square.ana.did, TRACK) == {}
