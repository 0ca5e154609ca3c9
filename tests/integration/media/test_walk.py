"""Work that dies at any step is gone on with, or undone, and leaves a house in order.

Every border between two steps is where it dies once: right before a step is saved, when all that the step
does elsewhere is done, and right after.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from appview.jobs.tasks import Task
from appview.media.pipeline import Uploads
from appview.media.replacement import KEPT_REVISIONS, Replacements
from appview.media.steps import NEW_SOUND, NEW_TRACK
from appview.own_tracks import OwnTracks
from lexicons.syntax import Rkey
from storage.jobs import JobState
from storage.postgres import Connection
from tests.acceptance.service import Program
from tests.devnet.fixtures import _devnet_when_marked, devnet_packages
from tests.devnet.network import Account, Devnet
from tests.integration.media.order import in_order
from tests.integration.media.studio import TRACK, Studio, Worked, did_of, studio
from tests.music import aiff, music

__all__ = ["_devnet_when_marked", "devnet_packages"]

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]


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


@pytest_asyncio.fixture(loop_scope="module")
async def ann(net: Devnet, here: Studio) -> Account:
    ann = await net.account(f"a{secrets.token_hex(4)}")
    await here.sign_in(ann)
    return ann


class Cut(BaseException):
    """The process is gone."""


@dataclass
class Doomed(Worked):
    """An attempt that ends at its `left`-th border."""

    left: int = 0

    async def report(self, phase: str, message: str, progress: float | None = None) -> None:
        if progress is None:
            self._border()
        await super().report(phase, message, progress)

    async def save(
        self, facts: Mapping[str, Any], *, warnings: Sequence[str] = (), conn: Connection | None = None
    ) -> None:
        self._border()
        await super().save(facts, warnings=warnings, conn=conn)

    def _border(self) -> None:
        if self.left == 0:
            raise Cut
        self.left -= 1


async def dies(here: Studio, task: Task, id: UUID, at: int) -> bool:
    """Whether there was such a border."""
    work = await here.attempt(id)
    try:
        await task.run(Doomed(here.pool, work.job, left=at))
    except Cut:
        return True
    return False


def sound(folder: Path, seed: int) -> bytes:
    return aiff(folder / "one.aiff", music(1, seed=seed)).read_bytes()


@pytest.mark.once
@pytest.mark.parametrize("goes_on", [True, False])
async def test_an_upload_that_dies_anywhere_becomes_one_track_or_nothing(
    here: Studio, ann: Account, tmp_path: Path, goes_on: bool
) -> None:
    task, at, tracks = Uploads(here.place).task, 0, 0
    while True:
        id = await here.wish(ann, sound(tmp_path, at), title=f"Dawn {at}")
        died = await dies(here, task, id, at)
        if died and not goes_on:
            assert (await here.cancel(task, id)).state is JobState.CANCELLED
        else:
            assert (await here.work(task, id)).state is JobState.DONE
            tracks += 1
        await in_order(here, ann)
        assert await here.one("select count(*) from track_media") == tracks
        if not died:
            break
        at += 1
    assert at == 2 * len(NEW_TRACK)
    await here.echoed(ann)


async def test_a_pds_that_has_forgotten_the_audio_is_given_it_again(
    net: Devnet, here: Studio, ann: Account, tmp_path: Path
) -> None:
    """It keeps a blob that no record names for some hours only."""
    task = Uploads(here.place).task
    id = await here.wish(ann, sound(tmp_path, 1), title="Late")
    assert await dies(here, task, id, 2 * len(NEW_TRACK) - 1)
    lost = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    path = "{blob,ref,$link}"
    async with here.pool.connection() as conn:
        await conn.execute("update job set facts = jsonb_set(facts, %s, to_jsonb(%s::text))", [path, lost])
    job = await here.work(task, id)
    assert (job.state, job.error, job.warnings) == (JobState.DONE, None, [])
    [listed] = await net.list_records(ann, TRACK)
    assert listed.value["audioBlob"]["ref"]["$link"] != lost
    await in_order(here, ann)


@pytest.mark.once
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_track_that_was_deleted_while_nobody_was_at_it_is_not_published_again(
    net: Devnet, here: Studio, ann: Account, tmp_path: Path, elsewhere: bool
) -> None:
    """Its record was written, and shown by the firehose, before the worker could say so."""
    task = Uploads(here.place).task
    id = await here.wish(ann, sound(tmp_path, 1), title="Dawn")
    assert await dies(here, task, id, 2 * len(NEW_TRACK) - 1)
    [listed] = await net.list_records(ann, TRACK)
    await here.echoed(ann)
    rkey = Rkey(listed.uri.rpartition("/")[2])
    if elsewhere:
        await net.delete(ann, TRACK, rkey)
    else:
        await OwnTracks(here.place, here.sessions[ann.did], did_of(ann)).delete(rkey)
    await here.echoed(ann)
    job = await here.work(task, id)
    assert (job.state, job.attempts) == (JobState.FAILED, 2)
    assert job.error == "the track was deleted while it was being made"
    await here.echoed(ann)
    await in_order(here, ann)
    assert await here.one("select count(*) from blob") == 0


@pytest.mark.once
@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_replacement_that_dies_anywhere_leaves_the_old_sound_or_the_new(
    net: Devnet, here: Studio, ann: Account, tmp_path: Path, goes_on: bool
) -> None:
    made = await here.work(Uploads(here.place).task, await here.wish(ann, sound(tmp_path, 100), title="Dawn"))
    assert made.result is not None
    rkey = made.result["uri"].rpartition("/")[2]
    task, at = Replacements(here.place).task, 0
    while True:
        [before] = await net.list_records(ann, "fm.plyr.track")
        id = await here.wish(ann, sound(tmp_path, at), "replace", title="Dawn", rkey=rkey)
        died = await dies(here, task, id, at)
        if died and not goes_on:
            assert (await here.cancel(task, id)).state is JobState.CANCELLED
        else:
            assert (await here.work(task, id)).state is JobState.DONE
        [after] = await net.list_records(ann, "fm.plyr.track")
        assert after.value["createdAt"] == before.value["createdAt"]
        if goes_on or not died:
            assert after.value["audioUrl"] != before.value["audioUrl"]
        await in_order(here, ann)
        if not died:
            break
        at += 1
    assert at == 2 * len(NEW_SOUND)
    await here.echoed(ann)
    # Of those that were given up, one had its new record already.
    assert await here.one("select count(*) from track_revision") == (KEPT_REVISIONS if goes_on else 2)
