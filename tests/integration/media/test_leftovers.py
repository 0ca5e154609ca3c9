"""Jobs that ended while nobody knew whether their record was written: what it says is what is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from appview.media.leftovers import Leftovers
from appview.media.pipeline import Uploads
from storage import jobs, sessions
from storage.jobs import JobState
from storage.sessions import End
from tests.acceptance.service import Program
from tests.devnet.network import Account, Devnet
from tests.integration.media.doomed import Processes
from tests.integration.media.order import in_order
from tests.integration.media.studio import TRACK, Studio, studio
from tests.integration.media.test_killed import sound

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

BEFORE_RECORD, BEHIND_RECORD = "step offer", "before step record"


@pytest_asyncio.fixture(loop_scope="module")
async def here(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio(net, database, tmp_path) as here:
        yield here


@pytest.fixture
def ingest(net: Devnet, database: str, tmp_path: Path) -> Program:
    """Brings the echoes, from the moment on that it is entered."""
    environ = net.service_settings() | {"PLYR_DATABASE_URL": database, "PLYR_DATA_DIR": str(tmp_path)}
    return Program("ingest", environ, tmp_path / "ingest.log")


async def swept(here: Studio) -> dict[str, int]:
    task = Leftovers(here.place).task
    async with here.pool.connection() as conn:
        id = await jobs.add(conn, task.kind, did=None, subject=None, args={})
    assert id is not None
    job = await here.work(task, id)
    assert job.result is not None
    return {what: count for what, count in job.result.items() if count}


async def sign_out(here: Studio, account: Account) -> None:
    async with here.pool.connection() as conn:
        await sessions.end(conn, [here.sessions[account.did]], End.SIGNED_OUT)


async def a_day_later(here: Studio) -> None:
    await here.one("update job set finished_at = finished_at - interval '25 hours' returning 1")


@pytest.mark.once
@pytest.mark.parametrize("sent_again", [True, False])
async def test_a_record_that_nobody_may_take_back_plays_once_its_echo_has_come(
    here: Studio, ann: Account, processes: Processes, ingest: Program, tmp_path: Path, sent_again: bool
) -> None:
    task, data = Uploads(here.place).task, sound(tmp_path, 1)
    id = await here.wish(ann, data, title="Dawn")
    assert await processes.work(id, end=BEHIND_RECORD)
    await sign_out(here, ann)
    assert (await here.cancel(task, id)).state is JobState.CANCELLED
    async with here.pool.connection() as conn:
        assert not await jobs.again(conn, id)
    assert await swept(here) == {"waiting": 1}
    if sent_again:
        await here.sign_in(ann)
        job = await here.work(task, await here.wish(ann, data, title="Dawn again"))
        assert job.state is JobState.DONE
    async with ingest:
        await here.echoed(ann)
    assert await swept(here) == {"kept": 1}
    assert await swept(here) == {}
    assert await here.one("select count(*) from track_media") == (2 if sent_again else 1)
    assert await here.one("select count(*) from track_media where original_id is not null") == 1
    await in_order(here, ann)


@pytest.mark.once
async def test_where_no_record_comes_nothing_is_kept(
    here: Studio, ann: Account, processes: Processes, tmp_path: Path
) -> None:
    task = Uploads(here.place).task
    id = await here.wish(ann, sound(tmp_path, 1), title="Dawn")
    assert await processes.work(id, end=BEFORE_RECORD)
    await sign_out(here, ann)
    assert (await here.work(task, id)).state is JobState.FAILED
    assert await swept(here) == {"waiting": 1}
    await a_day_later(here)
    assert await swept(here) == {"dropped": 1}
    await in_order(here, ann)
    assert await here.one("select count(*) from blob") == 0


@pytest.mark.once
@pytest.mark.parametrize("border", [BEFORE_RECORD, BEHIND_RECORD])
async def test_a_replacement_whose_undo_was_given_up_has_the_sound_of_the_record(
    net: Devnet,
    here: Studio,
    ann: Account,
    processes: Processes,
    ingest: Program,
    tmp_path: Path,
    border: str,
) -> None:
    made = await here.work(Uploads(here.place).task, await here.wish(ann, sound(tmp_path, 1), title="Dawn"))
    assert made.result is not None
    rkey = made.result["uri"].rpartition("/")[2]
    id = await here.wish(ann, sound(tmp_path, 2), "replace", title="Dawn", rkey=rkey)
    assert await processes.work(id, end=border)
    async with here.pool.connection() as conn:
        assert await jobs.finish(conn, id, JobState.FAILED, message="away", error="away")
    async with ingest:
        await here.echoed(ann)
    if border == BEFORE_RECORD:
        assert await swept(here) == {"waiting": 1}
        await a_day_later(here)
    assert await swept(here) == {"dropped" if border == BEFORE_RECORD else "kept": 1}
    await in_order(here, ann)
    [listed] = await net.list_records(ann, TRACK)
    played = await here.one("select encode(sha256, 'hex') from track_media join blob b on b.id = stream_id")
    assert listed.value["audioUrl"].endswith(played)


@pytest.mark.once
async def test_a_sound_whose_replacement_was_given_up_and_that_was_sent_anew_belongs_to_the_new_track(
    here: Studio, ann: Account, processes: Processes, ingest: Program, tmp_path: Path
) -> None:
    task, data = Uploads(here.place).task, sound(tmp_path, 2)
    made = await here.work(task, await here.wish(ann, sound(tmp_path, 1), title="Dawn"))
    assert made.result is not None
    rkey = made.result["uri"].rpartition("/")[2]
    id = await here.wish(ann, data, "replace", title="Dawn", rkey=rkey)
    assert await processes.work(id, end=BEHIND_RECORD)
    async with here.pool.connection() as conn:
        assert await jobs.finish(conn, id, JobState.FAILED, message="away", error="away")
    assert (await here.work(task, await here.wish(ann, data, title="Dawn"))).state is JobState.DONE
    async with ingest:
        await here.echoed(ann)
    assert await swept(here) == {"kept": 1}
    await in_order(here, ann)
