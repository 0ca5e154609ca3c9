"""Changes of tracks that are there, in their artist's name: whole, on top of what others wrote, and swept."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appview.auth.oauth import PdsAnswer
from appview.jobs import house
from appview.jobs.tasks import Task
from appview.media.attempt import Place
from appview.media.pipeline import Uploads
from appview.media.replacement import Replacements
from appview.media.track_record import Edit, edited
from appview.own_tracks import DropsBlob, NoSuchTrack, OwnTracks
from appview.pds import Pds
from appview.records import Put, Record
from lexicons.records import InvalidRecord
from lexicons.syntax import Rkey
from storage import jobs, track_media
from storage.jobs import Job, JobState
from storage.postgres import Connection
from tests.acceptance.service import until
from tests.devnet.network import Account, Devnet
from tests.integration.media.order import in_order
from tests.integration.media.studio import CATALOG, TRACK, Studio, did_of
from tests.music import aiff, music

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return aiff(tmp_path_factory.mktemp("sound") / "one.aiff", music(1)).read_bytes()


@dataclass
class Made:
    """Somebody with a track."""

    account: Account
    rkey: Rkey
    tracks: OwnTracks
    here: Studio

    async def record(self) -> dict[str, Any]:
        [listed] = await self.here.net.list_records(self.account, TRACK)
        return listed.value


@pytest_asyncio.fixture(loop_scope="module")
async def made(net: Devnet, here: Studio, sound: bytes) -> Made:
    account = await net.account(f"a{secrets.token_hex(4)}")
    session = await here.sign_in(account)
    job = await here.work(Uploads(here.place).task, await here.wish(account, sound, title="Dawn"))
    assert job.result is not None
    rkey = Rkey(job.result["uri"].rpartition("/")[2])
    return Made(account, rkey, OwnTracks(here.place, session, did_of(account)), here)


def titled(made: Made, title: str) -> Any:
    return lambda record: edited(CATALOG, made.rkey, record, Edit(title=title))


async def test_an_edit_keeps_what_it_does_not_know_and_when_it_was_made(made: Made) -> None:
    before = await made.record()
    await made.here.net.put(made.account, TRACK, made.rkey, before | {"mood": {"$type": "x.y.z", "n": 1}})
    put = await made.tracks.rewrite(made.rkey, titled(made, "Dusk"))
    assert await made.record() == before | {"mood": {"$type": "x.y.z", "n": 1}, "title": "Dusk"}
    card = await made.here.record(put.uri)
    assert (card["cid"], card["record"]) == (put.cid, await made.record())
    await made.here.echoed(made.account)


async def test_who_wrote_in_between_is_not_overwritten(net: Devnet, made: Made) -> None:
    """A dozen edits at once, and each is in the record in the end."""

    async def edit(n: int) -> None:
        await made.tracks.rewrite(made.rkey, lambda record: record | {f"n{n}": n})

    await asyncio.gather(*(edit(n) for n in range(4)))
    after = await made.record()
    assert [after.get(f"n{n}") for n in range(4)] == [0, 1, 2, 3]


async def test_a_rewrite_that_would_lose_the_blob_is_refused(made: Made) -> None:
    before = await made.record()
    assert "audioBlob" in before
    with pytest.raises(DropsBlob):
        await made.tracks.rewrite(
            made.rkey, lambda record: {k: v for k, v in record.items() if k != "audioBlob"}
        )
    with pytest.raises(InvalidRecord):
        await made.tracks.rewrite(made.rkey, titled(made, ""))
    assert await made.record() == before
    with pytest.raises(NoSuchTrack):
        await made.tracks.rewrite(Rkey("3mpt222222222"), titled(made, "Dusk"))


async def test_an_edit_that_changes_nothing_writes_nothing(made: Made) -> None:
    [before] = await made.here.net.list_records(made.account, TRACK)
    put = await made.tracks.rewrite(made.rkey, titled(made, "Dawn"))
    assert (put.cid, put.write) == (before.cid, None)


async def test_an_edit_that_dies_before_it_is_indexed_comes_by_the_firehose(made: Made) -> None:
    class Cut(BaseException): ...

    async def effect(_: Connection, put: Put, _newest: Record) -> None:
        assert put.write is not None
        raise Cut

    with pytest.raises(Cut):
        await made.tracks.rewrite(made.rkey, titled(made, "Dusk"), effect=effect)
    assert (await made.record())["title"] == "Dusk"
    await made.here.echoed(made.account)
    await in_order(made.here, made.account)


class Late(Pds):
    """The answer to the first put comes when it may; what it asks for is done."""

    def __init__(self, pds: Pds) -> None:
        self._pds = pds
        self._held = False
        self.done, self.may = asyncio.Event(), asyncio.Event()

    async def call(self, session_id: int, method: str, nsid: str, **options: Any) -> PdsAnswer:
        answer = await self._pds.call(session_id, method, nsid, **options)
        if nsid.endswith("putRecord") and not self._held:
            self._held = True
            self.done.set()
            await self.may.wait()
        return answer


def late(here: Studio) -> tuple[Place, Late]:
    pds = Late(here.place.pds)
    return replace(here.place, pds=pds), pds


async def replaced(made: Made, place: Place, sound: bytes) -> Job:
    here = made.here
    id = await here.wish(made.account, sound, "replace", title="Dawn", rkey=made.rkey)
    return await here.work(Replacements(place).task, id)


async def test_of_two_replacements_the_one_that_the_record_names_is_heard(made: Made, tmp_path: Path) -> None:
    """Also where the one before it is told only afterwards that it was written."""
    place, pds = late(made.here)
    await made.here.one("delete from job where kind = 'scan' returning 1")
    first = asyncio.create_task(replaced(made, place, aiff(tmp_path / "2.aiff", music(2)).read_bytes()))
    await pds.done.wait()
    second = await replaced(made, made.here.place, aiff(tmp_path / "3.aiff", music(3)).read_bytes())
    pds.may.set()
    assert [(await first).state, second.state] == [JobState.DONE, JobState.DONE]
    heard = await made.here.one(
        "select encode(sha256, 'hex') from track_media m join blob b on b.id = m.stream_id"
    )
    assert (await made.record())["audioUrl"].endswith(heard)
    wanted = await made.here.one("select subject from job where kind = 'scan'")
    assert wanted == f"{made.account.did}/{made.rkey}"  # the new sound has no verdict
    await in_order(made.here, made.account)


async def test_an_effect_that_comes_late_is_told_the_newest_version(made: Made) -> None:
    told: list[str] = []

    async def effect(_: Connection, _put: Put, newest: Record) -> None:
        told.append(newest["title"])

    place, pds = late(made.here)
    slow = OwnTracks(place, made.here.sessions[made.account.did], did_of(made.account))
    first = asyncio.create_task(slow.rewrite(made.rkey, titled(made, "Noon"), effect=effect))
    await pds.done.wait()
    await made.tracks.rewrite(made.rkey, titled(made, "Dusk"), effect=effect)
    pds.may.set()
    await first
    await made.tracks.rewrite(made.rkey, titled(made, "Dusk"), effect=effect)
    assert told == ["Dusk", "Dusk", "Dusk"]


async def test_a_sound_that_a_track_is_being_given_makes_no_other_track(made: Made, tmp_path: Path) -> None:
    here, sound = made.here, aiff(tmp_path / "2.aiff", music(2)).read_bytes()
    place, pds = late(here)
    replacing = asyncio.create_task(replaced(made, place, sound))
    await pds.done.wait()
    upload = await here.work(Uploads(here.place).task, await here.wish(made.account, sound, title="Dusk"))
    assert upload.state is JobState.FAILED
    assert upload.error is not None
    assert upload.error.startswith("duplicate upload")
    pds.may.set()
    assert (await replacing).state is JobState.DONE
    await in_order(here, made.account)


async def test_a_replacement_that_fails_stands_in_nobodys_way(made: Made, tmp_path: Path) -> None:
    here, sound = made.here, aiff(tmp_path / "2.aiff", music(2)).read_bytes()
    id = await here.wish(made.account, sound, "replace", title="Dawn", rkey="3mpt222222222")
    assert (await here.work(Replacements(here.place).task, id)).state is JobState.FAILED
    upload = await here.work(Uploads(here.place).task, await here.wish(made.account, sound, title="Dusk"))
    assert upload.state is JobState.DONE
    again = await replaced(made, here.place, sound)
    assert (again.state, again.error) == (
        JobState.FAILED, "another track of yours has this audio already",
    )  # fmt: skip
    await in_order(here, made.account)


async def test_a_delete_elsewhere_is_swept_after_it_was_proven(net: Devnet, made: Made) -> None:
    here = made.here
    sweep = Task("tracks.sweep", house.sweep_tracks(here.pool, CATALOG.collections.track))
    await here.echoed(made.account)

    async def swept() -> int:
        async with here.pool.connection() as conn:
            id = await jobs.add(conn, sweep.kind, did=None, subject=None, args={})
        assert id is not None
        job = await here.work(sweep, id)
        assert job.state is JobState.DONE
        assert job.result is not None
        return job.result["tracks"]

    async def gone() -> bool:
        return await here.one("select count(*) from track where rkey = %s", made.rkey) == 0

    await net.delete(made.account, TRACK, made.rkey)
    await until(gone, 30, "the delete to be indexed")
    assert await swept() == 0  # it was published a moment ago
    async with here.pool.connection() as conn:
        await conn.execute("update track_media set published_at = now() - interval '1 hour'")
    assert await swept() == 1
    await in_order(here, made.account)
    assert await here.one("select count(*) from blob") == 0


async def test_who_leaves_leaves_no_blob_and_no_job(here: Studio, made: Made, sound: bytes) -> None:
    other = await here.net.account(f"b{secrets.token_hex(4)}")
    await here.sign_in(other)
    await here.work(Uploads(here.place).task, await here.wish(other, sound, title="Same sound"))
    kept = await here.one("select count(*) from blob_owner where owner like %s", f"{other.did}/%")
    await here.wish(made.account, b"never begun", title="Never")
    async with here.pool.connection() as conn, conn.transaction():
        for erase in (jobs.erase, track_media.erase):
            await erase(conn, did_of(made.account))
    for table in ("job", "track_media", "staged_upload"):
        assert await here.one(f"select count(*) from {table} where did = %s", made.account.did) == 0
    assert await here.one("select count(*) from blob_owner where owner like %s", f"{made.account.did}%") == 0
    assert await here.one("select count(*) from blob_owner where owner like %s", f"{other.did}/%") == kept > 0
    await in_order(here, other)
