"""`fm.plyr.audio.uploadAudio`: bytes come in whole and are handed on, or leave nothing."""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from appview.limits import Limit
from appview.media.receive import UploadLimits
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import jobs
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.s3 import S3Store
from storage.sessions import Kind
from tests.fakenet.repo import FakeRepo
from tests.fakenet.tokens import token
from tests.integration.appview.service import Answer
from tests.integration.appview.signed import made
from tests.integration.appview.uploads.studio import ANN, BOB, OURS, SCOPE, UPLOAD, Studio, bearer, opened
from tests.s3.fixtures import two_buckets
from tests.s3.server import Swift

MIB = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Sent without saying how much it will be."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def error(answer: Answer) -> tuple[int, str]:
    assert set(answer.json) == {"error", "message"}, answer.body
    return answer.status, answer.json["error"]


async def test_what_was_sent_is_what_lies_there(studio: Studio) -> None:
    data = noise(30 * MIB)
    answer = await studio.upload(
        await studio.key(), data, album="Ferries", description="by night", features=BOB, filename="a.flac"
    )
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    view = answer.json
    assert (view["kind"], view["state"]) == ("upload", "pending")
    (args,) = await studio.args()
    name = args.pop("name")
    assert args.pop("session") == (await studio.rows("select max(id) from session"))[0][0]
    assert args == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "crc32": zlib.crc32(data),
        "bytes": len(data),
        "title": "Night Ferry",
        "album": "Ferries",
        "description": "by night",
        "features": [BOB],
        "filename": "a.flac",
    }
    assert await studio.staged(name) == data
    assert await studio.rows("select did, subject from job") == [(ANN, name)]
    assert await studio.rows("select name, did, part from staged_upload") == [(name, ANN, "sound")]


async def test_a_body_of_unknown_length_is_taken_likewise(studio: Studio) -> None:
    data = noise(3 * MIB + 1)
    assert (await studio.upload(await studio.key(), pieces(data))).status == 200
    (args,) = await studio.args()
    assert await studio.staged(args["name"]) == data
    assert args["sha256"] == hashlib.sha256(data).hexdigest()
    assert "album" not in args


async def test_into_an_s3(database: str, catalog: Catalog, tmp_path: Path, swift: Swift) -> None:
    data = noise(20 * MIB)
    async with (
        S3Store(await two_buckets(swift)) as store,
        opened(
            database, catalog, store, tmp_path / "keys", limits=UploadLimits(max_bytes=20 * MIB)
        ) as studio,
    ):
        key = await studio.key()
        assert (await studio.upload(key, data)).status == 200
        assert (await studio.upload(key, pieces(data))).status == 200
        for args in await studio.args():
            assert await studio.staged(args["name"]) == data
        assert error(await studio.upload(key, pieces(data + b"x"))) == (413, "PayloadTooLarge")
        assert len(await studio.rows("select name from staged_upload")) == 2


async def test_what_is_too_large_is_refused_before_it_is_read(
    database: str, catalog: Catalog, tmp_path: Path
) -> None:
    store = FilesystemStore(tmp_path / "blobs")
    limits = UploadLimits(max_bytes=MIB)
    async with opened(database, catalog, store, tmp_path / "keys", limits=limits) as studio:
        host, port = studio.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {UPLOAD}?title=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {await studio.key()}\r\n"
            f"Content-Type: audio/flac\r\nContent-Length: {MIB + 1}\r\n\r\n".encode()
        )
        assert (await reader.readline()).split()[1] == b"413"  # not a byte of the body was sent
        writer.close()
        assert error(await studio.upload(await studio.key(), noise(MIB + 1))) == (413, "PayloadTooLarge")
        assert (await studio.upload(await studio.key(), noise(MIB))).status == 200


async def test_whoever_asks_first_sends_nothing_in_vain(studio: Studio) -> None:
    key, host = await studio.key(), studio.url.removeprefix("http://").split(":")

    async def first(path: str, size: int, bearer: str) -> bytes:
        """The first line that the server says to a request without its body."""
        reader, writer = await asyncio.open_connection(host[0], int(host[1]))
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nExpect: 100-continue\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {size}\r\n\r\n".encode()
        )
        line = await reader.readline()
        writer.transport.abort()
        return line.split()[1]

    large = 1600 * MIB
    for path in (f"{UPLOAD}?title=x", "/tracks/"):
        assert await first(path, MIB, key) == b"100"
        assert await first(path, large, key) == b"413"
        assert await first(path, MIB, "x" * 43) == b"401"
    assert await first(UPLOAD, MIB, key) == b"400"  # no title
    await studio.until_nothing_left()


async def test_what_grows_too_large_leaves_nothing(database: str, catalog: Catalog, tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "blobs")
    limits = UploadLimits(max_bytes=MIB)
    async with opened(database, catalog, store, tmp_path / "keys", limits=limits) as studio:
        answer = await studio.upload(await studio.key(), pieces(noise(MIB + 1)))
        assert error(answer) == (413, "PayloadTooLarge")
        await studio.until_nothing_left()
        assert await studio.args() == []


async def test_nothing_at_all_is_refused(studio: Studio) -> None:
    key = await studio.key()
    assert error(await studio.upload(key, b"")) == (400, "InvalidRequest")
    assert error(await studio.upload(key, pieces(b""))) == (400, "InvalidRequest")
    await studio.until_nothing_left()


async def test_who_vanishes_in_the_middle_leaves_nothing(studio: Studio) -> None:
    host, port = studio.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {UPLOAD}?title=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {await studio.key()}\r\n"
        f"Content-Type: audio/flac\r\nContent-Length: {10 * MIB}\r\n\r\n".encode()
    )
    writer.write(noise(2 * MIB))
    await writer.drain()
    await studio.until_rows(1)
    writer.transport.abort()
    await studio.until_nothing_left()
    assert await studio.args() == []


async def test_who_leaves_in_the_middle_leaves_nothing(studio: Studio) -> None:
    key, left = await studio.key(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield noise(MIB)
        await left.wait()
        yield noise(MIB)

    sending = asyncio.create_task(studio.upload(key, body()))
    await studio.until_rows(1)
    # What the deletion of an account does first. Its steps are not made here.
    await studio.rows(
        "insert into account_deletion (did, remove_records, step, due) values (%s, false, 'access', null)",
        ANN,
    )
    left.set()
    assert error(await sending) == (403, "SignInNeeded")
    await studio.until_nothing_left()
    assert await studio.args() == []
    assert error(await studio.upload(key, b"x")) == (403, "SignInNeeded")


async def test_a_compressed_body_is_refused(studio: Studio) -> None:
    """It could be a thousand times what came."""
    answer = await studio.request(
        "POST",
        UPLOAD,
        params={"title": "x"},
        data=b"\x1f\x8b" + noise(100),
        headers={"Content-Type": "audio/flac", "Content-Encoding": "gzip"} | bearer(await studio.key()),
    )
    assert error(answer) == (400, "InvalidRequest")


WRONG = {
    "no media type": ("POST", {"title": "x"}, None, "InvalidRequest"),
    "a wrong verb": ("GET", {"title": "x"}, "audio/flac", "InvalidRequest"),
    "another": ("PUT", {"title": "x"}, "audio/flac", "InvalidRequest"),
    "no title": ("POST", {}, "audio/flac", "InvalidRequest"),
    "a blank title": ("POST", {"title": "  "}, "audio/flac", "InvalidRequest"),
    "a title too long": ("POST", {"title": "x" * 257}, "audio/flac", "InvalidRequest"),
    "a feature that is no DID": (
        "POST",
        {"title": "x", "features": "ann.test"},
        "audio/flac",
        "InvalidRequest",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_call_that_makes_no_sense_is_refused(studio: Studio, case: str) -> None:
    method, params, kind, name = WRONG[case]
    headers = bearer(await studio.key()) | ({} if kind is None else {"Content-Type": kind})
    # Bytes of which no library guesses a type.
    answer = await studio.request(
        method, UPLOAD, params=params, data=b"x", headers=headers, skip_auto_headers=["Content-Type"]
    )
    assert error(answer) == (400, name)
    assert await studio.nothing_left()


async def test_a_query_is_not_called_with_post(studio: Studio) -> None:
    answer = await studio.request("POST", "/xrpc/fm.plyr.audio.getLimits", data=b"x")
    assert error(answer) == (400, "InvalidRequest")


async def test_nobody_in_particular_uploads_nothing(studio: Studio) -> None:
    answer = await studio.upload(None, b"x")
    assert error(answer) == (401, "AuthenticationRequired")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert error(await studio.upload("x" * 43, b"x"))[0] == 401


async def test_a_grant_without_tracks_is_not_enough(studio: Studio) -> None:
    for scope in ("atproto", "atproto repo:fm.plyr.like", "atproto repo:fm.plyr.track?action=create"):
        assert error(await studio.upload(await studio.key(scope=scope), b"x")) == (403, "ScopeMissing")
    for scope in ("atproto transition:generic", "atproto include:fm.plyr.authFullApp", "atproto repo:*"):
        assert (await studio.upload(await studio.key(scope=scope), b"x")).status == 200


async def test_a_key_without_a_grant_is_not_enough(studio: Studio) -> None:
    """Also where the account has a grant, in another session: a minted key is for reading."""
    await studio.key()
    key = await studio.key(kind=Kind.MINTED, granted=False, scope="")
    assert error(await studio.upload(key, b"x")) == (403, "SignInNeeded")


async def test_through_a_pds_it_needs_a_grant_given_here(
    database: str, catalog: Catalog, tmp_path: Path
) -> None:
    async with (
        made(database, catalog) as world,
        opened(
            database, catalog, FilesystemStore(tmp_path / "b"), tmp_path / "keys", client=world.client
        ) as studio,
    ):
        eve = world.known("eve")

        def fresh(repo: FakeRepo) -> str:
            return token(repo.key, iss=repo.did, aud=OURS, lxm="fm.plyr.audio.uploadAudio")

        assert error(await studio.upload(fresh(eve), b"x")) == (403, "SignInNeeded")
        await studio.key(Did(eve.did), scope="atproto")
        assert error(await studio.upload(fresh(eve), b"x")) == (403, "ScopeMissing")
        await studio.key(Did(eve.did), scope=SCOPE)
        await studio.key(Did(eve.did), scope="atproto repo:fm.plyr.like")
        assert (await studio.upload(fresh(eve), b"x")).status == 200
        (args,) = await studio.args()
        granted = await studio.rows("select id from session where scope = %s", SCOPE)
        assert [(args["session"],)] == granted


async def test_an_account_has_three_unfinished_uploads_at_most(studio: Studio) -> None:
    key, bob = await studio.key(), await studio.key(BOB)
    for _ in range(3):
        assert (await studio.upload(key, b"x")).status == 200
    answer = await studio.upload(key, b"x")
    assert error(answer) == (429, "TooManyUploads")
    assert answer.headers["Retry-After"]
    assert (await studio.upload(bob, b"x")).status == 200
    await studio.rows("update job set state = 'done', finished_at = now() where did = %s", ANN)
    assert (await studio.upload(key, b"x")).status == 200


async def test_a_new_sound_for_a_track_is_an_upload_like_any(studio: Studio) -> None:
    key = await studio.key()
    for number in range(3):
        await studio.rows(
            "insert into staged_upload (name, did, part) values (%s, %s, 'sound')", f"new{number}", ANN
        )
        await studio.rows(
            "insert into job (kind, did, subject) values ('replace', %s, %s)", ANN, f"new{number}"
        )
    assert error(await studio.upload(key, b"x")) == (429, "TooManyUploads")
    await studio.rows("update job set state = 'done', finished_at = now() where subject = 'new0'")
    assert (await studio.upload(key, b"x")).status == 200
    assert error(await studio.upload(key, b"x")) == (429, "TooManyUploads")


async def test_of_many_at_once_three_are_taken(studio: Studio) -> None:
    key = await studio.key()
    answers = await asyncio.gather(*(studio.upload(key, noise(MIB, seed)) for seed in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 7
    assert len(await studio.args()) == 3


async def test_an_upload_whose_server_died_takes_no_place_for_long(studio: Studio) -> None:
    key = await studio.key()
    for number in range(3):
        await studio.rows(
            "insert into staged_upload (name, did, part) values (%s, %s, 'sound')", f"dead{number}", ANN
        )
    assert error(await studio.upload(key, b"x")) == (429, "TooManyUploads")
    await studio.rows("update staged_upload set touched_at = now() - interval '3 minutes'")
    assert (await studio.upload(key, b"x")).status == 200


async def test_uploads_of_a_minute_are_counted(database: str, catalog: Catalog, tmp_path: Path) -> None:
    limits = UploadLimits(rate=Limit(2, 60))
    store = FilesystemStore(tmp_path / "blobs")
    async with opened(database, catalog, store, tmp_path / "keys", limits=limits) as studio:
        key = await studio.key()
        for _ in range(2):
            assert (await studio.upload(key, b"x")).status == 200
        answer = await studio.upload(key, b"x")
        assert error(answer) == (429, "RateLimitExceeded")
        assert int(answer.headers["Retry-After"]) <= 60
        told = await studio.request("GET", "/xrpc/fm.plyr.audio.getLimits", headers=bearer(key))
        assert (told.json["uploadsLeft"], told.json["unfinished"]) == (0, 2)


async def test_the_limits_are_told_to_everybody(studio: Studio) -> None:
    answer = await studio.request("GET", "/xrpc/fm.plyr.audio.getLimits")
    assert answer.status == 200
    assert answer.json["maxBytes"] == 1536 * MIB
    assert answer.json["maxImageBytes"] == 20 * MIB
    assert {"mp3", "wav", "flac", "aiff", "webm"} <= set(answer.json["formats"])
    assert "unfinished" not in answer.json


async def test_a_job_is_its_owners_alone(studio: Studio) -> None:
    key, bob = await studio.key(), await studio.key(BOB)
    id = (await studio.upload(key, b"x")).json["id"]

    async def asked(who: str | None, what: str = id) -> Answer:
        return await studio.request(
            "GET", "/xrpc/fm.plyr.audio.getJob", params={"id": what}, headers=bearer(who)
        )

    assert (await asked(key)).json["state"] == "pending"
    assert error(await asked(bob)) == (400, "JobNotFound")
    assert error(await asked(None)) == (401, "AuthenticationRequired")
    assert error(await asked(key, str(uuid.uuid4()))) == (400, "JobNotFound")
    assert error(await asked(key, "x")) == (400, "JobNotFound")


async def test_a_job_is_told_as_it_stands(studio: Studio) -> None:
    key = await studio.key()
    id = uuid.UUID((await studio.upload(key, b"x")).json["id"])
    uri, cid = (
        f"at://{ANN}/fm.plyr.track/3jzfcijpj2z2a",
        "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454",
    )
    async with await psycopg.AsyncConnection.connect(studio.dsn, autocommit=True) as conn:
        await jobs.begin(conn, id)
        await jobs.report(conn, id, "transcode", "encoding", 0.256)
        running = (
            await studio.request(
                "GET", "/xrpc/fm.plyr.audio.getJob", params={"id": str(id)}, headers=bearer(key)
            )
        ).json
        assert (running["state"], running["phase"], running["progress"]) == ("running", "transcode", 26)
        await jobs.save(conn, id, {}, warnings=["the PDS took no blob"])
        await jobs.finish(
            conn, id, jobs.JobState.DONE, message="done", result={"uri": uri, "cid": cid, "secret": 1}
        )
    done = (
        await studio.request("GET", "/xrpc/fm.plyr.audio.getJob", params={"id": str(id)}, headers=bearer(key))
    ).json
    assert done["result"] == {"uri": uri, "cid": cid}
    assert done["warnings"] == ["the PDS took no blob"]
    assert done["state"] == "done"
    assert done["finishedAt"] >= done["createdAt"]
