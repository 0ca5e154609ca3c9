"""Sound on other people's PDSs: a real one, and one that sends whatever a real one never does."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from appview.jobs.attempt import Attempts
from appview.media.mirror import MirrorConfig, Mirrors, wait_s
from appview.moderation.terms import terms
from bin.kinds import job_queue
from firehose.net import GuardedClient
from indexer.cards import track_card
from lexicons.catalog import Catalog
from lexicons.datamodel import cid_of, encode, from_json
from lexicons.records import Track, parse_record
from lexicons.syntax import AtUri, Did, Rev, Rkey
from storage import health, jobs, mirrors
from storage.blobs.audit import audit
from storage.blobs.collector import collect
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area, BlobStore, Key
from storage.health import Mirrored
from storage.jobs import Job, JobState
from storage.postgres import Pool, make_pool
from tests.devnet.network import Devnet
from tests.integration.appview.seed import Seed
from tests.integration.blobs.conftest import store
from tests.integration.media.mortal import dies
from tests.music import aiff, decoded, ffmpeg, music
from tests.s3.fixtures import swift, swift_packages

__all__ = ["store", "swift", "swift_packages"]

CATALOG = Catalog.load()
TRACK = CATALOG.collections.track
CONFIG = MirrorConfig(
    Path("/nowhere"), 2 << 20, account_bytes=9 << 20, total_bytes=9 << 20, max_duration_s=60, idle_s=0.5
)


@dataclass
class LyingPds:
    """Answers getBlob. `sends`: the bytes, by default `data`. `cut`: after so many of them it goes away, and
    `cut_s`, in which they are read: what was not is lost with the connection. It keeps to ranges where
    `ranges`. `asked`: the Range of each request."""

    data: bytes = b""
    sends: bytes | None = None
    cut: int | None = None
    cut_s: float = 0.4
    stall: bool = False
    status: int | None = None
    location: str | None = None
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("Range"))
        if self.location is not None:
            raise web.HTTPFound(self.location)
        if self.status is not None:
            return web.json_response({"error": "BlobNotFound"}, status=self.status)
        sends = self.data if self.sends is None else self.sends
        start = int(request.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        headers = {"Content-Range": f"bytes {start}-{len(sends) - 1}/{len(sends)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(sends) - start
        await response.prepare(request)
        stop = len(sends) if self.cut is None else min(len(sends), start + self.cut)
        await response.write(sends[start:stop])
        if self.stall:
            await asyncio.sleep(5)
        if stop < len(sends) and request.transport is not None:
            await asyncio.sleep(self.cut_s)
            request.transport.abort()
        return response


@dataclass
class Here:
    pool: Pool
    store: BlobStore
    http: GuardedClient
    seed: Seed
    pds: LyingPds
    did: Did
    repo_id: int
    config: MirrorConfig

    @property
    def dsn(self) -> str:
        return self.pool.conninfo if isinstance(self.pool.conninfo, str) else ""

    @property
    def mirrors(self) -> Mirrors:
        return Mirrors(self.pool, self.store, self.http, job_queue(), CATALOG, self.config)

    def write(self, blob: dict[str, Any] | None, *, rkey: str = "3jzfcijpj2z2a", title: str = "Song") -> None:
        """A record of another app, and its rows as the indexer leaves them."""
        record = {
            "$type": TRACK, "title": title, "artist": "Ann", "fileType": "mp3",
            "createdAt": "2026-03-01T00:00:00.000Z", "audioUrl": "https://audio.example/a.mp3",
        }  # fmt: skip
        if blob is not None:
            record["audioBlob"] = blob
        self.index(encode(from_json(record)), rkey)

    def index(self, block: bytes, rkey: str) -> None:
        conn, cid = self.seed.conn, cid_of(block)
        parsed = parse_record(CATALOG, TRACK, rkey, block)
        assert isinstance(parsed, Track)
        uri, rev = AtUri(f"at://{self.did}/{TRACK}/{rkey}"), Rev("3jzfcijpj2z2b")
        card = track_card(parsed, uri=uri, did=self.did, cid=cid, rev=rev, pds=self.pds.url, verified=True)
        conn.execute(
            "insert into record (repo_id, collection, rkey, rev, cid, block, verified)"
            " values (%s, %s, %s, %s, %s, %s, true) on conflict (repo_id, collection, rkey)"
            " do update set cid = excluded.cid, block = excluded.block",
            (self.repo_id, TRACK, rkey, rev, cid, block),
        )
        conn.execute(
            "insert into track (id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search)"
            " values (%s, %s, %s, %s, now(), now(), %s, %s, '') on conflict (id)"
            " do update set cid = excluded.cid, card = excluded.card",
            (self.seed.stat(uri), self.repo_id, rkey, cid, parsed.title, card),
        )
        self.seed.commit()

    def other(self, number: int, pds: str) -> None:
        """From now on records are of another account, on that PDS."""
        self.repo_id = self.seed.account(f"other{number}")
        self.did = self.seed.dids[self.repo_id]
        self.seed.conn.execute("update repo set pds = %s where id = %s", (pds, self.repo_id))
        self.seed.commit()

    async def sweep(self, attempts: Attempts | None = None) -> list[Job]:
        """The jobs that wait after a sweep."""
        async with self.pool.connection() as conn:
            sweep = await jobs.add(conn, "mirror.sweep", did=None, subject=None, args={})
        assert sweep is not None
        await (attempts or Attempts(self.pool, self.mirrors.tasks)).make(sweep)
        async with self.pool.connection() as conn:
            assert (found := await jobs.get(conn, sweep)) is not None
            assert found.state is JobState.DONE, found.error
            return [job for job in await jobs.listed(conn, kind="mirror", limit=99) if not job.finished]

    async def turn(self, mirrors_: Mirrors | None = None) -> list[Job]:
        """A sweep, and an attempt at each job that it begins."""
        used = mirrors_ or self.mirrors
        attempts = Attempts(self.pool, used.tasks)
        begun = await self.sweep(attempts)
        for job in begun:
            await attempts.make(job.id)
        async with self.pool.connection() as conn:
            after = [await jobs.get(conn, job.id) for job in begun]
        return [job for job in after if job is not None]

    async def one(self, query: Any, *params: object) -> Any:
        async with self.pool.connection() as conn:
            row = await (await conn.execute(query, params)).fetchone()
        return None if row is None else row[0] if len(row) == 1 else row

    async def state(self) -> tuple[int, float | None, str | None]:
        """Attempts, seconds until the next, and why, of the one track."""
        attempts, due, error = await self.one("select attempts, due - now(), error from mirror")
        return attempts, None if due is None else due.total_seconds(), error

    async def again(self) -> list[Job]:
        """The next turn, at its time."""
        async with self.pool.connection() as conn:
            await conn.execute("update mirror set due = now() where due is not null")
        return await self.turn()

    async def nothing_kept(self) -> bool:
        staged = [each async for each in self.store.list_staged()]
        return staged == [] and await self.one("select count(*) from blob") == 0


def reference(data: bytes, **more: Any) -> dict[str, Any]:
    cid = cid_of(data, "raw")
    return {
        "$type": "blob", "ref": {"$link": cid}, "mimeType": "audio/mpeg", "size": len(data), **more
    }  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sound")
    wav = aiff(folder / "one.aiff", music(3))
    asyncio.run(ffmpeg("-i", wav, "-b:a", "192k", folder / "one.mp3"))
    return (folder / "one.mp3").read_bytes()


@asynccontextmanager
async def opened(database: str, folder: Path, sound: bytes, blobs: BlobStore) -> AsyncIterator[Here]:
    async with AsyncExitStack() as stack:
        pds = LyingPds(sound)
        app = web.Application()
        app.router.add_get("/xrpc/com.atproto.sync.getBlob", pds.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pds.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        pool = await stack.enter_async_context(make_pool(database, max_size=3, name="test"))
        http = await stack.enter_async_context(GuardedClient(allow_loopback=True))
        seed = Seed(database, CATALOG)
        stack.callback(seed.close)
        id = seed.account("ann")
        seed.conn.execute("update repo set pds = %s", (pds.url,))
        seed.commit()
        config = replace(CONFIG, scratch=folder / "scratch")
        yield Here(pool, blobs, http, seed, pds, seed.dids[id], id, config)


@pytest.fixture
async def here(database: str, tmp_path: Path, sound: bytes) -> AsyncIterator[Here]:
    async with opened(database, tmp_path, sound, FilesystemStore(tmp_path / "blobs")) as found:
        yield found


@pytest.fixture
async def anywhere(database: str, tmp_path: Path, sound: bytes, store: BlobStore) -> AsyncIterator[Here]:
    """With each kind of store."""
    async with opened(database, tmp_path, sound, store) as found:
        yield found


async def test_the_sound_of_another_app_plays_here(anywhere: Here, sound: bytes) -> None:
    anywhere.write(reference(sound))
    (job,) = await anywhere.turn()
    assert (job.state, job.message, job.error) == (JobState.DONE, "mirrored", None)
    key = Key(Area.AUDIO, hashlib.sha256(sound).hexdigest())
    assert b"".join([chunk async for chunk in anywhere.store.read(key)]) == sound
    original, mime, playable, owner = await anywhere.one(
        "select m.original_id, b.mime, s.playable, o.owner from track_media m"
        " join blob b on b.id = m.stream_id join sound s on s.blob_id = b.id"
        " join blob_owner o on o.blob_id = b.id and o.kind = 'track'"
    )
    assert (original, mime, playable, owner) == (None, "audio/mpeg", True, f"{anywhere.did}/3jzfcijpj2z2a")
    assert await anywhere.state() == (0, None, None)
    assert await anywhere.one("select subject from job where kind = 'scan'") == owner
    loudness, heard, found = await anywhere.one(
        "select s.loudness_lufs, s.fingerprint, f.terms"
        " from sound s join fingerprint f on f.sound_id = s.blob_id"
    )
    assert (loudness < 0, found == list(terms(heard))) == (True, True)
    assert await anywhere.turn() == []
    assert len(anywhere.pds.asked) == 1
    async with anywhere.pool.connection() as conn:
        assert [each async for each in audit(conn, anywhere.store, content=True)] == [None]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What no browser plays."""
    return aiff(tmp_path_factory.mktemp("plain") / "one.aiff", music(3)).read_bytes()


RENDITION = (
    "select m.mime, m.bytes, s.duration_s, encode(m.sha256, 'hex') from sound_rendition n"
    " join blob b on b.id = n.blob_id join blob m on m.id = n.rendition_id join sound s on s.blob_id = m.id"
    " join blob_owner o on o.blob_id = m.id and o.kind = 'sound' and o.owner = b.id::text where m.owners = 1"
)


async def test_what_not_every_browser_plays_gets_an_mp3_beside_it(
    anywhere: Here, plain: bytes, tmp_path: Path
) -> None:
    """Another track with the same bytes has the same, and it goes when they go."""
    anywhere.pds.data = plain
    anywhere.write(reference(plain))
    (job,) = await anywhere.turn()
    assert (job.state, job.message, job.error) == (JobState.DONE, "mirrored, with an MP3 of it", None)
    kept = Key(Area.AUDIO, hashlib.sha256(plain).hexdigest())
    assert b"".join([chunk async for chunk in anywhere.store.read(kept)]) == plain
    mime, size, duration_s, sha256 = await anywhere.one(RENDITION)
    assert (mime, duration_s) == ("audio/mpeg", 3)
    made = tmp_path / "made.mp3"
    made.write_bytes(b"".join([chunk async for chunk in anywhere.store.read(Key(Area.AUDIO, sha256))]))
    assert made.stat().st_size == size
    assert len(await decoded(made)) == 3 * 44_100
    async with anywhere.pool.connection() as conn:
        used = await mirrors.used(conn, Did("did:plc:else"), Rkey("x"))
        assert used.total == len(plain) + size
        assert (await mirrors.used(conn, anywhere.did, Rkey("x"))).account == len(plain) + size

    anywhere.write(reference(plain), rkey="3jzfcijpj2zab")
    (job,) = await anywhere.turn()
    assert job.message == "mirrored"
    assert await anywhere.one("select count(*) from blob") == 2
    assert [each async for each in anywhere.store.list_staged()] == []

    for rkey in ("3jzfcijpj2z2a", "3jzfcijpj2zab"):
        anywhere.write(None, rkey=rkey)  # the records name nothing any more
    assert await anywhere.sweep() == []
    async with anywhere.pool.connection() as conn:
        for _ in range(2):  # the sound, then what it owned
            await collect(conn, anywhere.store, grace=timedelta(0), keep=timedelta(1), now=datetime.now(UTC))
        assert [each async for each in audit(conn, anywhere.store, content=True)] == []
    assert await anywhere.one("select count(*) from blob") == 0


async def test_there_is_an_mp3_only_where_there_is_room_for_it(here: Here, plain: bytes) -> None:
    here.config = replace(here.config, account_bytes=len(plain) + 100_000)
    here.pds.data = plain
    here.write(reference(plain))
    (job,) = await here.turn()
    assert job.message == "mirrored as it is: there is no room for an MP3 of it"
    assert await here.one("select count(*) from blob") == 1


async def test_other_bytes_are_refused_and_remembered(here: Here, sound: bytes) -> None:
    """Of the same length: only the hash tells. It is asked again later each time, and good bytes heal it."""
    here.write(reference(sound))
    here.pds.sends = sound[:-1] + bytes([sound[-1] ^ 1])
    for attempts in (1, 2):
        (job,) = await (here.turn() if attempts == 1 else here.again())
        assert (job.state, job.error) == (
            JobState.FAILED, "its PDS sends other bytes than the record names",
        )  # fmt: skip
        tries, wait, error = await here.state()
        assert (tries, error) == (attempts, job.error)
        assert wait == pytest.approx(wait_s(3600, attempts - 1), abs=30)
        assert await here.nothing_kept()
        assert await here.turn() == []  # not before its time
    here.pds.sends = None
    (job,) = await here.again()
    assert job.message == "mirrored"


async def test_more_than_the_record_says_is_not_taken(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    here.pds.sends = sound + b"more"
    (job,) = await here.turn()
    assert job.state is JobState.FAILED
    assert await here.nothing_kept()
    here.write(reference(sound, size=5 << 20))
    (job,) = await here.turn()
    assert job.error == "it has 5,242,880 bytes, more than are fetched"
    assert (await here.state())[1] is None  # never again
    assert len(here.pds.asked) == 1


async def test_bytes_of_another_size_than_the_record_names_are_refused(here: Here, sound: bytes) -> None:
    """Though their hash is right."""
    here.write(reference(sound, size=len(sound) + 1))
    (job,) = await here.turn()
    assert job.error == f"it has {len(sound):,} bytes, and its record names another size"
    assert (await here.state())[1] is None  # never again
    assert await here.nothing_kept()
    here.write(reference(sound, size=0))  # as some apps say that they don't know
    (job,) = await here.turn()
    assert job.message == "mirrored"


async def test_a_pds_has_two_places_and_each_of_its_accounts_a_turn(here: Here, sound: bytes) -> None:
    """However many tracks one account has, and however long they wait."""
    greedy, rkeys = here.did, [f"3jzfcijpj2z{letter}a" for letter in "abcdefg"]
    for rkey in rkeys:
        here.write(reference(sound), rkey=rkey)
    async with here.pool.connection() as conn:
        await mirrors.find(conn, limit=99)
        await conn.execute("update mirror set due = now() - interval '1 day'")
    crowded = here.pds.url
    here.other(1, crowded)
    modest = here.did
    here.write(reference(sound), rkey=rkeys[0])
    here.other(2, "https://elsewhere.example")
    far = here.did
    here.write(reference(sound), rkey=rkeys[0])
    for _ in range(2):  # and not two more each minute
        subjects = {job.subject for job in await here.sweep()}
        assert subjects == {f"{did}/{rkeys[0]}" for did in (greedy, modest, far)}


async def test_an_account_has_so_much_room_and_no_more(here: Here, sound: bytes) -> None:
    """Nor for what is left of broken downloads. What is over is left alone without being asked for."""
    here.config = replace(here.config, account_bytes=len(sound) + 40_000)
    rkeys = [f"3jzfcijpj2z{letter}a" for letter in "abc"]
    here.pds.cut = 30_000
    here.write(reference(sound), rkey=rkeys[0])
    (job,) = await here.turn()
    assert job.state is JobState.FAILED  # 30,000 bytes are staged
    other = sound + bytes(20_000)
    here.pds.data, here.pds.cut = other, None
    here.write(reference(other), rkey=rkeys[1])
    asked = len(here.pds.asked)
    (job,) = await here.turn()
    over = "over the limit: the mirrored sound of its account has no room for it"
    assert (job.state, job.message) == (JobState.DONE, over)
    assert len(here.pds.asked) == asked
    here.pds.data = sound
    await here.again()
    assert await here.one("select count(*) from track_media") == 1

    here.config = replace(here.config, account_bytes=len(sound))
    here.write(reference(sound[44:]), rkey=rkeys[2])
    async with here.pool.connection() as conn:
        await conn.execute("update mirror set due = now() where due is not null")
    assert await here.sweep() == []  # full: no job is begun
    errors = await here.one("select array_agg(distinct error) from mirror where due > now()")
    assert errors == ["over the limit: the mirrored sound of its account has as much room as it may"]
    here.config = replace(here.config, account_bytes=9 << 20)
    here.pds.data = sound[44:]
    async with here.pool.connection() as conn:
        await conn.execute("delete from mirror where rkey = %s", (rkeys[1],))
        await conn.execute("update mirror set due = now() where due is not null")
    assert "mirrored" in [job.message for job in await here.turn()]
    assert await here.one("select error from mirror where rkey = %s", rkeys[2]) is None


async def test_all_accounts_together_have_so_much_room(here: Here, sound: bytes) -> None:
    """With what was deleted and not collected yet. The metrics say what is here, and what is left alone."""
    here.config = replace(here.config, total_bytes=len(sound))
    here.write(reference(sound))
    await here.turn()
    async with here.pool.connection() as conn:
        mirrored = (await health.ask(conn)).mirrored
        assert mirrored == Mirrored(bytes=len(sound), over=0)
        await conn.execute("delete from blob_owner")
        await conn.execute("delete from track_media")
        await conn.execute("update blob set owners = 0, unowned_at = now()")
    here.other(1, here.pds.url)
    here.write(reference(sound[44:]), rkey="3jzfcijpj2zaa")
    assert await here.sweep() == []
    async with here.pool.connection() as conn:
        assert (await health.ask(conn)).mirrored == Mirrored(bytes=0, over=1)
    assert len(here.pds.asked) == 1


async def test_what_waits_for_strangers_is_no_alarm(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    await here.sweep()
    async with here.pool.connection() as conn:
        found = (await health.ask(conn)).jobs
    assert found is not None
    assert (found.late_s, found.in_state("pending")) == (None, 1)
    here.pds.status = 404
    assert [job.state for job in await here.turn()] == [JobState.FAILED]
    async with here.pool.connection() as conn:
        found = (await health.ask(conn)).jobs
    assert found is not None
    assert list(found.failing) == []


async def test_a_sound_has_as_long_as_its_size_takes(here: Here, sound: bytes) -> None:
    assert CONFIG.fetch_s(300 << 20) == 60 + 2400
    here.write(reference(sound))
    here.pds.cut, here.pds.stall = 10_000, True
    here.config = replace(here.config, idle_s=20, grace_s=0.4, pace=len(sound) * 10)
    (job,) = await here.turn()
    assert job.error == "its PDS took longer than 0 s"


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_download_that_broke_off_goes_on(anywhere: Here, sound: bytes, ranges: bool) -> None:
    """By a range where the host has them, else by throwing away what is here already."""
    anywhere.write(reference(sound))
    anywhere.pds.cut, anywhere.pds.ranges = 30_000, ranges
    (job,) = await anywhere.turn()
    assert job.state is JobState.FAILED
    assert await anywhere.state() == (1, pytest.approx(60, abs=10), job.error)
    (staged,) = [each async for each in anywhere.store.list_staged()]
    assert staged.size == 30_000
    anywhere.pds.cut = None
    (job,) = await anywhere.again()
    assert job.message == "mirrored"
    assert anywhere.pds.asked == [None, "bytes=30000-"]


@pytest.mark.once
@pytest.mark.parametrize("behind", [False, True])
async def test_killed_anywhere_it_goes_on(here: Here, sound: bytes, tmp_path: Path, behind: bool) -> None:
    """kill -9 at each call of the store in turn: the next attempt ends as one without a crash does."""
    here.write(reference(sound))
    deaths = 0
    async with here.pool.connection() as conn:
        await mirrors.find(conn, limit=9)
        args = {"did": here.did, "rkey": "3jzfcijpj2z2a"}
        id = await jobs.add(conn, "mirror", did=None, subject="song", args=args)
    assert id is not None
    while await dies(here.dsn, tmp_path / "blobs", id, deaths + 1, behind=behind):
        deaths += 1
    async with here.pool.connection() as conn:
        job = await jobs.get(conn, id)
        assert job is not None
        assert (job.state, job.message) == (JobState.DONE, "mirrored")
        assert [each async for each in audit(conn, here.store, content=True)] == [None]
    assert deaths == (3 if behind else 2)  # what was appended is not appended again, what was published is
    assert [each async for each in here.store.list_staged()] == []


async def test_one_who_stands_still_is_left(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    here.pds.cut, here.pds.stall = 10_000, True
    (job,) = await here.turn()
    assert job.state is JobState.FAILED
    assert "not done after 0.5 s" in (job.error or "")


@pytest.mark.parametrize(
    "where", ["http://169.254.169.254/latest", "http://10.0.0.1/x", "file:///etc/passwd"]
)
async def test_no_redirect_leads_into_our_network(here: Here, sound: bytes, where: str) -> None:
    here.write(reference(sound))
    here.pds.location = where
    (job,) = await here.turn()
    assert job.state is JobState.FAILED
    assert await here.nothing_kept()


async def test_a_pds_on_this_machine_is_none_outside_of_tests(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    async with GuardedClient() as strict:
        (job,) = await here.turn(Mirrors(here.pool, here.store, strict, job_queue(), CATALOG, here.config))
    assert job.state is JobState.FAILED
    assert here.pds.asked == []


async def test_what_a_pds_does_not_have_is_asked_for_seldom(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    here.pds.status = 400
    (job,) = await here.turn()
    assert job.error == "its PDS answers with status 400"
    assert (await here.state())[1] == pytest.approx(3600, abs=30)


@pytest.mark.parametrize(
    ("data", "words"), [(b"no sound at all " * 100, "no audio file"), (b"ID3" + bytes(20), "not played here")]
)
async def test_what_is_no_sound_is_not_kept(here: Here, data: bytes, words: str) -> None:
    here.pds.data = data
    here.write(reference(data))
    (job,) = await here.turn()
    assert words in (job.error or "")
    assert (await here.state())[1] is None
    assert await here.nothing_kept()


async def test_a_track_that_is_deleted_meanwhile_has_nothing(here: Here, sound: bytes) -> None:
    """Deleted while its bytes come: they are nobody's, and the collector takes them."""
    here.write(reference(sound))
    here.pds.stall, here.pds.cut = True, None
    here.config = replace(here.config, idle_s=20)
    turning = asyncio.create_task(here.turn())
    while not here.pds.asked:
        await asyncio.sleep(0.01)
    here.seed.conn.execute("delete from track")
    here.seed.commit()
    (job,) = await turning
    assert job.message == "the track was deleted or changed meanwhile"
    assert await here.one("select count(*) from track_media") == 0
    assert await here.turn() == []
    assert await here.one("select count(*) from mirror") == 0
    async with here.pool.connection() as conn:
        now, none = datetime.now(UTC), timedelta(0)
        await collect(conn, here.store, grace=none, keep=timedelta(days=1), now=now)
    assert await here.nothing_kept()


async def test_another_version_brings_another_sound(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    await here.turn()
    first = await here.one("select stream_id from track_media")
    other = sound[44:]  # without its tag
    here.pds.data = other
    here.write(reference(other))
    (job,) = await here.turn()
    assert job.message == "mirrored"
    second = await here.one("select stream_id from track_media")
    assert second != first
    assert await here.one("select owners from blob where id = %s", first) == 0
    asked = len(here.pds.asked)
    here.write(reference(other), title="Another title")
    assert await here.turn() == []
    assert await here.one("select stream_id from track_media") == second
    assert len(here.pds.asked) == asked


@pytest.mark.parametrize("instead", ["another", "none"])
async def test_what_a_record_does_not_name_any_more_is_not_heard(
    here: Here, sound: bytes, instead: str
) -> None:
    here.write(reference(sound))
    await here.turn()
    first = await here.one("select stream_id from track_media")
    here.pds.status = 404
    here.write(reference(b"withdrawn") if instead == "another" else None)
    await here.turn()
    assert await here.one("select stream_id from track_media") is None
    assert await here.one("select owners from blob where id = %s", first) == 0
    assert await here.turn() == []


async def test_who_is_out_of_sight_or_uploaded_here_is_left_alone(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    here.seed.conn.execute("update profile set hidden = true")
    here.seed.commit()
    assert await here.turn() == []
    here.seed.conn.execute("update profile set hidden = false")
    here.seed.conn.execute(
        "insert into blob (area, sha256, bytes, crc32, mime, state) values"
        " ('private', sha256('x'), 1, 1, 'audio/aiff', 'published')"
    )
    here.seed.conn.execute(
        "insert into track_media (did, rkey, original_id, stream_id)"
        " select %s, '3jzfcijpj2z2a', id, id from blob",
        (here.did,),
    )
    here.seed.commit()
    (job,) = await here.turn()
    assert job.message == "nothing to fetch: the track is gone, out of sight, or was uploaded here"
    assert await here.turn() == []  # nor does it stand in the way of others
    assert here.pds.asked == []


async def test_who_leaves_leaves_nothing(here: Here, sound: bytes) -> None:
    here.write(reference(sound))
    await here.turn()
    async with here.pool.connection() as conn:
        await mirrors.erase(conn, here.did)
    assert await here.one("select count(*) from mirror") == 0


def test_each_wait_is_twice_as_long_up_to_a_week() -> None:
    assert [wait_s(60, attempts) for attempts in (0, 1, 5)] == [60, 120, 1920]
    assert wait_s(60, 10_000) == 7 * 86_400


@pytest.mark.devnet
@pytest.mark.timeout(300)
async def test_a_real_pds_gives_its_blobs(here: Here, sound: bytes, net: Devnet) -> None:
    """Uploaded and written by another app, asked for at the account's PDS as it is known here."""
    ann = await net.account(f"a{secrets.token_hex(4)}")
    blob = await net.upload_blob(ann, sound, "audio/mpeg")
    record = {
        "$type": TRACK, "title": "Dawn", "artist": "Ann", "fileType": "mp3",
        "createdAt": "2026-03-01T00:00:00.000Z", "audioBlob": blob,
    }  # fmt: skip
    rkey = "3jzfcijpj2z2a"
    put = await net.put(ann, TRACK, rkey, record)
    here.seed.conn.execute("update repo set did = %s, pds = %s", (ann.did, net.pds[ann.pds].url))
    here.did = Did(ann.did)
    here.index(encode(from_json(record)), rkey)
    assert await here.one("select cid from track") == put["cid"]
    (job,) = await here.turn()
    assert (job.message, job.error) == ("mirrored", None)
    assert await here.one("select encode(sha256, 'hex') from blob") == hashlib.sha256(sound).hexdigest()


@pytest_asyncio.fixture
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    async with Devnet(pds=1) as net:
        yield net
