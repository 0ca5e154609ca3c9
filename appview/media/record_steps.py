"""The steps about the track: whether it is new, its cover, its record, and whose the blobs are."""

from __future__ import annotations

from appview.jobs.tasks import TaskFailed, TryLater
from appview.media import opus
from appview.media.attempt import OWNER, Attempt, Place
from appview.media.failures import MediaFailed
from appview.media.images import prepare, store_image
from appview.media.steps import Step
from appview.media.track_record import Sound, Words, new_record
from appview.moderation import scanning
from appview.records import Away, Declined, TooLarge
from firehose.net import Streamed
from indexer.written import take_in
from lexicons.datamodel import decode
from lexicons.records import InvalidRecord
from lexicons.syntax import AtUri, Rkey
from storage import track_media, tracks
from storage.blobs import rows
from storage.blobs.rows import Blob
from storage.postgres import Connection

_OFFERS = 2  # to a PDS that breaks off


async def claimed(at: Attempt) -> None:
    """This account has no other track with these bytes."""
    original = at.facts.original
    assert original is not None
    async with at.transaction() as conn:
        await at.save(Step.CLAIM, conn)
        holder = await track_media.begin(conn, at.did, at.rkey, original, at.work.job.id)
        await _refuse_another(at, conn, holder.rkey)


async def _refuse_another(at: Attempt, conn: Connection, rkey: Rkey) -> None:
    if rkey == at.rkey:
        return
    track = at.place.catalog.collections.track
    id = await track_media.track_id(conn, f"at://{at.did}/{track}/{rkey}")
    which = "it is being published now" if id is None else f"id: {id}"
    raise TaskFailed(f"duplicate upload: track already exists ({which})")


async def covered(at: Attempt) -> None:
    """The picture that came with it, drawn anew. One that is none is left out, with a warning."""
    wish, place = at.wish.cover, at.place
    if wish is None:
        async with at.transaction() as conn:
            await at.save(Step.COVER, conn)
        return
    blob, warnings = None, list[str]()
    try:
        prepared = await prepare(await at.picture(wish), at.folder("cover"))
        async with place.pool.connection() as conn:
            blob = await store_image(conn, place.store, prepared)
    except MediaFailed as error:
        warnings.append(f"the cover was left out: {error}")
    async with at.transaction() as conn:
        url = None if blob is None else image_url(place, blob)
        await at.save(Step.COVER, conn, warnings=warnings, cover=blob and blob.id, image_url=url)
        if blob is not None:
            await rows.claim(conn, blob.id, kind=OWNER, owner=at.owner)
        await rows.end_upload(conn, wish.name)
    await place.store.unstage(wish.name)


def image_url(place: Place, blob: Blob) -> str:
    """Where everybody finds a picture."""
    return f"{place.public_url}/image/{blob.sha256}"


async def offered(at: Attempt) -> None:
    """The PDS keeps what is played, too, unless it does not want to: then we alone do, with a warning."""
    blob = await at.blob(at.facts.stream)
    reference, warning = None, None
    if blob.bytes > at.place.pds_bytes:
        warning = f"only we keep the audio, your PDS does not: it has more than {at.place.pds_bytes:,} bytes"
    else:
        try:
            body = Streamed(blob.bytes, lambda: at.place.store.read(blob.key))
            reference = await at.records.upload(body, blob.mime)
        except (TooLarge, Declined) as error:
            warning = f"only we keep the audio, your PDS does not: {error}"
        except Away as error:
            if at.facts.refusals + 1 < _OFFERS:
                async with at.transaction() as conn:
                    await at.save(None, conn, refusals=at.facts.refusals + 1)
                raise
            warning = f"only we keep the audio, your PDS broke off: {error}"
    async with at.transaction() as conn:
        await at.save(Step.OFFER, conn, blob=reference, warnings=[] if warning is None else [warning])


async def recorded(at: Attempt) -> None:
    """The record is on the PDS under the key that we made; with its answer the track is in the index and owns
    its blobs. Written again after a crash it is the same record: key and date are among the facts. What was
    written before that crash is a track already, and its artist may have deleted it."""
    place, facts, wish = at.place, at.facts, at.wish
    async with place.pool.connection() as conn:
        if await track_media.is_deleted(conn, at.did, place.catalog.collections.track, at.rkey):
            raise _deleted()
        artist = await track_media.artist(conn, at.did)
    words = Words(wish.title, artist, wish.album, wish.description, wish.features, facts.image_url)
    sound = await sound_of(at)
    try:
        record = new_record(place.catalog, at.rkey, words, sound, facts.created_at)
    except InvalidRecord as error:
        raise TaskFailed(f"this cannot be published: {error}") from error
    try:
        put = await at.records.put(place.catalog.collections.track, at.rkey, record)
    except Declined as error:
        await offer_again(at, error)
        raise
    async with at.transaction() as conn:
        await at.save(Step.RECORD, conn, uri=put.uri, cid=put.cid)
        if put.write is not None:
            await take_in(conn, put.write, place.catalog)
        if wish.tags:
            await tracks.tag(conn, AtUri(put.uri), wish.tags)
        await take_over(at, conn)


def _deleted() -> TaskFailed:
    return TaskFailed("the track was deleted while it was being made")


async def offer_again(at: Attempt, error: Declined) -> None:
    """A PDS keeps a blob for some hours until a record names it, and ours may come later than that. Raises
    TryLater where this may be it."""
    if at.facts.blob is None or "blob" not in str(error).lower() or at.facts.refusals >= _OFFERS:
        return
    async with at.transaction() as conn:
        await at.save(Step.LISTEN, conn, blob=None, refusals=at.facts.refusals + 1)
    raise TryLater("the PDS does not have the audio any more", 0) from error


async def take_over(at: Attempt, conn: Connection) -> None:
    """From here on the blobs are the track's. Raises TaskFailed where it is none any more."""
    assert at.facts.stream is not None
    there = await track_media.publish(
        conn, at.did, at.rkey, stream_id=at.facts.stream, cover_id=at.facts.cover
    )
    if not there:
        raise _deleted()
    await rows.release(conn, kind=OWNER, owner=at.owner)
    await opus.want(conn, at.place.queue, at.facts.stream)
    await scanning.want(conn, at.place.queue, at.did, at.rkey)


async def adopt(at: Attempt, conn: Connection) -> None:
    """The blobs of a job that has ended otherwise become the track's, whose record is there."""
    assert at.facts.original is not None
    await track_media.adopt(conn, at.did, at.rkey, at.facts.original, at.work.job.id)
    await take_over(at, conn)


async def is_indexed(at: Attempt) -> bool:
    """Whether the record, as far as we know, has this sound."""
    url = (await sound_of(at)).url
    async with at.place.pool.connection() as conn:
        known = await track_media.version(conn, at.did, at.place.catalog.collections.track, at.rkey)
    return known is not None and known[1] is not None and decode(known[1]).get("audioUrl") == url


async def sound_of(at: Attempt) -> Sound:
    """What the record says of the sound."""
    blob = await at.blob(at.facts.stream)
    url = f"{at.place.public_url}/audio/{blob.sha256}"
    return Sound(url, at.facts.file_type, at.facts.duration_s, at.facts.blob)
