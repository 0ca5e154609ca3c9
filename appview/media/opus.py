"""Task `opus`: an Opus of what an artist uploaded, to be had beside what is played: smaller, and as good.

    upload or replace ─▶ want, in the transaction in which the track is done
    job `opus`: original ─▶ Opus ─▶ blob ─▶ row in sound_rendition, if a track has the sound

Contract: nobody waits for it, the track plays without. Killed anywhere it is made once more, of the same
bytes the same bytes, so there is no second blob. It belongs to the sound, and goes when that goes; where no
track has the sound any more when it is done, it is nobody's, and the collector takes it. What has none, of
whatever time, is found by `opus.sweep`, some at once; one that cannot be made is tried again when its job is
forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from appview.jobs import sweep
from appview.jobs.tasks import Done, Queue, Task, TaskFailed, TryLater, Work
from appview.media import container, rendition
from appview.media.attempt import told
from appview.media.encode import Target, encode
from appview.media.failures import NO_FFMPEG, STORE_AWAY, MediaFailed, NoFfmpeg
from appview.media.probe import probe
from appview.media.scratch import kept_file, room
from storage import sounds
from storage.blobs.publishing import publish
from storage.blobs.rows import BeingDeleted, Blob
from storage.blobs.store import Area, BlobMissing, BlobStore, StoreDown
from storage.postgres import Connection, Pool
from storage.sounds import Format, SoundHead

KIND = "opus"
SWEEP = "opus.sweep"
LANE = "later"
RATE = 48_000
NOTHING = "nothing to make: no track has the sound any more, or there is one"


async def want(conn: Connection, queue: Queue, sound_id: int) -> bool:
    """Have it made of what was uploaded as this sound, in the caller's transaction. False: it is, or will be
    anyhow."""
    if await sounds.original(conn, sound_id, Format.OPUS) is None:
        return False
    return await queue.enqueue(conn, KIND, subject=str(sound_id), args={"sound": sound_id}) is not None


class OpusRenditions:
    """Makes them."""

    def __init__(
        self, pool: Pool, store: BlobStore, queue: Queue, scratch: Path, ffmpeg: str | None = None
    ) -> None:
        self._pool = pool
        self._store = store
        self._queue = queue
        self._scratch = scratch
        self._ffmpeg = ffmpeg

    @property
    def tasks(self) -> Sequence[Task]:
        return Task(KIND, self._run, self._failed, lane=LANE), Task(SWEEP, self._sweep)

    async def _sweep(self, work: Work) -> Done:
        """Put a job into the queue for each sound that has none, not too many at once."""
        async with self._pool.connection() as conn:
            due = partial(sounds.without, conn, Format.OPUS, kind=KIND)
            begun = await sweep.begin(conn, KIND, due, partial(want, conn, self._queue))
        return Done("Had an Opus made of what has none.", {"begun": begun})

    async def _run(self, work: Work) -> Done:
        sound_id = int(work.job.args["sound"])
        async with self._pool.connection() as conn:
            original = await sounds.original(conn, sound_id, Format.OPUS)
        if original is None:
            return Done(NOTHING)
        try:
            made, head = await self._made(work, original)
            async with self._pool.connection() as conn, conn.transaction():
                await work.save({"rendition": made.id}, conn=conn)
                if await sounds.original(conn, sound_id, Format.OPUS) is None:
                    return Done(NOTHING)
                await sounds.put(conn, made.id, head)
                await sounds.add_rendition(conn, sound_id, made.id, Format.OPUS)
        except NoFfmpeg as error:
            raise TryLater(NO_FFMPEG) from error
        except (MediaFailed, BlobMissing) as error:
            raise TaskFailed(f"no Opus can be made of it: {error}") from error
        except (StoreDown, BeingDeleted) as error:
            raise TryLater(STORE_AWAY) from error
        return Done("made", {"bytes": made.bytes})

    async def _failed(self, work: Work) -> None:
        await self._store.unstage(_staged(work))

    async def _made(self, work: Work, original: Blob) -> tuple[Blob, SoundHead]:
        """Published, and nobody's yet."""
        name = _staged(work)
        with room(self._scratch) as folder:
            out = folder / "opus"
            async with kept_file(self._store, original.key, self._scratch) as path:
                found = await probe(path, ffmpeg=self._ffmpeg)
                await told(
                    work,
                    "transcode",
                    "making an Opus of it...",
                    lambda heard: encode(
                        path, found, Target.OPUS, out, on_progress=heard, ffmpeg=self._ffmpeg
                    ),
                )
            made = await probe(out, ffmpeg=self._ffmpeg)
            digest = await self._store.stage(name, rendition.chunks(out))
        async with self._pool.connection() as conn:
            blob = await publish(conn, self._store, name, Area.AUDIO, digest, mime=container.OPUS.mime)
        kind = Format.OPUS.value
        return blob, SoundHead(kind, kind, RATE, made.channels, found.duration_s, playable=False)


def _staged(work: Work) -> str:
    return f"job-{work.job.id}-opus"
