"""Task `upload`: from staged bytes to a track that plays, step by step; see `appview.media.steps`.

Contract: killed anywhere, the next attempt goes on behind the last step that was saved, and makes no second
blob, row or record. A job that fails, or is cancelled, leaves nothing: what it owned is released, its
record taken back, what was staged dropped. Where the record cannot be taken back, the track stays, whole:
what stands on a PDS must play. Where nobody knows yet whether there is one, the job keeps what it owns, and
`appview.media.leftovers` sees to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from appview.jobs.tasks import Done, Task, TaskFailed, TryLater, Work
from appview.media import record_steps, sound_steps
from appview.media.attempt import OWNER, Attempt, Place, begun
from appview.media.failures import NO_FFMPEG, STORE_AWAY, MediaFailed, NoFfmpeg
from appview.media.steps import NEW_TRACK, SAID, Step, following
from appview.records import Away, Declined, NotSignedIn, Swapped, WriteFailed
from indexer.written import take_in
from storage import track_media
from storage.blobs import rows
from storage.blobs.rows import BeingDeleted
from storage.blobs.store import BlobMissing, StoreDown

KIND = "upload"
_OUTAGE = timedelta(days=1)
_LOOK_EVERY_S = 60.0

log = structlog.get_logger()

Steps = Mapping[Step, Callable[[Attempt], Awaitable[None]]]

MEDIA_STEPS: Steps = {
    Step.PROBE: sound_steps.probed,
    Step.STORE: sound_steps.stored,
    Step.RENDER: sound_steps.rendered,
    Step.LISTEN: sound_steps.listened,
    Step.OFFER: record_steps.offered,
}
_TRACK_STEPS: Steps = {
    Step.CLAIM: record_steps.claimed,
    Step.COVER: record_steps.covered,
    Step.RECORD: record_steps.recorded,
}


class Uploads:
    """Makes tracks of what was uploaded."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def task(self) -> Task:
        return Task(KIND, self.run, self.failed, lane="heavy")

    async def run(self, work: Work) -> Done:
        async with begun(self._place, work) as at:
            await walk(at, NEW_TRACK, {**MEDIA_STEPS, **_TRACK_STEPS})
            return await done(at, "upload completed successfully")

    async def failed(self, work: Work) -> None:
        """Undo what was begun, unless it is all done."""
        async with begun(self._place, work) as at:
            if at.facts.step is Step.RECORD:
                return
            if at.facts.step is not Step.OFFER or await _taken_back(at):
                await drop(at)
            elif await record_steps.is_indexed(at):
                async with at.transaction() as conn:
                    await at.save(Step.RECORD, conn)
                    await record_steps.adopt(at, conn)


async def done(at: Attempt, message: str) -> Done:
    """What the owner of a job is told of the track at its end."""
    stream = await at.blob(at.facts.stream)
    async with at.place.pool.connection() as conn:
        id = await track_media.track_id(conn, at.facts.uri or "")
    result = {"uri": at.facts.uri, "cid": at.facts.cid, "trackId": id, "fileId": stream.sha256}
    return Done(message, result)


async def walk(at: Attempt, way: tuple[Step, ...], steps: Steps) -> None:
    """Make the steps that are not made yet. Raises TaskFailed and TryLater alone, of what is expected."""
    while (step := following(at.facts.step, way)) is not None:
        said = SAID[step]
        await at.work.report(said.phase, said.message)
        try:
            await steps[step](at)
        except NoFfmpeg as error:
            raise _outage(at, NO_FFMPEG, error) from error
        except MediaFailed as error:
            raise TaskFailed(str(error)) from error
        except (StoreDown, BeingDeleted) as error:
            raise _outage(at, STORE_AWAY, error) from error
        except BlobMissing as error:
            raise TaskFailed("what was uploaded is not here any more: upload it again") from error
        except Away as error:
            raise TryLater(str(error), error.wait_s) from error
        except Swapped as error:
            raise TryLater(str(error), 0) from error
        except NotSignedIn as error:
            raise TaskFailed(f"sign in again, then upload again: {error}") from error
        except WriteFailed as error:
            raise TaskFailed(f"failed to sync track to ATProto: {error}") from error


def _outage(at: Attempt, said: str, error: Exception) -> TryLater:
    """We are to blame, and what was sent to us must survive that: no attempt counts, for a day. Its owner is
    told no more than `said`."""
    job = at.work.job
    log.warning("a job waits for us", kind=job.kind, job=at.owner, step=at.facts.step, reason=str(error))
    if datetime.now(UTC) - job.created_at > _OUTAGE:
        return TryLater(said)
    return TryLater(said, _LOOK_EVERY_S, counts=False)


async def _taken_back(at: Attempt) -> bool:
    """No record is there, whether it was written or not. False: nobody may remove it, if it is there."""
    collection = at.place.catalog.collections.track
    try:
        deletion = await at.records.delete(collection, at.rkey)
    except (NotSignedIn, Declined) as error:
        log.warning("a record cannot be taken back", did=at.did, rkey=at.rkey, reason=str(error))
        return False
    except Away as error:
        raise TryLater(str(error), error.wait_s) from error
    if deletion is not None:
        async with at.place.pool.connection() as conn:
            await take_in(conn, deletion, at.place.catalog)
    return True


async def drop(at: Attempt) -> None:
    """Own nothing, stage nothing."""
    staged = [at.wish.name, *([at.wish.cover.name] if at.wish.cover else [])]
    async with at.transaction() as conn:
        await track_media.give_up(conn, at.did, at.work.job.id)
        await rows.release(conn, kind=OWNER, owner=at.owner)
        for name in staged:
            await rows.end_upload(conn, name)
    for name in (*staged, sound_steps.stream_name(at.owner)):
        await at.place.store.unstage(name)
