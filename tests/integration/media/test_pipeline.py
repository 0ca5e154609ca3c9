"""Uploads from staged bytes to tracks, with a real PDS: they play, and PDS, index and blobs agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from appview.media.pipeline import Uploads
from storage.blobs import rows
from storage.jobs import JobState
from tests.devnet.fixtures import _devnet_when_marked, devnet_packages
from tests.devnet.network import Account, Devnet
from tests.integration.media.studio import ORIGIN, Studio, studio
from tests.music import aiff, music

__all__ = ["_devnet_when_marked", "devnet_packages"]

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    async with Devnet(pds=1) as net:
        yield net


@pytest_asyncio.fixture(loop_scope="module")
async def here(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio(net, database, tmp_path) as here:
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def ann(net: Devnet, here: Studio, request: pytest.FixtureRequest) -> Account:
    """Somebody of this test's own, signed in."""
    ann = await net.account(f"a{abs(hash(request.node.name)) % 10**9}")
    await here.sign_in(ann)
    return ann


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return aiff(tmp_path_factory.mktemp("sound") / "one.aiff", music(4))


async def test_an_aiff_becomes_a_track_that_plays_and_all_agree(
    net: Devnet, here: Studio, ann: Account, sound: Path
) -> None:
    uploads = Uploads(here.place)
    id = await here.wish(ann, sound.read_bytes(), title="Dawn", album="Days", features=[ann.did])
    job = await here.work(uploads.task, id)
    assert (job.state, job.error, job.warnings) == (JobState.DONE, None, [])
    assert job.result is not None
    [listed] = await net.list_records(ann, "fm.plyr.track")
    assert (listed.uri, listed.cid) == (job.result["uri"], job.result["cid"])
    card = await here.record(listed.uri)
    assert (card["cid"], card["record"], card["verified"]) == (listed.cid, listed.value, False)
    file_id = job.result["fileId"]
    record = listed.value
    assert record["audioUrl"] == f"{ORIGIN}/audio/{file_id}"
    assert (record["title"], record["album"], record["artist"]) == ("Dawn", "Days", ann.handle)
    assert (record["fileType"], record["duration"]) == ("mp3", 4)
    assert record["audioBlob"]["mimeType"] == "audio/mpeg"
    assert job.result["trackId"] == await here.one("select id from track")
    rkey = listed.uri.rpartition("/")[2]
    owned = await here.one(
        "select array_agg(area order by area) from blob b join blob_owner o on o.blob_id = b.id"
        " where (o.kind, o.owner) = ('track', %s)",
        f"{ann.did}/{rkey}",
    )
    assert owned == ["audio", "private"]
    assert await here.one("select count(*) from blob_owner where kind = 'job'") == 0
    assert [each async for each in here.store.list_staged()] == []
    assert await here.one("select count(*) from staged_upload") == 0
    assert await here.one("select count(*) from sound where loudness_lufs is not null") == 2
    async with here.pool.connection() as conn:
        assert await rows.miscounted(conn) == []
