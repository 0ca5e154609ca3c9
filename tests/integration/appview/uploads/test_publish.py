"""`POST /tracks/`: a form in any order, streamed; and the events that follow."""

from __future__ import annotations

import asyncio
import hashlib
import io
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg
import pytest

from appview.media.receive import UploadLimits
from lexicons.catalog import Catalog
from storage import jobs
from storage.blobs.filesystem import FilesystemStore
from storage.jobs import JobState
from storage.sessions import Kind
from tests.integration.appview.auth.signing import detail
from tests.integration.appview.service import Answer
from tests.integration.appview.uploads.studio import ANN, BOB, Studio, bearer, opened
from tests.integration.appview.uploads.test_upload_audio import MIB, noise

Fields = list[tuple[str, Any]]


def file(data: bytes, name: str = "ferry.flac") -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), name


def form(fields: Fields) -> aiohttp.FormData:
    made = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for name, value in fields:
        if isinstance(value, tuple):
            made.add_field(name, value[0], filename=value[1], content_type="application/octet-stream")
        else:
            made.add_field(name, value)
    return made


async def publish(studio: Studio, key: str | None, *fields: tuple[str, Any]) -> Answer:
    return await studio.request("POST", "/tracks/", data=form(list(fields)), headers=bearer(key))


async def raw(studio: Studio, key: str, body: bytes, kind: str = "multipart/form-data; boundary=x") -> Answer:
    headers = bearer(key) | {"Content-Type": kind}
    return await studio.request("POST", "/tracks/", data=io.BytesIO(body), headers=headers)


async def test_a_track_is_taken_in_with_its_cover(studio: Studio) -> None:
    await studio.rows(
        "insert into repo (did, handle, pds, rev) values (%s, 'bob.test', 'https://pds.test', null)", BOB
    )
    sound, cover = noise(30 * MIB), noise(2 * MIB, 2)
    answer = await publish(
        studio,
        await studio.key(),
        ("title", " Night Ferry "),
        ("file", file(sound, "Fähre.flac")),
        ("features", orjson.dumps(["Bob.test", "@bob.test", ANN]).decode()),
        ("image", file(cover, "a.jpg")),
        ("album", "Ferries"),
        ("visibility", "public"),
    )
    assert answer.status == 200, answer.body
    told = answer.json
    assert told == {
        "upload_id": told["upload_id"],
        "status": "pending",
        "message": "upload queued for processing",
    }
    assert await studio.rows("select id::text, did from job") == [(told["upload_id"], ANN)]
    (args,) = await studio.args()
    assert (args["title"], args["album"], args["filename"]) == ("Night Ferry", "Ferries", "Fähre.flac")
    assert args["features"] == [BOB, ANN]
    for each, data in ((args, sound), (args["cover"], cover)):
        assert await studio.staged(each["name"]) == data
        assert each["sha256"] == hashlib.sha256(data).hexdigest()
        assert each["bytes"] == len(data)
    assert len(await studio.rows("select name from staged_upload")) == 2


async def test_the_order_of_the_parts_does_not_matter(studio: Studio) -> None:
    sound = noise(MIB)
    fields: Fields = [("image", file(b"image", "a.png")), ("file", file(sound)), ("title", "Last")]
    assert (await publish(studio, await studio.key(), *fields)).status == 200
    (args,) = await studio.args()
    assert args["title"] == "Last"
    assert await studio.staged(args["name"]) == sound
    assert await studio.staged(args["cover"]["name"]) == b"image"


async def test_a_browser_that_chose_no_image_sends_an_empty_one(studio: Studio) -> None:
    key = await studio.key()
    assert (
        await publish(studio, key, ("title", "x"), ("image", file(b"", "")), ("file", file(b"x")))
    ).status == 200
    (args,) = await studio.args()
    assert "cover" not in args
    assert await studio.rows("select part from staged_upload") == [("sound",)]
    assert [each.name async for each in studio.store.list_staged()] == [args["name"]]


SOUND: Fields = [("file", (b"x", "a.mp3"))]
NAMED: Fields = [*SOUND, ("title", "x")]
MISSING = {"type": "missing", "msg": "Field required", "input": None}
NO_LIST = "features must be a JSON array of handles"
ELEVEN = orjson.dumps(["a"] * 11).decode()
REFUSED: dict[str, tuple[Fields, int, Any]] = {
    "no title": (SOUND, 422, [MISSING | {"loc": ["body", "title"]}]),
    "a blank title": ([("title", " "), *SOUND], 422, [MISSING | {"loc": ["body", "title"]}]),
    "no file": ([("title", "x")], 422, [MISSING | {"loc": ["body", "file"]}]),
    "a file without a name": ([("title", "x"), ("file", "abc")], 400, "no filename provided"),
    "an empty name": ([("title", "x"), ("file", (b"abc", ""))], 400, "no filename provided"),
    "an empty file": ([("title", "x"), ("file", (b"", "a.mp3"))], 400, "the file is empty"),
    "two files": ([*NAMED, *SOUND], 400, "more than one file"),
    "features, no list": ([*NAMED, ("features", '"ann"')], 400, NO_LIST),
    "features, no strings": ([*NAMED, ("features", "[1]")], 400, "each feature must be a string handle"),
    "eleven features": ([*NAMED, ("features", ELEVEN)], 400, "maximum 10 featured artists allowed"),
    "an unknown one": ([*NAMED, ("features", '["who.test"]')], 400, "failed to resolve handle: who.test"),
    "no DID": ([*NAMED, ("features", '["did:x"]')], 400, "failed to resolve handle: did:x"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_wrong_with_a_form_is_told_and_leaves_nothing(studio: Studio, case: str) -> None:
    fields, status, told = REFUSED[case]
    fresh = [(name, file(*value) if isinstance(value, tuple) else value) for name, value in fields]
    assert detail(await publish(studio, await studio.key(), *fresh)) == (status, told)
    await studio.until_nothing_left()
    assert await studio.args() == []


async def test_broken_features_are_told(studio: Studio) -> None:
    fields = ("title", "x"), ("features", "["), ("file", file(b"x"))
    status, told = detail(await publish(studio, await studio.key(), *fields))
    assert status == 400
    assert told.startswith("invalid JSON in features: ")


async def test_what_is_too_large_is_refused(database: str, catalog: Catalog, tmp_path: Path) -> None:
    limits = UploadLimits(max_bytes=2 * MIB, max_image_bytes=MIB)
    store = FilesystemStore(tmp_path / "blobs")
    async with opened(database, catalog, store, tmp_path / "keys", limits=limits) as studio:
        key = await studio.key()
        title = ("title", "x")
        answer = await publish(studio, key, title, ("file", file(noise(2 * MIB + 1))))
        assert detail(answer) == (413, "file too large (max 2MB)")
        answer = await publish(studio, key, title, ("image", file(noise(MIB + 1))), ("file", file(b"x")))
        assert detail(answer) == (413, "image too large (max 1MB)")
        answer = await publish(studio, key, title, ("file", file(noise(9 * MIB))))
        assert detail(answer) == (413, "file too large (max 2MB)")
        await studio.until_nothing_left()
        fits = await publish(studio, key, title, ("file", file(noise(2 * MIB))), ("image", file(noise(MIB))))
        assert fits.status == 200
        config = await studio.request("GET", "/config")
        assert config.json == {"max_upload_size_mb": 2, "max_image_size_mb": 1}


HOSTILE = {
    "no boundary": (b"abc", "multipart/form-data"),
    "no form": (b"{}", "application/json"),
    "not its boundary": (b"a" * 100_000, "multipart/form-data; boundary=x"),
    "a huge head": (b"--x\r\nA: " + b"b" * 1_000_000, "multipart/form-data; boundary=x"),
    "thousands of parts": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 5000 + b"--x--",
        "multipart/form-data; boundary=x",
    ),
    "parts in a part": (
        (
            b"--x\r\nContent-Disposition: attachment\r\n"
            b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--"
        ),
        "multipart/form-data; boundary=x",
    ),
    "cut off in the middle": (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
        "multipart/form-data; boundary=x",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_form_is_refused_and_leaves_nothing(studio: Studio, case: str) -> None:
    body, kind = HOSTILE[case]
    assert detail(await raw(studio, await studio.key(), body, kind))[0] == 400
    await studio.until_nothing_left()


async def test_a_huge_text_is_refused(studio: Studio) -> None:
    answer = await publish(studio, await studio.key(), ("title", "x" * 100_000), ("file", file(b"x")))
    assert detail(answer)[0] == 413
    answer = await publish(studio, await studio.key(), ("title", "x" * 257), ("file", file(b"x")))
    assert detail(answer)[0] == 422


async def test_what_no_database_takes_is_refused_and_leaves_nothing(studio: Studio) -> None:
    key = await studio.key()
    for name in ("title", "album", "description"):
        fields = {"title": "x", name: "a\0b"}
        answer = await publish(studio, key, *fields.items(), ("file", file(b"x")))
        assert (answer.status, await studio.nothing_left()) == (400, True), name
    body = (
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n'
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''a%00b.mp3\r\n\r\nx"
        b"\r\n--x--\r\n"
    )
    answer = await raw(studio, key, body, "multipart/form-data; boundary=x")
    assert answer.status == 200
    assert [args["filename"] for args in await studio.args()] == ["ab.mp3"]


async def test_a_form_has_an_end(studio: Studio) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n'
        while True:
            yield b"a" * 1_000_000

    headers = bearer(await studio.key()) | {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await studio.request("POST", "/tracks/", data=endless(), headers=headers)
    assert detail(answer) == (413, "the form is too large")
    await studio.until_nothing_left()


async def test_who_may_not_is_told_so(studio: Studio) -> None:
    fields = ("title", "x"), ("file", file(b"x"))
    assert detail(await publish(studio, None, *fields)) == (401, "not authenticated - login required")
    assert detail(await publish(studio, "x" * 43, *fields)) == (401, "invalid or expired session")
    narrow = await studio.key(scope="atproto repo:fm.plyr.like")
    assert detail(await publish(studio, narrow, *fields)) == (403, "scope_upgrade_required")
    minted = await studio.key(kind=Kind.MINTED, granted=False)
    assert detail(await publish(studio, minted, *fields)) == (403, "this token cannot act for its account")
    assert await studio.nothing_left()


async def test_a_page_of_somebody_elses_publishes_nothing(studio: Studio) -> None:
    headers = {"Cookie": f"session_id={await studio.key(kind=Kind.BROWSER)}", "Origin": "https://evil.test"}
    answer = await studio.request("POST", "/tracks/", data=form([("title", "x")]), headers=headers)
    assert answer.status == 403


async def test_without_its_last_slash_the_address_has_moved(studio: Studio) -> None:
    answer = await studio.request("POST", "/tracks", data=form([("title", "x")]))
    assert (answer.status, answer.headers["Location"]) == (307, "/tracks/")


async def test_too_many_are_refused(studio: Studio) -> None:
    key = await studio.key()
    for _ in range(3):
        assert (await publish(studio, key, ("title", "x"), ("file", file(b"x")))).status == 200
    answer = await publish(studio, key, ("title", "x"), ("file", file(b"x")))
    assert answer.status == 429
    assert answer.headers["Retry-After"]


# -- events


async def heard(response: aiohttp.ClientResponse) -> Any:
    """What the next event says; None for a beat."""
    event = await read(response)
    return orjson.loads(event["data"]) if "data" in event else None


async def read(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The fields of the next event."""
    async with asyncio.timeout(60):
        lines = (await response.content.readuntil(b"\n\n")).decode().splitlines()
    return {name: value for name, _, value in (line.partition(": ") for line in lines if line != ":") if name}


def events(studio: Studio, id: str, key: str | None = None, *, last: str | None = None) -> Any:
    """`last`: the id of the last event that was seen."""
    headers = bearer(key) | ({} if last is None else {"Last-Event-ID": last})
    return studio.http.get(f"{studio.url}/tracks/uploads/{id}/progress", headers=headers)


async def test_an_upload_is_followed_to_its_end(studio: Studio) -> None:
    key = await studio.key()
    id = (await publish(studio, key, ("title", "x"), ("file", file(b"x")))).json["upload_id"]
    async with (
        await psycopg.AsyncConnection.connect(studio.dsn, autocommit=True) as conn,
        events(studio, id, key) as response,
    ):
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        first = await heard(response)
        assert first == {
            "upload_id": id,
            "status": "pending",
            "message": "upload queued for processing",
            "error": None,
            "phase": None,
            "server_progress_pct": 0.0,
            "created_at": first["created_at"],
            "completed_at": None,
            "warnings": [],
        }
        async with conn.transaction():
            await jobs.begin(conn, uuid.UUID(id))
            await jobs.report(conn, uuid.UUID(id), "transcode", "encoding", 0.5)
        running = await heard(response)
        assert (running["status"], running["phase"], running["server_progress_pct"]) == (
            "processing",
            "transcode",
            50.0,
        )
        result = {"uri": f"at://{ANN}/fm.plyr.track/1", "cid": "bafy", "trackId": 7}
        await jobs.finish(
            conn, uuid.UUID(id), JobState.DONE, message="upload completed successfully", result=result
        )
        last = await heard(response)
        assert (last["status"], last["track_id"], last["atproto_uri"], last["atproto_cid"]) == (
            "completed",
            7,
            result["uri"],
            "bafy",
        )
        assert last["completed_at"] > last["created_at"]
        assert await response.content.read() == b""  # and no more


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_an_upload_that_failed_says_why(studio: Studio, state: JobState) -> None:
    key = await studio.key()
    id = (await publish(studio, key, ("title", "x"), ("file", file(b"x")))).json["upload_id"]
    async with await psycopg.AsyncConnection.connect(studio.dsn, autocommit=True) as conn:
        error = "this is no audio" if state is JobState.FAILED else None
        await jobs.finish(conn, uuid.UUID(id), state, message="failed", error=error)
    async with events(studio, id, key) as response:
        event = await heard(response)
        assert (event["status"], event["message"], event["error"]) == (
            "failed",
            "upload failed",
            error or "cancelled",
        )
        assert await response.content.read() == b""


LOST = {"status": "failed", "message": "upload job not found", "error": "job lost"}


async def test_whoever_has_its_id_follows_an_upload(studio: Studio) -> None:
    """A page's EventSource brings nobody's cookies; a session that has ended is as none."""
    id = (await publish(studio, await studio.key(), ("title", "x"), ("file", file(b"x")))).json["upload_id"]
    assert uuid.UUID(id).version == 4  # nobody guesses it
    for key in (None, await studio.key(BOB), "no key"):
        async with events(studio, id, key) as response:
            assert (await heard(response))["status"] == "pending"


async def test_what_is_no_upload_is_lost(studio: Studio) -> None:
    other = await studio.rows("insert into job (kind) values ('export.make') returning id")
    for asked in (str(other[0][0]), str(uuid.uuid4()), "nonsense"):
        async with events(studio, asked) as response:
            assert response.status == 200
            event = await read(response)
            assert orjson.loads(event["data"]) == LOST
            assert await response.content.read() == b""
        async with events(studio, asked, last=event["id"]) as response:
            assert response.status == 204  # do not come again


async def test_who_comes_again_goes_on_from_how_it_stands(studio: Studio) -> None:
    id = (await publish(studio, await studio.key(), ("title", "x"), ("file", file(b"x")))).json["upload_id"]
    async with events(studio, id) as response:
        first = await read(response)
        assert first["retry"] == "3000"
    async with await psycopg.AsyncConnection.connect(studio.dsn, autocommit=True) as conn:
        async with events(studio, id, last=first["id"]) as response:
            assert await read(response) == first  # at once, though nothing changed
        await jobs.finish(conn, uuid.UUID(id), JobState.FAILED, message="failed", error="no")
        async with events(studio, id, last=first["id"]) as response:
            end = await read(response)
            assert (orjson.loads(end["data"])["status"], end["id"] == first["id"]) == ("failed", False)
            assert await response.content.read() == b""
        async with events(studio, id, last=end["id"]) as response:
            assert (response.status, await response.read()) == (204, b"")


async def test_silence_is_filled(database: str, catalog: Catalog, tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "blobs")
    async with opened(database, catalog, store, tmp_path / "keys", beat_s=0.05) as studio:
        key = await studio.key()
        id = (await publish(studio, key, ("title", "x"), ("file", file(b"x")))).json["upload_id"]
        async with events(studio, id, key) as response:
            assert (await heard(response))["status"] == "pending"
            assert await heard(response) is None


@pytest.mark.once
async def test_what_happens_while_nobody_listens_is_told_afterwards(studio: Studio) -> None:
    """The connection that listens is cut; whoever follows misses nothing but the moment."""
    key = await studio.key()
    id = (await publish(studio, key, ("title", "x"), ("file", file(b"x")))).json["upload_id"]
    async with (
        await psycopg.AsyncConnection.connect(studio.dsn, autocommit=True) as conn,
        events(studio, id, key) as response,
    ):
        assert (await heard(response))["status"] == "pending"
        async with asyncio.timeout(60):
            while not await studio.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'plyr-jobs' and datname = current_database()"
            ):
                await asyncio.sleep(0.02)
        await jobs.finish(conn, uuid.UUID(id), JobState.FAILED, message="failed", error="no")
        assert (await heard(response))["status"] == "failed"
