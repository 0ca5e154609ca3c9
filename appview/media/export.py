"""A person's tracks as one ZIP: their originals, what is known of each as JSON, their records as a CAR.

    fetching tracks... ─▶ downloading track 1 of n... ─▶ finalizing export... ─▶ done

Nothing is packed or copied. Of each original is looked whether it is there, and the export becomes one of its
owners; written are `tracks.json`, `records.car` and the manifest of a ZIP that is put together when it is
fetched (`zipped.py`). What cannot be in it is a warning for its owner.

Contract: all that is in the manifest is owned before it says so, in one transaction with `facts`. Killed
before that, the next attempt begins from the start; killed after it, it has only to say so. An export is let
go of when it failed, or `keep_days` after it was begun. What is taken down was so before it looked, and is
not in it, or is so later than `read_at`, and then nobody gets it (`exports.may_have`).
"""

from __future__ import annotations

import functools
import io
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import IO

import orjson
import structlog

from appview.jobs.tasks import Done, Task, TaskFailed, TryLater, Work
from appview.media import manifest
from appview.media.container import SUFFIXES
from appview.media.failures import STORE_AWAY
from appview.media.ziplayout import FileNames, Member
from firehose.car import block_cid, read_car, write_header, write_section
from firehose.proof import NoProof, record_proof
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Did, parse_at_uri
from storage import exports
from storage.blobs import rows
from storage.blobs.publishing import publish
from storage.blobs.rows import BeingDeleted, Blob
from storage.blobs.store import Area, BlobStore, Key, StoreDown
from storage.exports import OWNER, ExportedTrack
from storage.jobs import Job
from storage.postgres import Connection, Pool

KIND = "export"
EXPIRE = "exports.expire"
_PAGE = 50
_HELD_BYTES = 4 << 20
_CHUNK = 1 << 20
_DAY_S = 86_400.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Gathered:
    """What an attempt has come to. `tracks` and `blocks` become files of the ZIP."""

    tracks: IO[bytes]
    blocks: IO[bytes]
    names: FileNames = field(default_factory=FileNames)
    members: list[Member[Key]] = field(default_factory=list[Member[Key]])
    blob_ids: list[int] = field(default_factory=list[int])
    warnings: list[str] = field(default_factory=list[str])
    roots: dict[bytes, None] = field(default_factory=dict[bytes, None])
    seen: set[bytes] = field(default_factory=set[bytes])


class Exporter:
    """Makes exports, and lets go of old ones."""

    def __init__(self, pool: Pool, store: BlobStore, *, keep_days: float) -> None:
        self._pool = pool
        self._store = store
        self._keep_s = keep_days * _DAY_S

    @property
    def tasks(self) -> Sequence[Task]:
        return (Task(KIND, self._run, self._failed), Task(EXPIRE, self._expire))

    async def _expire(self, work: Work) -> Done:
        async with self._pool.connection() as conn:
            count = await exports.expire(conn, keep_s=self._keep_s)
        return Done(f"{count} exports have expired")

    async def _failed(self, work: Work) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            await _hold(work, conn)
            await rows.release(conn, kind=OWNER, owner=str(work.job.id))

    async def _run(self, work: Work) -> Done:
        if "manifest" not in work.job.facts:
            # In memory until they are large.
            spool = functools.partial(tempfile.SpooledTemporaryFile, _HELD_BYTES)
            with spool() as tracks, spool() as blocks:
                try:
                    gathered = _Gathered(tracks, blocks)
                    await self._gather(work, gathered)
                    await self._finish(work, gathered)
                except (StoreDown, BeingDeleted) as error:
                    log.warning("an export waits for us", job=str(work.job.id), reason=str(error))
                    raise TryLater(STORE_AWAY) from error
        count = work.job.facts["tracks"]
        return Done(f"export completed - {count} tracks ready", work.job.facts)

    async def _gather(self, work: Work, gathered: _Gathered) -> None:
        """Look at every track, and own what is there."""
        did, owner = Did(work.job.did or ""), str(work.job.id)
        await work.report("tracks", "fetching tracks...", 0)
        async with self._pool.connection() as conn:
            read_at = await exports.wait(conn, did)
        async with self._pool.connection() as conn, conn.transaction():
            await work.save({"read_at": read_at and read_at.isoformat()}, conn=conn)
            await rows.release(conn, kind=OWNER, owner=owner)  # what an attempt before this one held
            total = await exports.count(conn, did)
        gathered.tracks.write(b'{"did":%b,"tracks":[' % orjson.dumps(did))
        number, after = 0, ""
        while page := await self._page(did, after):
            after = page[-1].rkey
            for track in page:
                number += 1
                part = (number - 1) / max(total, number)
                await work.report("tracks", f"downloading track {number} of {max(total, number)}...", part)
                name = await self._take(work, track, gathered)
                proven = _add_record(gathered, track)
                gathered.tracks.write(b"\n" if number == 1 else b",\n")
                gathered.tracks.write(orjson.dumps(_told(track, name, proven=proven)))
        gathered.tracks.write(b"\n]}\n")
        if not gathered.members:
            raise TaskFailed("no tracks found to export")

    async def _page(self, did: Did, after: str) -> list[ExportedTrack]:
        async with self._pool.connection() as conn:
            return await exports.page(conn, did, after=after, limit=_PAGE)

    async def _take(self, work: Work, track: ExportedTrack, gathered: _Gathered) -> str | None:
        """Own the track's bytes, and give them a name; None where they are not here, which is a warning."""
        if track.blob_id is None:
            gathered.warnings.append(f"“{track.title}” is not in it: its sound is not stored here")
            return None
        assert track.bytes is not None
        assert track.crc32 is not None
        found = await self._store.stat(track.key)
        if found is None or found.size != track.bytes:
            gathered.warnings.append(f"“{track.title}” is not in it: its file cannot be read here")
            return None
        try:
            async with self._pool.connection() as conn, conn.transaction():
                await _hold(work, conn)
                await rows.claim(conn, track.blob_id, kind=OWNER, owner=str(work.job.id))
        except BeingDeleted:
            gathered.warnings.append(f"“{track.title}” is not in it: it was deleted meanwhile")
            return None
        name = gathered.names.take(track.title, SUFFIXES.get(track.mime or "", ""))
        gathered.members.append(Member(name, track.bytes, track.crc32, track.sort_at, track.key))
        gathered.blob_ids.append(track.blob_id)
        return name

    async def _finish(self, work: Work, gathered: _Gathered) -> None:
        """Write the files, own everything, and say so."""
        job, owner = work.job, str(work.job.id)
        await work.report("files", "finalizing export...", 1)
        files = {"tracks.json": await self._write(gathered.tracks, "application/json")}
        if gathered.roots:
            head = write_header(list(gathered.roots))
            files["records.car"] = await self._write(gathered.blocks, "application/vnd.ipld.car", head)
        members = list(gathered.members)
        for name, blob in files.items():
            members.append(Member(name, blob.bytes, blob.crc32, job.created_at, blob.key))
        written = manifest.written(members)
        held = await self._write(io.BytesIO(written), "application/json")
        facts = {
            "manifest": held.sha256,
            "bytes": manifest.layout_of(written).size,
            "tracks": len(gathered.members),
        }
        ids = [*gathered.blob_ids, *(blob.id for blob in files.values()), held.id]
        async with self._pool.connection() as conn, conn.transaction():
            for id in ids:
                await rows.claim(conn, id, kind=OWNER, owner=owner)
            await work.save(facts, warnings=gathered.warnings, conn=conn)

    async def _write(self, file: IO[bytes], mime: str, head: bytes = b"") -> Blob:
        """What is in the file as a published blob that nobody owns yet."""
        name = f"export-{uuid.uuid4()}"
        digest = await self._store.stage(name, _chunks(file, head))
        async with self._pool.connection() as conn:
            return await publish(conn, self._store, name, Area.EXPORT, digest, mime=mime)


def file_name(job: Job) -> str:
    """Under which the ZIP is saved: of the day on which it was asked for."""
    return f"plyr-tracks-{job.created_at.astimezone(UTC):%Y-%m-%d}.zip"


async def _hold(work: Work, conn: Connection) -> None:
    """Nobody else is at this job, nor ends or erases it, until the transaction ends. Raises asyncio's
    CancelledError where somebody is, or did."""
    await work.save({}, conn=conn)


async def _chunks(file: IO[bytes], head: bytes) -> AsyncIterator[bytes]:
    if head:
        yield head
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


def _told(track: ExportedTrack, name: str | None, *, proven: bool) -> dict[str, object]:
    """What `tracks.json` says of a track; `file` is its name in the ZIP."""
    return {
        "uri": track.uri,
        "cid": track.cid,
        "file": name,
        "original": track.original and name is not None,
        "sha256": track.sha256,
        "bytes": track.bytes,
        "mimeType": track.mime,
        "durationS": track.duration_s,
        "plays": track.plays,
        "likes": track.likes,
        "comments": track.comments,
        "proven": proven,
        "record": None if track.block is None else to_json(decode(track.block)),
    }


def _add_record(gathered: _Gathered, track: ExportedTrack) -> bool:
    """Put the record into the CAR, below the signed commit that wrote it where what leads to it was kept,
    else as a root itself; returns whether it was."""
    if track.block is None:
        return False
    root, blocks, proven = block_cid(track.block), {block_cid(track.block): track.block}, False
    if track.proof is not None:
        parts = parse_at_uri(track.uri)
        try:
            car = read_car(record_proof(track.proof, f"{parts.collection}/{parts.rkey}", track.block))
        except NoProof as error:
            log.warning("a slice does not prove what it came with", uri=track.uri, reason=str(error))
        else:
            root, blocks, proven = car.roots[0], car.blocks, True
    gathered.roots[root] = None
    for cid, block in blocks.items():
        if cid not in gathered.seen:
            gathered.seen.add(cid)
            gathered.blocks.write(write_section(cid, block))
    return proven
