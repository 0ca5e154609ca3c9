"""Changes of tracks that are there, in their artist's name: whole, on top of what others wrote, and swept."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appview.jobs import house
from appview.jobs.tasks import Task
from appview.media.pipeline import Uploads
from appview.media.track_record import Edit, edited
from appview.own_tracks import DropsBlob, NoSuchTrack, OwnTracks
from appview.records import Put
from lexicons.records import InvalidRecord
from lexicons.syntax import Rkey
from storage import jobs, track_media
from storage.jobs import JobState
from storage.postgres import Connection
from tests.acceptance.service import Program, until
from tests.devnet.fixtures import _devnet_when_marked, devnet_packages
from tests.devnet.network import Account, Devnet
from tests.integration.media.order import in_order
from tests.integration.media.studio import CATALOG, TRACK, Studio, did_of, studio
from tests.music import aiff, music

__all__ = ["_devnet_when_marked", "devnet_packages"]

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    async with Devnet(pds=1) as net:
        yield net


@pytest_asyncio.fixture(loop_scope="module")
async def here(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    environ = net.service_settings() | {"PLYR_DATABASE_URL": database, "PLYR_DATA_DIR": str(tmp_path)}
    async with (
        studio(net, database, tmp_path) as here,
        Program("ingest", environ, tmp_path / "ingest.log"),
    ):
        yield here


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

    async def effect(_: Connection, put: Put) -> None:
        assert put.write is not None
        raise Cut

    with pytest.raises(Cut):
        await made.tracks.rewrite(made.rkey, titled(made, "Dusk"), effect=effect)
    assert (await made.record())["title"] == "Dusk"
    await made.here.echoed(made.account)
    await in_order(made.here, made.account)


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
