"""The steps about sound: what it is, where it lies, in which form it plays, what it is like."""

from __future__ import annotations

from dataclasses import asdict

from appview.media import rendition
from appview.media.analyse import analyse
from appview.media.attempt import OWNER, Attempt
from appview.media.encode import Target
from appview.media.id3 import Tags
from appview.media.probe import Probe, probe
from appview.media.steps import Step
from appview.media.transcode import transcode
from appview.moderation.terms import terms
from appview.records import fresh_rkey, now_text
from storage import fingerprints, sounds, track_media
from storage.blobs import rows
from storage.blobs.publishing import publish
from storage.blobs.store import Area
from storage.sounds import SoundBody, SoundHead

_MOST_COVER_BYTES = 4 << 20
_COVERS = ("image/jpeg", "image/png")  # what every player shows


async def probed(at: Attempt) -> None:
    """Its content says what it is. A new track gets its key and its date here, once and for all."""
    place = at.place
    path = await at.original()
    found = await probe(path, max_duration_s=place.max_duration_s, ffmpeg=place.ffmpeg)
    rkey = at.wish.rkey or fresh_rkey()
    async with at.transaction() as conn:
        await at.save(
            Step.PROBE,
            conn,
            rkey=at.facts.rkey or rkey,
            created_at=at.facts.created_at or now_text(),
            container=found.container.name,
            codec=found.codec,
            rate=found.rate,
            layout=found.layout,
            duration_s=found.duration_s,
        )


async def stored(at: Attempt) -> None:
    """The original is a blob. What browsers play is for everybody, what is kept for exports is not."""
    found = at.facts.found
    area = Area.AUDIO if found.playable else Area.PRIVATE
    digest, name = at.wish.sound.digest, at.wish.name
    async with at.place.pool.connection() as conn:
        blob = await publish(conn, at.place.store, name, area, digest, mime=found.container.mime)
    async with at.transaction() as conn:
        await at.save(Step.STORE, conn, original=blob.id)
        await rows.claim(conn, blob.id, kind=OWNER, owner=at.owner)
        await rows.end_upload(conn, name)
        await sounds.put(conn, blob.id, _head(found))


async def rendered(at: Attempt) -> None:
    """Something that every browser plays: the original if it does, else an MP3 made of it, now or before."""
    if at.facts.stream is not None:
        async with at.transaction() as conn:
            await at.save(Step.RENDER, conn)
        return
    found, original = at.facts.found, at.facts.original
    if found.playable:
        async with at.transaction() as conn:
            await at.save(Step.RENDER, conn, stream=original, file_type=found.container.suffix[1:])
        return
    path, out = await at.original(), at.room / "stream"
    tags = await _tags(at)
    await at.told(
        Step.RENDER,
        lambda heard: transcode(
            path, found, Target.MP3, out, tags=tags, on_progress=heard, ffmpeg=at.place.ffmpeg
        ),
    )
    blob, head = await rendition.keep(at.place.pool, at.place.store, stream_name(at.owner), out)
    async with at.transaction() as conn:
        await at.save(Step.RENDER, conn, stream=blob.id, file_type=Target.MP3.value)
        await rows.claim(conn, blob.id, kind=OWNER, owner=at.owner)
        await sounds.put(conn, blob.id, head)


async def listened(at: Attempt) -> None:
    """Loudness, shape and fingerprint of the original, which are those of the stream, too; it is found by the
    latter from now on."""
    original, stream = at.facts.original, at.facts.stream
    assert original is not None
    assert stream is not None
    async with at.place.pool.connection() as conn:
        known = await sounds.is_analysed(conn, original)
    body = None
    if not known:
        path, found = await at.original(), at.facts.found
        heard = await at.told(
            Step.LISTEN, lambda heard: analyse(path, found, on_progress=heard, ffmpeg=at.place.ffmpeg)
        )
        told = asdict(heard)
        del told["duration_s"]
        body = SoundBody(**told)
    async with at.transaction() as conn:
        await at.save(Step.LISTEN, conn)
        if body is not None:
            await sounds.put_analysis(conn, original, body)
            await fingerprints.put(conn, original, terms(body.fingerprint))
        if stream != original:
            await sounds.copy_analysis(conn, original, stream)


def stream_name(owner: str) -> str:
    """Under which the rendition of a job is staged."""
    return f"job-{owner}-stream"


async def _tags(at: Attempt) -> Tags:
    async with at.place.pool.connection() as conn:
        artist = await track_media.artist(conn, at.did)
    cover, mime = None, ""
    if at.facts.cover is not None:
        blob = await at.blob(at.facts.cover)
        if blob.bytes <= _MOST_COVER_BYTES and blob.mime in _COVERS:
            cover, mime = b"".join([chunk async for chunk in at.place.store.read(blob.key)]), blob.mime
    return Tags(at.wish.title, artist, at.wish.album or "", cover, mime)


def _head(found: Probe) -> SoundHead:
    name = found.container.suffix[1:]
    return SoundHead(name, found.codec, found.rate, found.channels, found.duration_s, found.playable)
