"""Uploads in parts (tus): cut anywhere, by anybody, they end as if they had come whole, or not at all."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from appview.media.receive import UploadLimits
from lexicons.catalog import Catalog
from storage.blobs.collector import collect
from storage.blobs.s3 import S3Store
from tests.integration.appview.auth.signing import detail
from tests.integration.appview.service import Answer
from tests.integration.appview.uploads.studio import ANN, BOB, Studio, bearer, opened
from tests.integration.appview.uploads.test_upload_audio import MIB, noise
from tests.s3.fixtures import two_buckets
from tests.s3.server import Swift

pytestmark = pytest.mark.once

TUS = {"Tus-Resumable": "1.0.0"}


def told(**texts: str) -> str:
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in texts.items())


async def create(studio: Studio, key: str | None, length: int | None, metadata: str | None = None) -> Answer:
    headers = TUS | bearer(key) | {"Upload-Metadata": told(title="Fähre") if metadata is None else metadata}
    if length is not None:
        headers["Upload-Length"] = str(length)
    return await studio.request("POST", "/uploads", headers=headers)


async def begun(studio: Studio, key: str, length: int) -> str:
    answer = await create(studio, key, length)
    assert answer.status == 201, answer.body
    return answer.headers["Location"]


async def patch(studio: Studio, key: str, place: str, at: int, data: bytes, **headers: str) -> Answer:
    sent = TUS | bearer(key) | {"Upload-Offset": str(at), "Content-Type": "application/offset+octet-stream"}
    return await studio.request("PATCH", place, data=io.BytesIO(data), headers=sent | headers)


async def head(studio: Studio, key: str | None, place: str) -> Answer:
    return await studio.request("HEAD", place, headers=TUS | bearer(key))


async def cut(studio: Studio, key: str, place: str, at: int, data: bytes, *, keep: int) -> None:
    """Announce all the rest, send `keep` bytes of it, and vanish."""
    host, port = studio.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"PATCH {place} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {key}\r\n"
        f"Upload-Offset: {at}\r\nContent-Type: application/offset+octet-stream\r\n"
        f"Content-Length: {len(data) - at}\r\n\r\n".encode()
    )
    writer.write(data[at : at + keep])
    await writer.drain()
    await asyncio.sleep(random.random() * 0.05)
    writer.transport.abort()


async def halfway(studio: Studio, key: str, place: str, data: bytes) -> tuple[int, int, Answer]:
    """Send half of what is missing: from where, to where, and the answer."""
    answer = await head(studio, key, place)
    offset = int(answer.headers["Upload-Offset"])
    assert answer.headers["Upload-Length"] == str(len(data))
    assert answer.headers["Cache-Control"] == "no-store"
    assert 0 <= offset < len(data)
    middle = (offset + len(data)) // 2
    return offset, middle, await patch(studio, key, place, offset, data[offset:middle])


async def resumed(studio: Studio, key: str, place: str, data: bytes, cuts: int, seed: int) -> str:
    """Send it with so many cuts; the job's id."""
    choice = random.Random(seed)
    for _ in range(cuts):
        offset = int((await head(studio, key, place)).headers["Upload-Offset"])
        await cut(studio, key, place, offset, data, keep=choice.randrange(len(data) - offset))
    offset, middle, answer = await halfway(studio, key, place, data)
    while answer.status in (409, 423):  # what was cut off was still being written: a client asks again
        offset, middle, answer = await halfway(studio, key, place, data)
    assert (answer.status, answer.headers.get("Upload-Offset")) == (204, str(middle)), (offset, answer.body)
    assert "Upload-Job" not in answer.headers
    answer = await patch(studio, key, place, middle, data[middle:])
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(len(data))), answer.body
    return answer.headers["Upload-Job"]


@pytest.mark.parametrize("seed", range(3))
async def test_cut_at_any_byte_it_is_the_same_as_in_one_piece(studio: Studio, seed: int) -> None:
    key, data = await studio.key(), noise(5 * MIB + 17, seed)
    place = await begun(studio, key, len(data))
    id = await resumed(studio, key, place, data, 4, seed)
    assert (await studio.upload(key, data)).status == 200
    parts, whole = await studio.args()
    assert await studio.staged(parts["name"]) == data
    assert {k: v for k, v in parts.items() if k in ("sha256", "crc32", "bytes", "session")} == {
        k: v for k, v in whole.items() if k in ("sha256", "crc32", "bytes", "session")
    }
    assert parts["title"] == "Fähre"
    assert await studio.rows("select id::text, subject from job where args ->> 'title' = 'Fähre'") == [
        (id, parts["name"])
    ]
    again = await head(studio, key, place)
    assert (again.headers["Upload-Offset"], again.headers["Upload-Job"]) == (str(len(data)), id)


async def test_into_an_s3(database: str, catalog: Catalog, tmp_path: Path, swift: Swift) -> None:
    data = noise(18 * MIB)
    async with (
        S3Store(await two_buckets(swift)) as store,
        opened(database, catalog, store, tmp_path / "keys") as studio,
    ):
        key = await studio.key()
        place = await begun(studio, key, len(data))
        await resumed(studio, key, place, data, 3, 1)
        (args,) = await studio.args()
        assert await studio.staged(args["name"]) == data
        assert args["sha256"] == hashlib.sha256(data).hexdigest()


async def test_what_it_is_about_is_kept(studio: Studio) -> None:
    await studio.rows(
        "insert into repo (did, handle, pds, rev) values (%s, 'bob.test', 'https://pds.test', null)", BOB
    )
    key = await studio.key()
    metadata = (
        told(title="x", album="y", description="z", features='["bob.test"]', filename="a.wav") + ",public"
    )
    answer = await create(studio, key, 3, metadata)
    place = answer.headers["Location"]
    assert (await head(studio, key, place)).headers["Upload-Metadata"] == metadata
    assert (await patch(studio, key, place, 0, b"abc")).status == 204
    (args,) = await studio.args()
    assert {name: args[name] for name in ("title", "album", "description", "features", "filename")} == {
        "title": "x",
        "album": "y",
        "description": "z",
        "features": [BOB],
        "filename": "a.wav",
    }


async def test_all_is_here_and_the_server_died_before_it_said_so(studio: Studio) -> None:
    key, data = await studio.key(), noise(MIB)
    place = await begun(studio, key, len(data))

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await studio.store.append(place.rpartition("/")[2], chunks(), at=0)
    answer = await head(studio, key, place)
    assert answer.headers["Upload-Offset"] == str(len(data))
    assert await studio.rows("select id::text from job") == [(answer.headers["Upload-Job"],)]
    (args,) = await studio.args()
    assert await studio.staged(args["name"]) == data


async def test_after_publishing_the_answer_is_still_there(studio: Studio) -> None:
    """The job has taken the bytes, and the row."""
    key = await studio.key()
    place = await begun(studio, key, 3)
    id = (await patch(studio, key, place, 0, b"abc")).headers["Upload-Job"]
    await studio.store.unstage(place.rpartition("/")[2])
    await studio.rows("delete from staged_upload")
    answer = await head(studio, key, place)
    assert (answer.headers["Upload-Offset"], answer.headers["Upload-Job"]) == ("3", id)
    assert detail(await patch(studio, key, place, 3, b""))[0] == 409
    assert len(await studio.rows("select id from job")) == 1


async def test_a_wrong_offset_is_a_conflict(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    assert (await patch(studio, key, place, 0, b"abc")).status == 204
    for at in (0, 2, 4):
        assert detail(await patch(studio, key, place, at, b"d"))[0] == 409
    assert (await head(studio, key, place)).headers["Upload-Offset"] == "3"


async def test_more_than_was_announced_is_refused(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    assert detail(await patch(studio, key, place, 0, b"x" * 11))[0] == 413
    assert detail(await patch(studio, key, place, 11, b""))[0] == 413

    async def chunked() -> Any:
        yield b"x" * 8
        yield b"x" * 8

    headers = TUS | bearer(key) | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert detail(await studio.request("PATCH", place, data=chunked(), headers=headers))[0] == 413
    assert await studio.args() == []


async def test_it_is_its_owners_alone(studio: Studio) -> None:
    key, bob = await studio.key(), await studio.key(BOB)
    place = await begun(studio, key, 10)
    assert (await head(studio, bob, place)).status == 404
    assert (await head(studio, None, place)).status == 401
    assert (await patch(studio, bob, place, 0, b"x")).status == 404
    assert (await studio.request("DELETE", place, headers=TUS | bearer(bob))).status == 404
    assert (await head(studio, key, "/uploads/nonsense")).status == 404
    assert (await studio.request("GET", "/uploads", headers=bearer(bob))).json == {"uploads": []}
    narrow = await studio.key(scope="atproto")
    assert detail(await create(studio, narrow, 10)) == (403, "scope_upgrade_required")


async def test_who_lost_the_address_finds_it_again(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    await patch(studio, key, place, 0, b"abc")
    (found,) = (await studio.request("GET", "/uploads", headers=bearer(key))).json["uploads"]
    assert found.pop("updated_at")
    assert found == {"location": place, "title": "Fähre", "length": 10, "offset": 3}


async def test_it_can_be_given_up(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    await patch(studio, key, place, 0, b"abc")
    assert (await studio.request("DELETE", place, headers=TUS | bearer(key))).status == 204
    assert await studio.nothing_left()
    assert (await head(studio, key, place)).status == 404
    assert (await studio.request("DELETE", place, headers=TUS | bearer(key))).status == 404


async def test_one_that_stands_still_goes_with_the_collector(studio: Studio, tmp_path: Path) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    await patch(studio, key, place, 0, b"abc")
    await studio.rows("update staged_upload set touched_at = now() - interval '2 days'")
    os.utime(tmp_path / "blobs/staged" / place.rpartition("/")[2], (0, 0))
    async with await psycopg.AsyncConnection.connect(studio.dsn, autocommit=True) as conn:
        day = timedelta(days=1)
        done = await collect(conn, studio.store, grace=day, keep=day, now=datetime.now(UTC))
    assert done.uploads == 1
    assert (await head(studio, key, place)).status == 404
    assert await studio.nothing_left()


async def test_three_that_stand_still_are_three_uploads(studio: Studio) -> None:
    key = await studio.key()
    places = [await begun(studio, key, 10) for _ in range(3)]
    await studio.rows("update staged_upload set touched_at = now() - interval '1 hour'")
    assert (await create(studio, key, 10)).status == 429
    assert (await studio.upload(key, b"x")).status == 429
    await studio.request("DELETE", places[0], headers=TUS | bearer(key))
    assert (await create(studio, key, 10)).status == 201


async def hanging(studio: Studio, key: str, place: str) -> asyncio.StreamWriter:
    """Somebody who sends three of ten bytes and then nothing."""
    host, port = studio.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"PATCH {place} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {key}\r\n"
        "Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n"
        "Content-Length: 10\r\n\r\nabc".encode()
    )
    await writer.drain()
    name = place.rpartition("/")[2]
    async with asyncio.timeout(60):
        while await studio.store.staged_size(name) < 3:
            await asyncio.sleep(0.02)
    return writer


async def test_a_later_request_takes_over(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    writer = await hanging(studio, key, place)
    assert (await head(studio, key, place)).headers["Upload-Offset"] == "3"
    assert (await patch(studio, key, place, 3, b"defghij")).headers["Upload-Job"]
    (args,) = await studio.args()
    assert await studio.staged(args["name"]) == b"abcdefghij"
    writer.close()


async def test_another_process_waits_for_its_turn(studio: Studio, catalog: Catalog, tmp_path: Path) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    async with opened(studio.dsn, catalog, studio.store, tmp_path / "keys2") as other:
        writer = await hanging(studio, key, place)
        answer = await patch(other, key, place, 3, b"defghij")
        assert detail(answer) == (423, "another request adds to this upload")
        # It died, and its lease ran out.
        await studio.rows("update staged_upload set lease_until = now() - interval '1 second'")
        assert (await patch(other, key, place, 3, b"defghij")).headers["Upload-Job"]
        writer.transport.abort()
    (args,) = await studio.args()
    assert await studio.staged(args["name"]) == b"abcdefghij"


async def test_who_cannot_keep_an_upload_is_cut_off_and_the_next_goes_on(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    with capture_logs() as logs:
        writer = await hanging(studio, key, place)
        await studio.rows("alter table staged_upload rename to away")
        async with asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.1)
        await studio.rows("alter table away rename to staged_upload")
        await studio.rows("update staged_upload set lease_until = now() - interval '1 second'")
        answer = await patch(studio, key, place, 3, b"defghij")
    assert logs[0]["event"] == "an upload is not kept"
    assert answer.headers["Upload-Job"]
    (args,) = await studio.args()
    assert await studio.staged(args["name"]) == b"abcdefghij"
    writer.close()


async def test_many_that_end_it_at_once_make_one_job(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    await patch(studio, key, place, 0, b"abcdefghi")
    await asyncio.gather(*(patch(studio, key, place, 9, b"j") for _ in range(5)), return_exceptions=True)
    await head(studio, key, place)
    (args,) = await studio.args()
    assert await studio.staged(args["name"]) == b"abcdefghij"


WRONG: dict[str, tuple[dict[str, str], int]] = {
    "no version": ({"Upload-Length": "10", "Tus-Resumable": ""}, 412),
    "another version": ({"Upload-Length": "10", "Tus-Resumable": "0.2.2"}, 412),
    "no length": ({}, 400),
    "a length to come": ({"Upload-Defer-Length": "1"}, 400),
    "a length that is no number": ({"Upload-Length": "-1"}, 400),
    "nothing": ({"Upload-Length": "0"}, 400),
    "too much": ({"Upload-Length": str(1536 * MIB + 1)}, 413),
    "metadata that are none": ({"Upload-Length": "10", "Upload-Metadata": "title ***"}, 400),
    "no title": ({"Upload-Length": "10", "Upload-Metadata": ""}, 422),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_makes_no_sense_is_not_begun(studio: Studio, case: str) -> None:
    headers, status = WRONG[case]
    sent = TUS | bearer(await studio.key()) | {"Upload-Metadata": told(title="x")} | headers
    answer = await studio.request("POST", "/uploads", headers=sent)
    assert detail(answer)[0] == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert (status == 412) == ("Tus-Version" in answer.headers)
    assert await studio.nothing_left()


async def test_a_part_says_what_it_is(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 10)
    assert detail(await patch(studio, key, place, 0, b"x", **{"Content-Type": "audio/mpeg"}))[0] == 415
    assert detail(await patch(studio, key, place, 0, b"x", **{"Upload-Offset": ""}))[0] == 400


async def test_the_server_says_what_it_can(studio: Studio) -> None:
    answer = await studio.request("OPTIONS", "/uploads")
    assert answer.status == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,termination"
    assert answer.headers["Tus-Max-Size"] == str(UploadLimits().max_bytes)


async def test_a_client_with_post_alone_gets_along(studio: Studio) -> None:
    key = await studio.key()
    place = await begun(studio, key, 3)
    headers = (
        TUS
        | bearer(key)
        | {
            "X-HTTP-Method-Override": "PATCH",
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
        }
    )
    answer = await studio.request("POST", place, data=b"abc", headers=headers)
    assert answer.headers["Upload-Job"]
    assert (await studio.request("POST", place, headers=TUS | bearer(key))).status == 405
    assert [args["bytes"] for args in await studio.args()] == [3]
    assert await studio.rows("select did from job") == [(ANN,)]
