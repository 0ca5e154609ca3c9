"""Exports: what is in them, who may have them and for how long, and what becomes of them at every crash."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import socket
import subprocess
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
import pytest
from structlog.testing import capture_logs

from appview.jobs.tasks import Task
from appview.jobs.watch import MOST_OF_ONE
from appview.jobs.work import Attempt
from appview.media.export import Exporter
from appview.rest.media import SIGHT_S
from firehose.car import read_car, write_car
from firehose.proof import record_proof
from indexer.sanctions import restore, take_down
from lexicons.catalog import Catalog
from lexicons.subject import Subject, read_subject
from lexicons.syntax import Did
from storage import accounts, jobs, repos, sessions
from storage.blobs import rows
from storage.blobs.audit import audit
from storage.blobs.collector import collect
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area, BlobStore, Key, Object
from storage.jobs import Job, JobState
from storage.sessions import End
from tests.fakenet.referee import proven
from tests.integration.appview.exporting import TRACK, Archive, archive
from tests.integration.appview.service import Answer
from tests.integration.blobs.conftest import store
from tests.integration.blobs.test_contract import noise
from tests.integration.media.mortal import Killed, Mortal, dies
from tests.integration.media.studio import Worked
from tests.s3.fixtures import swift, swift_packages

__all__ = ["store", "swift", "swift_packages"]

NO_TIME = timedelta(0)


@pytest.fixture
async def here(database: str, catalog: Catalog, store: BlobStore) -> AsyncIterator[Archive]:
    async with archive(database, catalog, store) as found:
        yield found


@pytest.fixture
async def disk(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Archive]:
    async with archive(database, catalog, FilesystemStore(tmp_path / "blobs")) as found:
        yield found


async def with_one(here: Archive) -> tuple[Did, str]:
    """An account with a track, and a token of theirs."""
    did = here.person("ann")
    await here.track(did, "one", noise(5000))
    return did, await here.key(did)


async def with_two(here: Archive) -> tuple[Did, Subject, str]:
    """An account with two tracks, the first of them, and a token of theirs."""
    did = here.person("ann")
    subject = read_subject(await here.track(did, "one", noise(5000)))
    await here.track(did, "two", noise(6000, 2))
    return did, subject, await here.key(did)


async def begun(here: Archive, key: str) -> tuple[UUID, int]:
    answer = await here.request("POST", "/exports/media", key)
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["status"], told["message"]) == ("pending", "export queued for processing")
    return UUID(told["export_id"]), told["track_count"]


async def address(here: Archive, id: UUID, key: str) -> str:
    answer = await here.request("GET", f"/exports/{id}/download", key)
    assert answer.status == 307, answer.body
    return answer.headers["Location"]


async def fetched(here: Archive, id: UUID, key: str) -> zipfile.ZipFile:
    answer = await here.request("GET", await address(here, id, key))
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Length"] == str(len(answer.body))
    file = zipfile.ZipFile(io.BytesIO(answer.body))
    assert file.testzip() is None
    return file


def tracks_of(file: zipfile.ZipFile) -> list[dict[str, object]]:
    return orjson.loads(file.read("tracks.json"))["tracks"]


async def test_everything_of_a_person_is_in_one_zip(here: Archive, tmp_path: Path) -> None:
    """Originals under their titles, what is known of each, and records that prove themselves."""
    ann = here.person("ann")
    files = {"Night/Ferry": noise(1_500_000), "night_ferry": noise(70_000, 2), "Last": noise(9000, 3)}
    for title, data in files.items():
        area = Area.PRIVATE if title == "Last" else Area.AUDIO
        await here.track(ann, title, data, mime="audio/aiff" if title == "Last" else "audio/flac", area=area)
    key = await here.key(ann)
    id, count = await begun(here, key)
    job = await here.work(id)
    assert (count, job.state, job.message) == (3, JobState.DONE, "export completed - 3 tracks ready")

    answer = await here.request("GET", await address(here, id, key))
    name = f"plyr-tracks-{datetime.now(UTC):%Y-%m-%d}.zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["Cache-Control"] == "private, no-store"
    path = tmp_path / name
    path.write_bytes(answer.body)
    if (unzip := shutil.which("unzip")) is not None:
        subprocess.run([unzip, "-tqq", str(path)], check=True)
    file = zipfile.ZipFile(path)
    named = ["Night_Ferry.flac", "night_ferry (2).flac", "Last.aiff"]
    assert file.namelist() == [*named, "tracks.json", "records.car"]
    assert [file.read(each) for each in named] == list(files.values())

    told = tracks_of(file)
    assert [each["file"] for each in told] == named
    assert all(each["proven"] and each["original"] for each in told)
    assert [each["record"]["title"] for each in told] == list(files)  # type: ignore[index]
    car = read_car(file.read("records.car"))
    repo = here.repos[ann]
    assert len(car.roots) == 3
    for root, each in zip(car.roots, told, strict=True):
        path_ = str(each["uri"]).removeprefix(f"at://{ann}/")
        block = repo.blocks[dict(repo.listing())[path_]]
        slice_ = record_proof(write_car(root, car.blocks), path_, block)
        assert proven(slice_, ann, path_, repo.key.did_key)[1] == {"$type": TRACK, "n": 2**60} | {
            "title": each["record"]["title"]  # type: ignore[index]
        }


async def test_a_part_from_the_middle_is_the_same_part(here: Archive) -> None:
    ann = here.person("ann")
    await here.track(ann, "one", noise(900_000))
    await here.track(ann, "two", noise(900_000, 2))
    key = await here.key(ann)
    id, _ = await begun(here, key)
    await here.work(id)
    where = await address(here, id, key)
    whole = await here.request("GET", where)
    for start, stop in ((0, 10), (899_990, 900_200), (1_000_000, len(whole.body))):
        part = await here.request("GET", where, Range=f"bytes={start}-{stop - 1}")
        assert (part.status, part.body) == (206, whole.body[start:stop])
        assert part.headers["ETag"] == whole.headers["ETag"]
    other = await here.request("GET", await address(here, id, key), Range="bytes=5-9")
    assert (other.headers["ETag"], other.body) == (whole.headers["ETag"], whole.body[5:10])


async def test_nobody_else_may_fetch_it(disk: Archive) -> None:
    ann, eve = disk.person("ann"), disk.person("eve")
    await disk.track(ann, "one", noise(5000))
    await disk.track(eve, "other", noise(5000, 2))
    key, foreign = await disk.key(ann), await disk.key(eve)
    id, _ = await begun(disk, key)
    assert (await disk.request("GET", f"/exports/{id}/download", key)).status == 400
    await disk.work(id)
    path = f"/exports/{id}/download"
    assert (await disk.request("GET", path)).status == 401
    refused = await disk.request("GET", path, foreign)
    assert (refused.status, refused.json) == (403, {"detail": "not authorized"})
    where = await address(disk, id, key)
    bare = urlsplit(where).path
    own, _ = await begun(disk, foreign)
    await disk.work(own)
    query = urlsplit(await address(disk, own, foreign)).query
    for bad in (bare, f"{bare}?{query}", where.replace("did=", "did=x"), where[:-1]):
        assert (await disk.request("GET", bad, key)).status == 403
    assert (await disk.request("GET", where)).status == 200
    disk.now[0] += 601
    late = await disk.request("GET", where)
    assert (late.status, late.json) == (403, {"detail": "this address has expired"})


async def test_what_is_not_there_is_not_found(disk: Archive) -> None:
    key = await disk.key(disk.person("ann"))
    empty = await disk.request("POST", "/exports/media", key)
    assert (empty.status, empty.json) == (404, {"detail": "no tracks found to export"})
    for path in (
        "/exports/x/download",
        f"/exports/{UUID(int=5)}/download",
        f"/exports/{UUID(int=5)}/progress",
    ):
        answer = await disk.request("GET", path, key)
        assert (answer.status, answer.json) == (404, {"detail": "export not found"})


async def test_two_who_ask_at_once_get_one_export(disk: Archive) -> None:
    _, key = await with_one(disk)
    answers = await asyncio.gather(*(begun(disk, key) for _ in range(5)))
    assert len(set(answers)) == 1
    await disk.work(answers[0][0])
    assert (await begun(disk, key))[0] != answers[0][0]


async def test_its_owner_sees_how_far_it_is(disk: Archive) -> None:
    ann = disk.person("ann")
    for number in range(3):
        await disk.track(ann, f"song {number}", noise(5000, number))
    key = await disk.key(ann)
    id, _ = await begun(disk, key)
    headers = {"Authorization": f"Bearer {key}"}
    async with disk.http.get(f"{disk.url}/exports/{id}/progress", headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        first = await answer.content.readuntil(b"\n\n")
        await disk.work(id, slow(disk.exporter.tasks[0]))
        lines = (first + await answer.read()).decode().split("\n\n")
    events = [orjson.loads(line.partition("data: ")[2]) for line in lines if "data: " in line]
    messages = list(dict.fromkeys(event["message"] for event in events))
    assert messages[0] == "export queued for processing"
    assert "downloading track 2 of 3..." in messages
    assert messages[-1] == "export completed - 3 tracks ready"
    last = events[-1]
    assert (last["status"], last["processed_count"], last["total_count"], last["error"]) == (
        "completed",
        3,
        3,
        None,
    )
    assert last["download_url"].startswith(f"https://plyr.test/exports/{id}/plyr-tracks-")
    where = last["download_url"].removeprefix("https://plyr.test")
    assert (await disk.request("GET", where)).status == 200
    assert all("download_url" not in event for event in events[:-1])


async def test_whoever_has_its_id_sees_how_it_stands_and_its_owner_where_it_is(disk: Archive) -> None:
    """A page's EventSource brings no cookies along."""
    ann, eve = disk.person("ann"), disk.person("eve")
    await disk.track(ann, "one", noise(5000))
    await disk.track(ann, "elsewhere", None)
    key, foreign = await disk.key(ann), await disk.key(eve)
    id, _ = await begun(disk, key)
    await disk.work(id)
    path = f"/exports/{id}/progress"
    own = told_by(await disk.request("GET", path, key))
    assert own["warnings"] == ["“elsewhere” is not in it: its sound is not stored here"]
    assert "/plyr-tracks-" in own.pop("download_url")
    for other in (None, foreign, "no key"):
        assert told_by(await disk.request("GET", path, other)) == own | {"warnings": []}
    last = (await disk.request("GET", path)).body.decode().partition("id: ")[2].partition("\n")[0]
    again = await disk.request("GET", path, **{"Last-Event-ID": last})
    assert (again.status, again.body) == (204, b"")


def told_by(answer: Answer) -> dict[str, Any]:
    """What the only event says."""
    assert answer.status == 200
    (line,) = [line for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    return orjson.loads(line.removeprefix("data: "))


async def test_who_leaves_before_anything_was_said_is_no_failure_of_ours(
    disk: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    ann = disk.person("ann")
    await disk.track(ann, "one", noise(5000))
    id, _ = await begun(disk, await disk.key(ann))
    await disk.work(id)
    url = urlsplit(disk.url)
    with capture_logs() as logs:
        for _ in range(3):
            _, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(f"GET /exports/{id}/progress HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await writer.drain()
            writer.transport.abort()
            assert (await disk.request("GET", f"/exports/{id}/progress")).status == 200
    assert (logs, caplog.records) == ([], [])


async def test_who_signs_out_meanwhile_is_not_told_where_it_is(disk: Archive) -> None:
    _, key = await with_one(disk)
    id, _ = await begun(disk, key)
    path, headers = f"{disk.url}/exports/{id}/progress", {"Authorization": f"Bearer {key}"}
    async with disk.http.get(path, headers=headers) as answer, asyncio.timeout(60):
        await answer.content.readuntil(b"\n\n")
        async with disk.pool.connection() as conn:
            found = await (await conn.execute("select id from session")).fetchone()
            assert found is not None
            await sessions.end(conn, [found[0]], End.SIGNED_OUT)
        await disk.work(id)
        rest = await answer.read()
    assert b'"completed"' in rest
    assert b"download_url" not in rest


async def test_who_follows_too_much_is_refused_one_more(disk: Archive) -> None:
    _, key = await with_one(disk)
    id, _ = await begun(disk, key)
    path, headers = f"{disk.url}/exports/{id}/progress", {"Authorization": f"Bearer {key}"}
    async with AsyncExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            assert (await stack.enter_async_context(disk.http.get(path, headers=headers))).status == 200
        refused = await disk.request("GET", f"/exports/{id}/progress", key)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "30")


def slow(task: Task) -> Task:
    """The same, and its owner is told of each word: what follows within 0.3 s is not told apart."""

    class Slow:
        def __init__(self, work: object) -> None:
            self._work = work

        def __getattr__(self, name: str) -> object:
            return getattr(self._work, name)

        async def report(self, *said: object) -> None:
            await self._work.report(*said)  # type: ignore[attr-defined]
            await asyncio.sleep(0.6)

    return Task(task.kind, lambda work: task.run(Slow(work)), task.failed)  # type: ignore[arg-type]


async def test_what_cannot_be_in_it_is_said(here: Archive) -> None:
    """Elsewhere, lost, or of another size: a warning each, and the rest is there."""
    ann = here.person("ann")
    await here.track(ann, "good", noise(5000), proof=False)
    await here.track(ann, "elsewhere", None)
    await here.track(ann, "mirrored", noise(6000, 3), original=False, mime="audio/mpeg")
    await here.track(ann, "lost", noise(7000, 4))
    async with here.pool.connection() as conn:
        (lost,) = [
            each for each in await rows.page(conn, Area.AUDIO, after="", limit=9) if each.bytes == 7000
        ]
    await here.store.delete(lost.key)
    key = await here.key(ann)
    id, count = await begun(here, key)
    job = await here.work(id)
    assert (count, job.state, job.message) == (4, JobState.DONE, "export completed - 2 tracks ready")
    assert job.warnings == [
        "“elsewhere” is not in it: its sound is not stored here",
        "“lost” is not in it: its file cannot be read here",
    ]
    file = await fetched(here, id, key)
    assert file.namelist() == ["good.flac", "mirrored.mp3", "tracks.json", "records.car"]
    told = {str(each["record"]["title"]): each for each in tracks_of(file)}  # type: ignore[index]
    assert {title: each["file"] for title, each in told.items()} == {
        "good": "good.flac",
        "elsewhere": None,
        "mirrored": "mirrored.mp3",
        "lost": None,
    }
    assert [each["proven"] for each in told.values()] == [False, True, True, True]
    assert [each["original"] for each in told.values()] == [True, False, False, False]
    car = read_car(file.read("records.car"))
    assert len(car.roots) == 4  # the unproven record stands for itself


async def test_an_export_without_a_single_file_fails(disk: Archive) -> None:
    ann = disk.person("ann")
    await disk.track(ann, "elsewhere", None)
    id, _ = await begun(disk, await disk.key(ann))
    job = await disk.work(id)
    assert (job.state, job.error) == (JobState.FAILED, "no tracks found to export")
    assert await disk.owned(id) == set()


async def test_what_the_disk_says_is_not_for_its_owner(disk: Archive, tmp_path: Path) -> None:
    ann = disk.person("ann")
    await disk.track(ann, "one", noise(5000))
    folder = tmp_path / "blobs" / "export"
    folder.rmdir()
    folder.write_bytes(b"")
    id, _ = await begun(disk, await disk.key(ann))
    job = await disk.work(id)
    assert (job.state, job.message) == (JobState.PENDING, "our storage is away at the moment")


async def test_a_track_that_is_deleted_meanwhile_is_still_in_it(disk: Archive) -> None:
    """The export owns the bytes; the collector takes them once it is let go of."""
    ann = disk.person("ann")
    uri = await disk.track(ann, "one", noise(5000))
    key = await disk.key(ann)
    id, _ = await begun(disk, key)
    await disk.work(id)
    async with disk.pool.connection() as conn:
        await rows.release(conn, kind="track", owner=uri.removeprefix("at://").replace(f"/{TRACK}/", "/"))
        await conn.execute("delete from track_media")
    await collected(disk)
    assert (await fetched(disk, id, key)).read("one.flac") == noise(5000)

    where = await address(disk, id, key)
    async with disk.pool.connection() as conn:
        await conn.execute("update blob_owner set created_at = now() - interval '7 days 1 second'")
        expiring = await jobs.add(conn, "exports.expire", did=None, subject=None, args={})
    assert expiring is not None
    done = await disk.work(expiring, disk.exporter.tasks[1])
    assert done.message == "1 exports have expired"
    for path, used in ((where, None), (f"/exports/{id}/download", key)):
        assert (await disk.request("GET", path, used)).status == 404
    await collected(disk)
    assert [each async for each in audit_of(disk)] == []


async def test_who_is_out_of_sight_has_no_export(disk: Archive) -> None:
    _, key = await with_one(disk)
    id, _ = await begun(disk, key)
    await disk.work(id)
    where = await address(disk, id, key)
    disk.seed.conn.execute("update profile set hidden = true")
    disk.seed.commit()
    assert (await disk.request("GET", where)).status == 404
    assert (await disk.request("POST", "/exports/media", key)).status == 404


async def test_what_is_taken_down_is_in_no_export_neither_begun_nor_made(disk: Archive) -> None:
    ann, _, key = await with_two(disk)
    made, _ = await begun(disk, key)
    await disk.work(made)
    where = await address(disk, made, key)

    async def withhold(reason: str | None) -> None:
        async with disk.pool.connection() as conn:
            standing = (await repos.lock(conn, [ann]))[ann]
            sha256 = hashlib.sha256(noise(5000)).hexdigest()
            assert await accounts.withhold(conn, standing.repo.id, sha256, reason)

    await withhold("copyright")
    assert (await disk.request("GET", where)).status == 404
    fresh, count = await begun(disk, key)
    assert fresh != made
    await disk.work(fresh)
    sounds = [name for name in (await fetched(disk, fresh, key)).namelist() if name.endswith(".flac")]
    assert (count, len(sounds)) == (2, 1)
    assert "two" in sounds[0]
    await withhold(None)
    assert (await disk.request("GET", where)).status == 200


async def test_a_zip_on_its_way_ends_before_its_next_file_when_something_in_it_is_taken_down(
    disk: Archive,
) -> None:
    ann = disk.person("ann")
    await disk.track(ann, "one", noise(12 << 20))  # more than waits between the two
    await disk.track(ann, "two", noise(6000, 2))
    key = await disk.key(ann)
    id, _ = await begun(disk, key)
    await disk.work(id)
    url = urlsplit(disk.url + await address(disk, id, key))
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.connect((url.hostname, url.port))
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    await asyncio.sleep(SIGHT_S)
    async with disk.pool.connection() as conn:
        standing = (await repos.lock(conn, [ann]))[ann]
        assert await accounts.withhold(
            conn, standing.repo.id, hashlib.sha256(noise(6000, 2)).hexdigest(), "x"
        )
    came = b""
    with suppress(ConnectionError):
        while data := await reader.read(1 << 20):
            came += data
    writer.close()
    assert came.find(noise(6000, 2)) == -1
    assert len(came) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


async def test_a_takedown_that_began_before_the_export_and_ends_after_it_is_heeded(
    disk: Archive, catalog: Catalog
) -> None:
    """Decided within a transaction that is older than the export, and committed only once that is made."""
    _, subject, key = await with_two(disk)
    async with disk.pool.connection() as conn:
        async with conn.transaction():
            await conn.execute("select now()")
            id, _ = await begun(disk, key)
            await disk.work(id)
            where = await address(disk, id, key)
            assert await take_down(conn, subject, "copyright", catalog)
        assert (await disk.request("GET", where)).status == 404
        assert await restore(conn, subject, catalog)
    assert (await disk.request("GET", where)).status == 200


async def test_a_takedown_before_the_export_is_read_leaves_the_rest_to_its_owner(
    disk: Archive, catalog: Catalog
) -> None:
    _, subject, key = await with_two(disk)
    id, _ = await begun(disk, key)
    async with disk.pool.connection() as conn, conn.transaction():
        assert await take_down(conn, subject, "copyright", catalog)
    await disk.work(id)
    names = (await fetched(disk, id, key)).namelist()
    assert [name for name in names if name.endswith(".flac")] == ["two.flac"]


async def test_a_takedown_that_is_about_to_commit_is_waited_for(disk: Archive, catalog: Catalog) -> None:
    _, subject, key = await with_two(disk)
    async with disk.pool.connection() as conn, conn.transaction():
        assert await take_down(conn, subject, "copyright", catalog)
        id, _ = await begun(disk, key)
        making = asyncio.create_task(disk.work(id))
        await blocked(disk)
    await making
    names = (await fetched(disk, id, key)).namelist()
    assert [name for name in names if name.endswith(".flac")] == ["two.flac"]


async def blocked(here: Archive) -> None:
    """Until somebody waits for a lock."""
    async with asyncio.timeout(10), here.pool.connection() as conn:
        waiting = (
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        while not await (await conn.execute(waiting)).fetchall():
            await asyncio.sleep(0.01)


async def test_who_was_taken_for_dead_lets_go_of_nothing(disk: Archive) -> None:
    _, key = await with_one(disk)
    id, _ = await begun(disk, key)
    async with disk.pool.connection() as conn:
        job = await jobs.begin(conn, id)
    assert job is not None
    await disk.work(id)
    owned = await disk.owned(id)
    task = disk.exporter.tasks[0]
    assert task.failed is not None
    for meddle in (task.run, task.failed):
        with pytest.raises(asyncio.CancelledError):
            await meddle(Attempt(disk.pool, job))
    assert await disk.owned(id) == owned != set()


class Left(FilesystemStore):
    """While it looks at a file, its owner leaves."""

    def __init__(self, folder: Path, here: Archive, did: Did) -> None:
        super().__init__(folder)
        self._here, self._did = here, did

    async def stat(self, key: Key) -> Object | None:
        async with self._here.pool.connection() as conn, conn.transaction():
            await jobs.erase(conn, self._did)
        return await super().stat(key)


async def test_who_leaves_while_an_export_is_made_owns_nothing(disk: Archive, tmp_path: Path) -> None:
    ann, key = await with_one(disk)
    id, _ = await begun(disk, key)
    async with disk.pool.connection() as conn:
        job = await jobs.begin(conn, id)
    assert job is not None
    run = Exporter(disk.pool, Left(tmp_path / "blobs", disk, ann), keep_days=7).tasks[0].run
    with pytest.raises(asyncio.CancelledError):
        await run(Attempt(disk.pool, job))
    assert await disk.owned(id) == set()


async def test_who_leaves_takes_their_exports_along(disk: Archive) -> None:
    ann, bob = disk.person("ann"), disk.person("bob")
    kept: dict[Did, UUID] = {}
    for did in (ann, bob):
        await disk.track(did, "one", noise(5000))
        id, _ = await begun(disk, await disk.key(did))
        await disk.work(id)
        kept[did] = id
    async with disk.pool.connection() as conn, conn.transaction():
        await jobs.erase(conn, ann)
        assert await jobs.get(conn, kept[ann]) is None
    assert await disk.owned(kept[ann]) == set()
    assert len(await disk.owned(kept[bob])) == 4
    assert [each async for each in audit_of(disk) if each is not None] == []


@pytest.mark.once
@pytest.mark.parametrize("behind", [False, True])
async def test_killed_anywhere_it_is_made_again_and_nothing_is_left(
    disk: Archive, tmp_path: Path, behind: bool
) -> None:
    """kill -9 at each call of the store in turn: the next attempt makes the same ZIP, owns what is in it and
    nothing more, and the collector leaves nothing without an owner."""
    ann = disk.person("ann")
    for number in range(2):
        await disk.track(ann, f"song {number}", noise(5000, number))
    key = await disk.key(ann)
    id, _ = await begun(disk, key)
    deaths = 0
    while await dies(disk.dsn, tmp_path / "blobs", id, deaths + 1, behind=behind):
        deaths += 1
        await collected(disk, grace=timedelta(hours=1))
        async with disk.pool.connection() as conn:  # more than are made otherwise
            await conn.execute("update job set attempts = 0")
    assert deaths == 8  # two tracks looked at, three files staged and published
    job = await disk.job(id)
    assert await disk.owned(id) == await in_manifest(disk, job)
    assert (await fetched(disk, id, key)).read("song 1.flac") == noise(5000, 1)
    await collected(disk, keep=NO_TIME)
    assert [each async for each in audit_of(disk) if each is not None] == []
    assert [each async for each in disk.store.list_staged()] == []


@pytest.mark.once
async def test_killed_behind_its_last_step_it_only_says_so(disk: Archive, tmp_path: Path) -> None:
    _, key = await with_one(disk)
    id, _ = await begun(disk, key)
    before = await disk.work(id)
    async with disk.pool.connection() as conn:  # as if its end had not been written down
        await conn.execute("update job set state = 'running', finished_at = null, result = null")
    mortal = Mortal(tmp_path / "blobs", 1, behind=False)
    after = await disk.work(id, Exporter(disk.pool, mortal, keep_days=7).tasks[0])
    assert (after.result, after.message, mortal.calls) == (before.result, before.message, 0)


async def test_cancelled_it_lets_go_of_everything(disk: Archive, tmp_path: Path) -> None:
    _, key = await with_one(disk)
    id, _ = await begun(disk, key)
    task = Exporter(disk.pool, Mortal(tmp_path / "blobs", 3, behind=False), keep_days=7).tasks[0]
    with pytest.raises(Killed):
        await disk.work(id, task)
    assert await disk.owned(id) != set()
    async with disk.pool.connection() as conn:
        job = await jobs.begin(conn, id)
    assert job is not None
    assert task.failed is not None
    await task.failed(Worked(disk.pool, job))
    assert await disk.owned(id) == set()


async def in_manifest(here: Archive, job: Job) -> set[int]:
    """Ids of the blobs that the ZIP is made of, and of the manifest."""
    assert job.result is not None
    key = Key(Area.EXPORT, job.result["manifest"])
    manifest = orjson.loads(b"".join([chunk async for chunk in here.store.read(key)]))
    keys = [key, *(Key.parse(each[4]) for each in manifest)]
    async with here.pool.connection() as conn:
        found = [await rows.find(conn, each) for each in keys]
    return {each.id for each in found if each is not None}


async def collected(
    here: Archive, *, grace: timedelta = NO_TIME, keep: timedelta = timedelta(days=1)
) -> None:
    async with here.pool.connection() as conn:
        done = await collect(conn, here.store, grace=grace, keep=keep, now=datetime.now(UTC))
    assert done.failed is None


async def audit_of(here: Archive) -> AsyncIterator[object]:
    async with here.pool.connection() as conn:
        async for each in audit(conn, here.store, content=True):
            yield each
