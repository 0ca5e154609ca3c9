"""What artists upload as Opus, too: made of it with a real ffmpeg, kept as long as its sound."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from appview.jobs.attempt import Attempts
from appview.media.container import OPUS
from appview.media.opus import KIND, NOTHING, SWEEP, OpusRenditions, want
from appview.media.probe import probe
from bin.kinds import job_queue
from lexicons.syntax import Did, Rkey
from storage import health, jobs, sounds, track_media
from storage.blobs import rows
from storage.blobs.audit import audit
from storage.blobs.collector import collect
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.publishing import publish
from storage.blobs.rows import Blob
from storage.blobs.store import Area, BlobStore, Key
from storage.jobs import Job, JobState
from storage.postgres import Pool, make_pool
from storage.sounds import SoundHead
from tests.integration.blobs.conftest import store
from tests.integration.media.mortal import dies
from tests.music import aiff, decoded, ffmpeg, music
from tests.s3.fixtures import swift, swift_packages

__all__ = ["store", "swift", "swift_packages"]

ANN, BOB = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
ONE, TWO = Rkey("3jzfcijpj2z2a"), Rkey("3jzfcijpj2zab")
LENGTH_S = 3
RENDITION = (
    "select n.blob_id, encode(b.sha256, 'hex'), b.mime, s.duration_s, s.playable from sound_rendition n"
    " join blob b on b.id = n.rendition_id join sound s on s.blob_id = b.id"
    " join blob_owner o on o.blob_id = b.id and o.kind = 'sound' and o.owner = n.blob_id::text"
    " where n.format = 'opus' and b.owners = 1 and b.state = 'published' and b.area = 'audio'"
)


@dataclass
class Here:
    pool: Pool
    store: BlobStore
    scratch: Path

    @property
    def renditions(self) -> OpusRenditions:
        return OpusRenditions(self.pool, self.store, job_queue(), self.scratch)

    async def one(self, query: Any, *params: object) -> Any:
        async with self.pool.connection() as conn:
            row = await (await conn.execute(query, params)).fetchone()
        return None if row is None else row[0] if len(row) == 1 else row

    async def keep(self, data: bytes, area: Area, *, playable: bool) -> Blob:
        """A sound that is published."""
        name = hashlib.sha256(data).hexdigest()[:32]
        digest = await self.store.stage(name, _one(data))
        async with self.pool.connection() as conn:
            blob = await publish(conn, self.store, name, area, digest, mime="audio/mpeg")
            await sounds.put(conn, blob.id, SoundHead("x", "x", 44_100, 2, LENGTH_S, playable))
        return blob

    async def track(self, original: Blob, stream: Blob, did: Did = ANN, rkey: Rkey = ONE) -> UUID | None:
        """As an upload leaves it; the job that it had begun."""
        async with self.pool.connection() as conn, conn.transaction():
            job = await jobs.add(conn, "upload", did=did, subject=f"{did}/{rkey}", args={})
            assert job is not None
            await track_media.begin(conn, did, rkey, original.id, job)
            await track_media.publish(conn, did, rkey, stream_id=stream.id, cover_id=None)
            await jobs.finish(conn, job, JobState.DONE, message="done")
            await want(conn, job_queue(), stream.id)
            found = await jobs.unfinished_about(conn, KIND, str(stream.id))
        return None if found is None else found.id

    async def work(self, id: UUID) -> Job:
        await Attempts(self.pool, self.renditions.tasks).make(id)
        return await self.job(id)

    async def job(self, id: UUID) -> Job:
        async with self.pool.connection() as conn:
            found = await jobs.get(conn, id)
        assert found is not None
        return found

    async def sweep(self) -> int:
        async with self.pool.connection() as conn:
            id = await job_queue().enqueue(conn, SWEEP)
        assert id is not None
        job = await self.work(id)
        assert job.result is not None, job.error
        return job.result["begun"]

    async def collect(self) -> None:
        """All that is due goes, and what is left is whole."""
        async with self.pool.connection() as conn:
            now, none = datetime.now(UTC), timedelta(0)
            await collect(conn, self.store, grace=none, keep=none, now=now)
            assert [each async for each in audit(conn, self.store, content=True) if each] == []
            assert await rows.miscounted(conn) == []
        assert [each async for each in self.store.list_staged()] == []

    async def file(self, sha256: str, path: Path) -> Path:
        key = Key(Area.AUDIO, sha256)
        path.write_bytes(b"".join([chunk async for chunk in self.store.read(key)]))
        return path


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return aiff(tmp_path_factory.mktemp("sound") / "one.aiff", music(LENGTH_S)).read_bytes()


@pytest.fixture
async def here(database: str, tmp_path: Path, store: BlobStore) -> AsyncIterator[Here]:
    """With each kind of store."""
    async with make_pool(database, max_size=3, name="test") as pool:
        yield Here(pool, store, tmp_path / "scratch")


@pytest.fixture
async def sound(here: Here, original: bytes) -> tuple[Blob, Blob]:
    """An original, for its artist alone, and what was made of it, for everybody."""
    return (
        await here.keep(original, Area.PRIVATE, playable=False),
        await here.keep(b"an MP3 of it", Area.AUDIO, playable=True),
    )


async def test_an_upload_is_to_be_had_as_opus(
    here: Here, sound: tuple[Blob, Blob], original: bytes, tmp_path: Path
) -> None:
    """Of the original, as long to within a sample, and as it sounds."""
    id = await here.track(*sound)
    assert id is not None
    async with here.pool.connection() as conn:
        waiting = (await health.ask(conn)).jobs
    assert waiting is not None
    assert (waiting.late_s, waiting.in_state("pending")) == (None, 1)  # it has time
    job = await here.work(id)
    assert (job.state, job.error, job.message) == (JobState.DONE, None, "made")
    blob_id, sha256, mime, duration_s, playable = await here.one(RENDITION)
    assert (blob_id, mime, playable) == (sound[1].id, OPUS.mime, False)
    assert duration_s == LENGTH_S
    made = await here.file(sha256, tmp_path / "made.opus")
    found = await probe(made)
    assert (found.container.name, found.codec, found.rate, found.channels) == ("Ogg", "opus", 48_000, 2)
    assert abs(found.duration_s - LENGTH_S) < 0.02
    heard = await decoded(made)
    assert abs(len(heard) - LENGTH_S * 48_000) <= 1
    (tmp_path / "one.aiff").write_bytes(original)
    await ffmpeg("-i", tmp_path / "one.aiff", "-ar", "48000", "-c:a", "pcm_f32le", tmp_path / "one.wav")
    wanted = await decoded(tmp_path / "one.wav")
    count = min(len(heard), len(wanted))
    error = ((heard[:count] - wanted[:count]) ** 2).mean() / (wanted[:count] ** 2).mean()
    assert error < 0.1
    kbps = made.stat().st_size * 8 / LENGTH_S / 1000
    assert 100 < kbps < 260
    await here.collect()
    assert await here.one("select count(*) from blob") == 3


async def test_a_second_track_of_the_same_sound_has_the_same(here: Here, sound: tuple[Blob, Blob]) -> None:
    id = await here.track(*sound)
    assert await here.track(*sound, did=BOB) == id
    assert id is not None
    await here.work(id)
    assert await here.track(*sound, did=BOB, rkey=ONE) is None
    assert await here.sweep() == 0
    assert await here.one("select count(*) from sound_rendition") == 1


async def test_it_goes_with_the_last_track_that_has_the_sound(here: Here, sound: tuple[Blob, Blob]) -> None:
    for did in (ANN, BOB):
        id = await here.track(*sound, did=did)
    assert id is not None
    await here.work(id)
    async with here.pool.connection() as conn, conn.transaction():
        await track_media.remove(conn, ANN, ONE)
    await here.collect()
    assert await here.one(RENDITION) is not None
    async with here.pool.connection() as conn, conn.transaction():
        await jobs.erase(conn, BOB)
        await track_media.erase(conn, BOB)  # the account goes
    await here.collect()
    for table in ("blob", "sound", "sound_rendition", "blob_owner"):
        assert await here.one(f"select count(*) from {table}") == 0


async def test_a_replaced_sound_keeps_its_own_and_the_new_one_gets_one(
    here: Here, sound: tuple[Blob, Blob], tmp_path: Path
) -> None:
    first = await here.track(*sound)
    assert first is not None
    await here.work(first)
    _, before, *_ = await here.one(RENDITION)
    other = await here.keep(
        aiff(tmp_path / "b.aiff", music(LENGTH_S, seed=2)).read_bytes(), Area.PRIVATE, playable=False
    )
    stream = await here.keep(b"another MP3", Area.AUDIO, playable=True)
    async with here.pool.connection() as conn, conn.transaction():
        await track_media.revise(conn, ANN, ONE, original_id=other.id, stream_id=stream.id, keep=1)
        assert await want(conn, job_queue(), stream.id)
        second = await jobs.unfinished_about(conn, KIND, str(stream.id))
    assert second is not None
    assert (await here.work(second.id)).message == "made"
    await here.collect()
    query = "select encode(b.sha256, 'hex') from sound_rendition n join blob b on b.id = n.rendition_id"
    assert await here.one(f"{query} where n.blob_id = %s", sound[1].id) == before
    assert await here.one(f"{query} where n.blob_id = %s", stream.id) != before
    third = await here.keep(b"a third", Area.AUDIO, playable=True)
    async with here.pool.connection() as conn, conn.transaction():
        await track_media.revise(conn, ANN, ONE, original_id=third.id, stream_id=third.id, keep=1)
    await here.collect()
    assert await here.one(f"{query} where n.blob_id = %s", sound[1].id) is None  # its revision was dropped
    assert await here.one("select count(*) from sound_rendition") == 1


class Leaving(FilesystemStore):
    """What is published here is too late: its track is gone."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        super().__init__(folder)
        self._pool = pool

    async def publish(self, name: str, key: Key, *, mime: str) -> None:
        await super().publish(name, key, mime=mime)
        if mime == OPUS.mime:
            async with self._pool.connection() as conn, conn.transaction():
                await track_media.remove(conn, ANN, ONE)


async def test_a_sound_that_goes_meanwhile_leaves_nothing(
    database: str, original: bytes, tmp_path: Path
) -> None:
    async with make_pool(database, max_size=3, name="test") as pool:
        here = Here(pool, Leaving(tmp_path / "blobs", pool), tmp_path / "scratch")
        kept = await here.keep(original, Area.PRIVATE, playable=False)
        id = await here.track(kept, await here.keep(b"an MP3 of it", Area.AUDIO, playable=True))
        assert id is not None
        job = await here.work(id)
        assert (job.state, job.message) == (JobState.DONE, NOTHING)
        assert await here.one("select count(*) from blob where mime = %s", OPUS.mime) == 1
        await here.collect()
        assert await here.one("select count(*) from blob") == 0


@pytest.mark.parametrize("behind", [False, True])
async def test_one_that_is_killed_is_made_once_more(
    database: str, original: bytes, tmp_path: Path, behind: bool
) -> None:
    """At each call of the store; it comes out as the same bytes."""
    async with make_pool(database, max_size=3, name="test") as pool:
        here = Here(pool, FilesystemStore(tmp_path / "blobs"), tmp_path / "scratch")
        kept = await here.keep(original, Area.PRIVATE, playable=False)
        id = await here.track(kept, await here.keep(b"an MP3 of it", Area.AUDIO, playable=True))
        assert id is not None
        deaths = 0
        while await dies(database, tmp_path / "blobs", id, deaths + 1, behind=behind):
            deaths += 1
        assert deaths == 2
        job = await here.job(id)
        assert (job.state, job.message, job.error) == (JobState.DONE, "made", None)
        assert await here.one("select count(*) from blob") == 3
        await here.collect()
        assert await here.one(RENDITION) is not None


async def test_what_came_before_is_found_a_few_at_once(here: Here, sound: tuple[Blob, Blob]) -> None:
    """Of tracks made here alone; what failed is not tried again as long as its job is remembered."""
    id = await here.track(*sound)
    await here.one("delete from job where id = %s returning 1", id)
    bad = await here.keep(b"no sound at all", Area.AUDIO, playable=True)
    failing = await here.track(bad, bad, rkey=TWO)
    assert failing is not None
    job = await here.work(failing)
    assert (job.state, (job.error or "")[:27]) == (JobState.FAILED, "no Opus can be made of it: ")
    mirrored = await here.keep(b"by another app", Area.AUDIO, playable=True)
    await here.one(
        "insert into track_media (did, rkey, stream_id, published_at) values (%s, 'x', %s, now())"
        " returning 1",
        BOB,
        mirrored.id,
    )
    assert await here.sweep() == 1
    assert await here.sweep() == 0
    async with here.pool.connection() as conn:
        begun = await jobs.unfinished_about(conn, KIND, str(sound[1].id))
    assert begun is not None
    assert (await here.work(begun.id)).message == "made"
    assert await here.sweep() == 0
    await here.one("update job set kind = 'old' where id = %s returning 1", failing)
    assert await here.sweep() == 1


async def test_a_cancelled_job_leaves_nothing(here: Here, sound: tuple[Blob, Blob]) -> None:
    id = await here.track(*sound)
    assert id is not None
    async with here.pool.connection() as conn:
        await jobs.ask_to_end(conn, id)
    assert (await here.work(id)).state is JobState.CANCELLED
    await here.collect()
    assert await here.one("select count(*) from blob") == 2
