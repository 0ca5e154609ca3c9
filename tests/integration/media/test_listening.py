"""Sound without a fingerprint is listened to, with a real ffmpeg, and found from then on."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appview.jobs.attempt import Attempts
from appview.media.listening import KIND, NOTHING, SWEEP, Listening
from appview.moderation.terms import terms
from bin.kinds import job_queue
from storage import fingerprints, jobs, sounds
from storage.blobs.publishing import publish
from storage.blobs.store import Area, BlobStore
from storage.jobs import Job, JobState
from storage.postgres import Pool, make_pool
from storage.sounds import SoundHead
from tests.integration.blobs.conftest import store
from tests.s3.fixtures import swift, swift_packages
from tests.songs import encoded, fingerprints_of, song

__all__ = ["store", "swift", "swift_packages"]

LENGTH_S = 12
ANN, BOB = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"


@dataclass
class Here:
    pool: Pool
    store: BlobStore
    scratch: Path

    async def all(self, query: Any, *params: object) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            cursor = await conn.execute(query, params)
            return await cursor.fetchall() if cursor.description else []

    async def keep(self, data: bytes, area: Area = Area.AUDIO) -> int:
        """A sound that nobody has listened to."""
        name = hashlib.sha256(data).hexdigest()[:32]
        digest = await self.store.stage(name, _one(data))
        async with self.pool.connection() as conn:
            blob = await publish(conn, self.store, name, area, digest, mime="audio/mpeg")
            await sounds.put(conn, blob.id, SoundHead("x", "x", 44_100, 2, LENGTH_S, playable=True))
        return blob.id

    async def track(self, original: int | None, stream: int, did: str = ANN) -> None:
        await self.all(
            "insert into track_media (did, rkey, original_id, stream_id, published_at)"
            " values (%s, %s, %s, %s, now())",
            *(did, "3jzfcijpj2z2a", original, stream),
        )

    async def turn(self) -> list[Job]:
        """A sweep, and all that it began."""
        listening = Listening(self.pool, self.store, job_queue(), self.scratch)
        attempts = Attempts(self.pool, listening.tasks)
        async with self.pool.connection() as conn:
            sweep = await job_queue().enqueue(conn, SWEEP)
        assert sweep is not None
        await attempts.make(sweep)
        (swept,) = await self.all("select result->>'begun' from job where id = %s", sweep)
        begun = await self.all("select id from job where kind = %s and finished_at is null", KIND)
        assert swept == (str(len(begun)),)
        for (id,) in begun:
            await attempts.make(id)
        async with self.pool.connection() as conn:
            done = [await jobs.get(conn, id) for (id,) in begun]
        return [job for job in done if job is not None]


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture(scope="module")
def file() -> bytes:
    return encoded(song(1, LENGTH_S), "-f", "wav")


@pytest.fixture
async def here(database: str, tmp_path: Path, store: BlobStore) -> AsyncIterator[Here]:
    """With each kind of store."""
    async with make_pool(database, max_size=2, name="test") as pool:
        yield Here(pool, store, tmp_path / "scratch")


async def test_what_has_no_fingerprint_is_listened_to_once(here: Here, file: bytes) -> None:
    sound_id = await here.keep(file)
    await here.track(None, sound_id)
    (job,) = await here.turn()
    assert (job.state, job.message, job.error) == (JobState.DONE, "listened to it", None)
    ((heard, loudness, found),) = await here.all(
        "select s.fingerprint, s.loudness_lufs, f.terms"
        " from sound s join fingerprint f on f.sound_id = s.blob_id"
    )
    assert (heard, found) == (fingerprints_of([file])[0], terms(heard))
    assert loudness < 0
    assert await here.turn() == []


async def test_what_is_played_for_a_sound_is_like_it_and_is_not_listened_to(here: Here, file: bytes) -> None:
    """Also where the sound was heard before, and what is played for it is new."""
    original, stream = await here.keep(file, Area.PRIVATE), await here.keep(b"an MP3 of it")
    await here.track(original, stream)
    (job,) = await here.turn()
    assert (job.subject, job.message) == (str(original), "listened to it")
    prints = "select blob_id, fingerprint from sound order by blob_id"
    (heard,) = fingerprints_of([file])
    assert await here.all(prints) == [(original, heard), (stream, heard)]
    async with here.pool.connection() as conn:
        assert await fingerprints.unindexed(conn, limit=9) == []
    another = await here.keep(b"another MP3 of it")
    await here.track(original, another, BOB)
    await here.all("delete from job")
    (job,) = await here.turn()
    assert job.message == NOTHING
    assert (await here.all(prints))[-1] == (another, heard)


async def test_what_cannot_be_decoded_is_tried_once_until_its_job_is_forgotten(here: Here) -> None:
    await here.track(None, await here.keep(b"no sound"))
    (job,) = await here.turn()
    assert (job.state, job.error is not None) == (JobState.FAILED, True)
    assert await here.turn() == []
    await here.all("delete from job")
    assert len(await here.turn()) == 1


async def test_sound_that_no_track_has_is_left_alone(here: Here, file: bytes) -> None:
    await here.keep(file)
    assert await here.turn() == []
