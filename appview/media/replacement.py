"""Task `replace`: other sound for a track that is there; what it sounded like before is kept as a revision.

It makes the steps of an upload but for those that make a track of it (`appview.media.pipeline` has the
contract). The record is rewritten whole. Should the job end between the PDS's yes and ours, the track has the
new sound: whether the PDS said yes is asked there. To restore a revision is such a job, too, with its first
steps made.
"""

from __future__ import annotations

from secrets import token_hex
from uuid import UUID

import structlog
from msgspec import to_builtins

from appview.jobs.tasks import Done, Queue, Task, TaskFailed, Work
from appview.media import opus
from appview.media.attempt import OWNER, Attempt, Facts, Place, Wish, begun
from appview.media.pipeline import MEDIA_STEPS, Steps, done, drop, walk
from appview.media.record_steps import offer_again, sound_of
from appview.media.steps import NEW_SOUND, Step
from appview.media.track_record import Edit, edited
from appview.moderation import scanning
from appview.own_tracks import NoSuchTrack, OwnTracks
from appview.records import Declined, NotSignedIn, Put, Record
from lexicons.records import InvalidRecord
from lexicons.syntax import Did, Rkey
from storage import jobs, track_media
from storage.blobs import rows
from storage.postgres import Connection
from storage.track_media import Revision

KIND = "replace"
KEPT_REVISIONS = 10

log = structlog.get_logger()


class Replacements:
    """Gives tracks another sound."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def task(self) -> Task:
        return Task(KIND, self.run, self.failed, lane="heavy")

    async def run(self, work: Work) -> Done:
        async with begun(self._place, work) as at:
            await walk(at, NEW_SOUND, {**MEDIA_STEPS, **_SOUND_STEPS})
            return await done(at, "audio replaced successfully")

    async def failed(self, work: Work) -> None:
        """Undo what was begun, unless the record has the new sound."""
        async with begun(self._place, work) as at:
            if at.facts.step is Step.RECORD:
                return
            if at.facts.step is Step.OFFER and await _is_written(at):
                async with at.transaction() as conn:
                    await at.save(Step.RECORD, conn)
                    await adopt(at, conn)
                return
            await drop(at)


async def restore(
    conn: Connection, queue: Queue, did: Did, rkey: Rkey, revision: int, *, session: int, title: str
) -> tuple[UUID, Revision] | None:
    """The job that gives a track the sound again that it had, once, in the caller's transaction; what it has
    now becomes a revision in turn. None: it has no such revision."""
    await track_media.get(conn, did, rkey)  # no replacement drops it meanwhile
    kept = {each.revision: each for each in await track_media.revisions(conn, did, rkey)}
    if revision not in kept:
        return None
    found = kept[revision]
    subject = f"{track_media.owner_of(did, rkey, revision)} restored"
    before = await jobs.unfinished_about(conn, KIND, subject)
    if before is not None:
        return before.id, found
    original = await rows.get(conn, found.original_id)
    assert original is not None  # the revision owns it
    wish = Wish(token_hex(16), original.sha256, original.crc32, original.bytes, session, title, rkey=rkey)
    facts = Facts(
        step=Step.STORE,
        rkey=rkey,
        original=found.original_id,
        stream=found.stream_id,
        file_type=found.file_type,
        duration_s=found.duration_s,
    )
    id = await queue.enqueue(conn, KIND, did=did, subject=subject, args=to_builtins(wish))
    assert id is not None
    await jobs.save(conn, id, to_builtins(facts))
    for blob in {found.original_id, found.stream_id}:
        await rows.claim(conn, blob, kind=OWNER, owner=str(id))
    return id, found


async def _claimed(at: Attempt) -> None:
    """No other track of this account has these bytes, or gets them while this job goes on."""
    original, job_id = at.facts.original, at.work.job.id
    assert original is not None
    own = Rkey(str(job_id))
    async with at.transaction() as conn:
        await at.save(Step.CLAIM, conn)
        holder = await track_media.begin(conn, at.did, own, original, job_id)
        if holder.rkey not in (own, at.rkey):
            raise TaskFailed("another track of yours has this audio already")


async def _rewritten(at: Attempt) -> None:
    catalog, sound = at.place.catalog, await sound_of(at)

    async def effect(conn: Connection, put: Put, newest: Record) -> None:
        await at.save(Step.RECORD, conn, uri=put.uri, cid=put.cid)
        await _take_over(at, conn, heard=newest.get("audioUrl") == sound.url)

    tracks = OwnTracks(at.place, at.wish.session, at.did)
    try:
        await tracks.rewrite(
            at.rkey,
            lambda record: edited(catalog, at.rkey, record, Edit(sound=sound)),
            new_sound=True,
            effect=effect,
        )
    except Declined as error:
        await offer_again(at, error)
        raise
    except NoSuchTrack:
        raise TaskFailed("the track is not there any more") from None
    except InvalidRecord as error:
        raise TaskFailed(f"this cannot be published: {error}") from error


async def adopt(at: Attempt, conn: Connection) -> None:
    """The record has the sound, whatever became of the job; another track that was made of it since keeps
    it."""
    assert at.facts.original is not None
    holder = await track_media.holder(conn, at.did, at.facts.original)
    own = (at.rkey, Rkey(at.owner))
    await _take_over(at, conn, heard=holder is None or holder.rkey in own)


async def _take_over(at: Attempt, conn: Connection, *, heard: bool = True) -> None:
    """The sound is the track's; unless `heard`, another one has taken its place since."""
    facts = at.facts
    assert facts.original is not None
    assert facts.stream is not None
    await track_media.give_up(conn, at.did, at.work.job.id)
    if heard:
        await track_media.revise(
            conn,
            at.did,
            at.rkey,
            original_id=facts.original,
            stream_id=facts.stream,
            keep=KEPT_REVISIONS,
        )
    await rows.release(conn, kind=OWNER, owner=at.owner)
    await opus.want(conn, at.place.queue, facts.stream)
    await scanning.want(conn, at.place.queue, at.did, at.rkey)


async def _is_written(at: Attempt) -> bool:
    """Whether the record has the new sound. Where nobody may ask it counts as written: both are kept."""
    try:
        found = await at.records.get(at.place.catalog.collections.track, at.rkey)
    except NotSignedIn as error:
        log.warning("nobody may look at a record", did=at.did, rkey=at.rkey, reason=str(error))
        return True
    return found is not None and found.value.get("audioUrl") == (await sound_of(at)).url


_SOUND_STEPS: Steps = {Step.CLAIM: _claimed, Step.RECORD: _rewritten}
