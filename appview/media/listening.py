"""Task `listen`: a fingerprint for sound that has none, as what came before there were any.

    listen.sweep ─▶ a job for each, some at once ─▶ the sound is decoded ─▶ what it is like, and is found by

Contract: what is played for a sound is like it, and gets the same. Killed anywhere it is done once more, and
comes to the same. What cannot be decoded stays without, and is tried again when its job is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from appview.jobs import sweep
from appview.jobs.tasks import Done, Queue, Task, TaskFailed, TryLater, Work
from appview.media.analyse import analyse
from appview.media.failures import NO_FFMPEG, STORE_AWAY, MediaFailed, NoFfmpeg
from appview.media.opus import LANE
from appview.media.probe import probe
from appview.media.scratch import kept_file
from appview.moderation.terms import terms
from storage import fingerprints, sounds
from storage.blobs import rows
from storage.blobs.rows import Blob, State
from storage.blobs.store import BlobMissing, BlobStore, StoreDown
from storage.postgres import Connection, Pool
from storage.sounds import SoundBody

KIND = "listen"
SWEEP = "listen.sweep"
NOTHING = "nothing to listen to: the sound is gone, or was listened to"


async def want(conn: Connection, queue: Queue, sound_id: int) -> bool:
    """Have it listened to. False: it will be anyhow."""
    return await queue.enqueue(conn, KIND, subject=str(sound_id), args={"sound": sound_id}) is not None


class Listening:
    """Listens. `queue` is where the sweep puts what has no fingerprint."""

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
        return Task(KIND, self._run, lane=LANE), Task(SWEEP, self._sweep)

    async def _sweep(self, work: Work) -> Done:
        """Put a job into the queue for each sound that has none, not too many at once."""
        async with self._pool.connection() as conn:
            due = partial(sounds.unheard, conn, kind=KIND)
            begun = await sweep.begin(conn, KIND, due, partial(want, conn, self._queue))
        return Done("Had those listened to that have no fingerprint.", {"begun": begun})

    async def _run(self, work: Work) -> Done:
        sound_id = int(work.job.args["sound"])
        async with self._pool.connection() as conn:
            blob = await rows.get(conn, sound_id)
            known = await sounds.is_analysed(conn, sound_id)
        if blob is None or blob.state is not State.PUBLISHED:
            return Done(NOTHING)
        body = None if known else await self._heard(blob)
        async with self._pool.connection() as conn, conn.transaction():
            if body is not None:
                await sounds.put_analysis(conn, sound_id, body)
                await fingerprints.put(conn, sound_id, terms(body.fingerprint))
            for played_id in await sounds.played_for(conn, sound_id):
                await sounds.copy_analysis(conn, sound_id, played_id)
        return Done(NOTHING if known else "listened to it")

    async def _heard(self, blob: Blob) -> SoundBody:
        try:
            async with kept_file(self._store, blob.key, self._scratch) as path:
                found = await probe(path, ffmpeg=self._ffmpeg)
                told = asdict(await analyse(path, found, ffmpeg=self._ffmpeg))
        except NoFfmpeg as error:
            raise TryLater(NO_FFMPEG) from error
        except StoreDown as error:
            raise TryLater(STORE_AWAY) from error
        except (MediaFailed, BlobMissing) as error:
            raise TaskFailed(f"it cannot be listened to: {error}") from error
        del told["duration_s"]
        return SoundBody(**told)
