"""Sound that other apps left on their authors' PDSs: fetched, checked, kept, so that it plays here.

    sweep ─▶ a job for each track that is due ─▶ getBlob of its current PDS ─▶ hash ─▶ what is it ─▶ published

Contract: nothing is published but bytes with the hash that the signed record names. What came before a host
or this process went away is kept, and the next attempt goes on from there. What is wrong, too long or no
sound is dropped; how it went, and when it is due again, is in table `mirror`. A record that changes begins
anew.

Strangers have only so much of us: a lane of their own, places in it for each PDS, room for each account and
for all, time by the size of what they send. What is over is left alone, and `mirror.error` says so.

Published is the blob as it is, with what it sounds like, by which the same recording is found. Of one that
not every browser plays an MP3 is made, too, by one encoder, and only where there is room for both.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import structlog

from appview.jobs import sweep
from appview.jobs.tasks import Done, Queue, Task, TaskFailed, TryLater, Work
from appview.media import mp3, rendition
from appview.media.analyse import analyse
from appview.media.failures import LimitExceeded, MediaFailed, NoFfmpeg
from appview.media.probe import Probe, probe
from appview.media.scratch import staged_file
from appview.moderation import scanning
from appview.moderation.terms import terms
from firehose.net import BadStatus, FetchFailed, GuardedClient, TooLarge
from lexicons.catalog import Catalog
from lexicons.records import BlobRef, InvalidRecord, Track, parse_record
from lexicons.syntax import Did, Nsid, Rkey
from lexicons.values import InvalidData, cid_bytes
from storage import fingerprints, mirrors, sounds
from storage.blobs.publishing import publish
from storage.blobs.rows import BeingDeleted, Blob
from storage.blobs.store import Area, BlobStore, Digest, StoreDown
from storage.mirrors import Wanted
from storage.postgres import Connection, Pool
from storage.sounds import Format, SoundBody, SoundHead

log = structlog.get_logger()

KIND = "mirror"
SWEEP = "mirror.sweep"
LANE = "mirror"
_PER_PDS = 2
_FOUND_AT_ONCE = 1000
_STAGED = "mirror-"
_RAW = b"\x01\x55\x12\x20"
_CHUNK = 1 << 20
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """`account_bytes`, `total_bytes`: room for what is mirrored of one account, and of all. `idle_s`: how
    long a body may stand still; `min_rate`: bytes a second that it must come at; `pace`: that it is to have
    come at in the end, `grace_s` aside."""

    scratch: Path
    max_bytes: int
    account_bytes: int
    total_bytes: int
    max_duration_s: float
    idle_s: float = 30.0
    min_rate: float = 16_384.0
    grace_s: float = 60.0
    pace: float = 131_072.0

    def fetch_s(self, size: int) -> float:
        """How long so many bytes may take."""
        return self.grace_s + size / self.pace


class _NotHere(Exception):
    """It could not be fetched. `first_s`: when it is tried again after the first time; None: never."""

    def __init__(self, reason: str, first_s: float | None) -> None:
        super().__init__(reason)
        self.first_s = first_s


class _Over(Exception):
    """There is no room for it."""

    def __init__(self, whose: str) -> None:
        super().__init__(f"{mirrors.OVER}{whose} has no room for it")


def wait_s(first_s: float, attempts: int) -> float:
    """Until the next attempt after so many that failed: twice as long each time, a week at most."""
    return min(first_s * 2.0 ** min(attempts, 20), 7 * _DAY_S)


async def want(conn: Connection, queue: Queue, did: Did, rkey: Rkey) -> bool:
    """Have what this track plays fetched. False: it will be anyhow."""
    args = {"did": did, "rkey": rkey}
    return await queue.enqueue(conn, KIND, subject=f"{did}/{rkey}", args=args) is not None


class Mirrors:
    """Fetches. `queue` is where the sweep puts what is due."""

    def __init__(
        self,
        pool: Pool,
        store: BlobStore,
        http: GuardedClient,
        queue: Queue,
        catalog: Catalog,
        config: MirrorConfig,
    ) -> None:
        self._pool = pool
        self._store = store
        self._http = http
        self._queue = queue
        self._catalog = catalog
        self._config = config

    @property
    def tasks(self) -> Sequence[Task]:
        return (Task(KIND, self._run, self._failed, lane=LANE), Task(SWEEP, self._sweep))

    async def _sweep(self, work: Work) -> Done:
        """Put a job into the queue for each track that is due, not too many at once, nor of one PDS."""
        config = self._config
        async with self._pool.connection() as conn:
            await self._settle_changed(conn)
            found = await mirrors.find(conn, limit=_FOUND_AT_ONCE)
            over = await mirrors.leave_over(
                conn, account_bytes=config.account_bytes, total_bytes=config.total_bytes, wait_s=_HOUR_S
            )
            due = partial(mirrors.due, conn, kind=KIND, per_pds=_PER_PDS)
            begun = await sweep.begin(conn, KIND, due, lambda track: want(conn, self._queue, *track))
        told = f"{found} tracks found, {begun} begun, {over} left alone"
        return Done(told, {"found": found, "begun": begun, "over": over})

    async def _settle_changed(self, conn: Connection) -> None:
        """Of records that changed since their sound was fetched: where they still name it, all is well; where
        they do not, nobody hears it any more."""
        for each in await mirrors.changed(conn, self._catalog.collections.track, limit=_FOUND_AT_ONCE):
            try:
                blob = self._named(each.collection, each.rkey, each.block)
                named = None if blob is None else cid_bytes(blob.cid)
            except (InvalidRecord, InvalidData):
                named = None
            async with conn.transaction():
                if named == _RAW + each.sha256:
                    await mirrors.keep(conn, each)
                else:
                    await mirrors.let_go(conn, each)

    async def _run(self, work: Work) -> Done:
        did, rkey = Did(work.job.args["did"]), Rkey(work.job.args["rkey"])
        async with self._pool.connection() as conn:
            wish = await mirrors.wanted(conn, self._catalog.collections.track, did, rkey)
        if wish is None:
            async with self._pool.connection() as conn:
                await mirrors.postpone(conn, did, rkey, wait_s=_DAY_S)
            return Done("nothing to fetch: the track is gone, out of sight, or was uploaded here")
        try:
            return await self._mirrored(work, wish)
        except _NotHere as error:
            again_s = None if error.first_s is None else wait_s(error.first_s, wish.attempts)
            async with self._pool.connection() as conn:
                await mirrors.settle(conn, wish, error=str(error)[:500], wait_s=again_s)
            raise TaskFailed(str(error)) from error
        except _Over as error:
            async with self._pool.connection() as conn:
                await mirrors.settle(conn, wish, error=str(error), wait_s=wait_s(_HOUR_S, wish.attempts))
            return Done(str(error))
        except (StoreDown, BeingDeleted, NoFfmpeg) as error:
            raise TryLater(str(error)) from error

    async def _failed(self, work: Work) -> None:
        args = work.job.args
        async with self._pool.connection() as conn:
            await mirrors.postpone(conn, Did(args["did"]), Rkey(args["rkey"]), wait_s=_HOUR_S)

    async def _mirrored(self, work: Work, wish: Wanted) -> Done:
        blob = self._blob_of(wish)
        name = _name(wish, blob)
        await work.report("fetch", "fetching the sound from its PDS", None)
        await self._fetch(wish, blob, name, await self._room(wish, blob, name))
        digest = await self._checked(wish, blob, name)
        await work.report("probe", "looking what it is", None)
        async with staged_file(self._store, name, self._config.scratch) as path:
            found = await self._probed(name, path)
            await work.report("transcode", "making it playable everywhere", None)
            made, said = await self._rendition(wish, name, path, found, digest)
            await work.report("listen", "listening to it", None)
            heard = await _heard(path, found)
        async with self._pool.connection() as conn:
            kept = await publish(conn, self._store, name, Area.AUDIO, digest, mime=found.container.mime)
            async with conn.transaction():
                there = await mirrors.put(conn, wish, kept.id)
                await sounds.put(conn, kept.id, _head(found))
                if heard is not None:
                    await sounds.put_analysis(conn, kept.id, heard)
                    await fingerprints.put(conn, kept.id, terms(heard.fingerprint))
                if made is not None:
                    await sounds.add_rendition(conn, kept.id, made.id, Format.MP3)
                if there:
                    await scanning.want(conn, self._queue, wish.did, wish.rkey)
        return Done(said if there else "the track was deleted or changed meanwhile")

    async def _rendition(
        self, wish: Wanted, name: str, path: Path, found: Probe, digest: Digest
    ) -> tuple[Blob | None, str]:
        """An MP3 of what not every browser plays, and what is said of it. None: there is one, none is needed,
        or it cannot be."""
        async with self._pool.connection() as conn:
            if found.playable or await sounds.has_rendition(conn, digest.sha256, Format.MP3):
                return None, "mirrored"
        total, account = await self._left(wish, name)
        if min(total, account) < digest.size + mp3.most_bytes(found.duration_s):
            return None, "mirrored as it is: there is no room for an MP3 of it"
        try:
            blob = await rendition.make(
                self._pool, self._store, self._config.scratch, f"{name}-mp3", path, found
            )
        except NoFfmpeg:
            raise
        except MediaFailed as error:
            return None, f"mirrored as it is: {error}"
        return blob, "mirrored, with an MP3 of it"

    def _blob_of(self, wish: Wanted) -> BlobRef:
        """The blob that the record names. Raises _NotHere for good."""
        try:
            blob = self._named(wish.collection, wish.rkey, wish.block)
        except InvalidRecord as error:
            raise _NotHere(str(error), None) from error
        if blob is None:
            raise _NotHere("the record names no blob", None)
        if (blob.size or 0) > self._config.max_bytes:
            raise _NotHere(f"it has {blob.size:,} bytes, more than are fetched", None)
        return blob

    def _named(self, collection: Nsid, rkey: Rkey, block: bytes) -> BlobRef | None:
        record = parse_record(self._catalog, collection, rkey, block)
        return record.audio_blob if isinstance(record, Track) else None

    async def _room(self, wish: Wanted, blob: BlobRef, name: str) -> int:
        """How many bytes may be fetched for it, at most. Raises _Over."""
        most = blob.size or self._config.max_bytes
        total, account = await self._left(wish, name)
        for whose, left in (("all mirrored sound", total), ("the mirrored sound of its account", account)):
            if left < (blob.size or 1):
                raise _Over(whose)
        return min(most, total, account)

    async def _left(self, wish: Wanted, name: str) -> tuple[int, int]:
        """Room for all of this track in bytes: among all mirrored sound, and within its account's."""
        config = self._config
        async with self._pool.connection() as conn:
            used = await mirrors.used(conn, wish.did, wish.rkey)
        total, account = config.total_bytes - used.total, config.account_bytes - used.account
        async for staged in self._store.list_staged():
            if staged.name != name and staged.name.startswith(_STAGED):
                total -= staged.size
                account -= staged.size if staged.name.startswith(_of(wish.did)) else 0
        return total, account

    async def _fetch(self, wish: Wanted, blob: BlobRef, name: str, most: int) -> None:
        """Append to what is staged until all of it is there. Raises _NotHere; what came is kept."""
        config = self._config
        within_s = config.fetch_s(most)
        at = await self._store.staged_size(name)
        if at and at == blob.size:
            return
        query = urlencode({"did": wish.did, "cid": blob.cid}, safe=":")
        url = f"{wish.pds}/xrpc/com.atproto.sync.getBlob?{query}"
        try:
            async with (
                asyncio.timeout(within_s),
                self._http.body(
                    url, at=at, max_bytes=most, idle_s=config.idle_s, min_rate=config.min_rate
                ) as body,
            ):
                await self._store.append(name, _behind(body.pieces, at - body.start), at=at)
        except TooLarge as error:
            await self._store.unstage(name)
            raise _NotHere("its PDS sends more than the record says, or than is fetched", _HOUR_S) from error
        except BadStatus as error:
            first_s = _HOUR_S if error.status in (400, 401, 403, 404, 410) else _MINUTE_S
            least_s = max(first_s, error.retry_after_s or 0)
            raise _NotHere(f"its PDS answers with status {error.status}", least_s) from error
        except FetchFailed as error:
            raise _NotHere(f"its PDS does not send it: {error}", _MINUTE_S) from error
        except TimeoutError as error:
            raise _NotHere(f"its PDS took longer than {within_s:,.0f} s", _HOUR_S) from error

    async def _checked(self, wish: Wanted, blob: BlobRef, name: str) -> Digest:
        """The digest of what is staged: it has the hash of the CID and the size in the record (rule G1).
        Raises _NotHere, and nothing is staged."""
        digest = await self._store.seal(name)
        try:
            cid = cid_bytes(blob.cid)
        except InvalidData:
            cid = b""
        right = cid == _RAW + bytes.fromhex(digest.sha256)
        if right and blob.size in (None, 0, digest.size):
            return digest
        await self._store.unstage(name)
        if right:
            raise _NotHere(f"it has {digest.size:,} bytes, and its record names another size", None)
        if not cid.startswith(_RAW):
            raise _NotHere("its CID is none that we can check", None)
        raise _NotHere("its PDS sends other bytes than the record names", _HOUR_S)

    async def _probed(self, name: str, path: Path) -> Probe:
        """Raises _NotHere for what is not played here."""
        try:
            return await probe(path, max_duration_s=self._config.max_duration_s)
        except NoFfmpeg:
            raise  # that is ours to mend
        except LimitExceeded as error:
            raise _NotHere(f"it is not played here: {error}", _DAY_S) from error
        except MediaFailed as error:
            await self._store.unstage(name)
            raise _NotHere(f"it is not played here: {error}", None) from error


def _of(did: Did) -> str:
    """How the names of all begin that is staged of this account."""
    return f"{_STAGED}{hashlib.sha256(did.encode()).hexdigest()[:32]}-"


def _name(wish: Wanted, blob: BlobRef) -> str:
    """Under which it is staged: the same for each attempt at this track and this blob."""
    return _of(wish.did) + hashlib.sha256(f"{wish.rkey}/{blob.cid}".encode()).hexdigest()[:40]


def _head(found: Probe) -> SoundHead:
    name = found.container.suffix[1:]
    return SoundHead(name, found.codec, found.rate, found.channels, found.duration_s, found.playable)


async def _heard(path: Path, found: Probe) -> SoundBody | None:
    """What it sounds like; None: that cannot be told, and it may play all the same."""
    try:
        told = asdict(await analyse(path, found))
    except NoFfmpeg:
        raise
    except MediaFailed as error:
        log.info("what is mirrored could not be analysed", reason=str(error))
        return None
    del told["duration_s"]
    return SoundBody(**told)


async def _behind(pieces: AsyncIterator[bytes], skip: int) -> AsyncIterator[bytes]:
    """The pieces without their first `skip` bytes, which are here already."""
    async for piece in pieces:
        if skip < len(piece):
            yield piece[skip:]
        skip = max(0, skip - len(piece))
