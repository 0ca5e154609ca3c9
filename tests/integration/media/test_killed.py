"""kill -9 at every border: what was begun is gone on with, or undone, and leaves a house in order."""

from __future__ import annotations

import io
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from PIL import Image

from appview.media.pipeline import Uploads
from appview.media.replacement import KEPT_REVISIONS
from appview.media.steps import NEW_SOUND, NEW_TRACK, Step
from appview.own_tracks import OwnTracks
from bin.kinds import job_queue
from lexicons.syntax import Rkey
from storage.blobs.store import Area, Key
from storage.jobs import JobState
from tests.devnet.network import Account, Devnet
from tests.integration.media.doomed import Processes
from tests.integration.media.order import in_order
from tests.integration.media.studio import ORIGIN, TRACK, Studio, did_of
from tests.music import aiff, music

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]


def sound(folder: Path, seed: int) -> bytes:
    return aiff(folder / "one.aiff", music(0.3, seed=seed)).read_bytes()


def picture(seed: int) -> bytes:
    """Large enough for one smaller rendition."""
    out = io.BytesIO()
    Image.new("RGB", (200, 200), (seed % 256, seed // 256, 99)).save(out, "PNG")
    return out.getvalue()


Wish = Callable[[int], Awaitable[UUID]]


async def killed_anywhere(processes: Processes, wish: Wish, steps: Iterable[Step]) -> list[UUID]:
    """A job for each border, all of them left behind there, but for the first two, which are done: how many
    borders there are is seen of the second, which knows the PDS already."""
    ids: list[UUID] = []
    for n in range(2):
        ids.append(await wish(n))
        assert not await processes.work(ids[n])
    walked = processes.passed
    assert {f"step {step}" for step in steps} <= set(walked)
    for border in walked:
        ids.append(await wish(len(ids)))
        assert await processes.work(ids[-1], end=border), border
    return ids


async def cancel(here: Studio, ids: list[UUID]) -> int:
    """Their owner has changed their mind; of how many that is heard."""
    async with here.pool.connection() as conn:
        return sum([await job_queue().cancel(conn, id) for id in ids])


async def count(here: Studio, state: JobState) -> int:
    """Of jobs, but for those that nobody waits for."""
    return await here.one("select count(*) from job where state = %s and kind not in ('opus', 'scan')", state)


async def titles(here: Studio, person: Account) -> list[str]:
    return sorted(each.value["title"] for each in await here.net.list_records(person, TRACK))


async def all_in_order(here: Studio, *people: Account) -> None:
    await here.echoed(*people)
    await in_order(here, *people)


@pytest.mark.parametrize("goes_on", [True, False])
async def test_an_upload_that_is_killed_anywhere_becomes_one_track_or_nothing(
    here: Studio, ann: Account, processes: Processes, tmp_path: Path, goes_on: bool
) -> None:
    async def wish(n: int) -> UUID:
        return await here.wish(ann, sound(tmp_path, n), title=f"Dawn {n:03}", cover=picture(n))

    ids = await killed_anywhere(processes, wish, NEW_TRACK)
    ended = await count(here, JobState.DONE)
    if not goes_on:
        assert await cancel(here, ids) == len(ids) - ended
    assert not await processes.work()
    if goes_on:
        assert await count(here, JobState.DONE) == len(ids)
        assert await titles(here, ann) == [f"Dawn {n:03}" for n in range(len(ids))]
    else:
        assert await count(here, JobState.CANCELLED) == len(ids) - ended
        # One was killed behind its last step, when there was nothing to undo any more.
        assert len(await titles(here, ann)) == ended + 2
    await all_in_order(here, ann)
    assert list(here.place.scratch.glob("room-*")) == []


async def test_a_pds_that_has_forgotten_the_audio_is_given_it_again(
    net: Devnet, here: Studio, ann: Account, processes: Processes, tmp_path: Path
) -> None:
    """It keeps a blob that no record names for some hours only."""
    task = Uploads(here.place).task
    id = await here.wish(ann, sound(tmp_path, 1), title="Late")
    assert await processes.work(id, end="before step record")
    lost = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    path = "{blob,ref,$link}"
    async with here.pool.connection() as conn:
        await conn.execute("update job set facts = jsonb_set(facts, %s, to_jsonb(%s::text))", [path, lost])
    job = await here.work(task, id)
    assert (job.state, job.error, job.warnings) == (JobState.DONE, None, [])
    [listed] = await net.list_records(ann, TRACK)
    assert listed.value["audioBlob"]["ref"]["$link"] != lost
    await in_order(here, ann)


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_track_that_was_deleted_while_nobody_was_at_it_is_not_published_again(
    net: Devnet, here: Studio, ann: Account, processes: Processes, tmp_path: Path, elsewhere: bool
) -> None:
    """Its record was written, and shown by the firehose, before the worker could say so."""
    task = Uploads(here.place).task
    id = await here.wish(ann, sound(tmp_path, 1), title="Dawn")
    assert await processes.work(id, end="before step record")
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


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_replacement_that_is_killed_anywhere_leaves_the_old_sound_or_the_new(
    here: Studio, ann: Account, processes: Processes, tmp_path: Path, goes_on: bool
) -> None:
    first = await here.wish(ann, sound(tmp_path, 999), title="Dawn")
    assert not await processes.work(first)
    [before] = await here.net.list_records(ann, TRACK)
    rkey = before.uri.rpartition("/")[2]

    async def wish(n: int) -> UUID:
        return await here.wish(ann, sound(tmp_path, n), "replace", title="Dawn", rkey=rkey)

    ids = await killed_anywhere(processes, wish, NEW_SOUND)
    ended = await count(here, JobState.DONE)
    if not goes_on:
        assert await cancel(here, ids) == len(ids) + 1 - ended
    assert not await processes.work()
    assert await count(here, JobState.DONE) == (len(ids) + 1 if goes_on else ended)
    [after] = await here.net.list_records(ann, TRACK)
    kept = {"createdAt", "title", "artist"}
    assert {name: after.value[name] for name in kept} == {name: before.value[name] for name in kept}
    assert after.value["audioUrl"] != before.value["audioUrl"]
    await all_in_order(here, ann)
    revisions = await here.one("select count(*) from track_revision")
    # Of those that were called off, whoever had the record written already has replaced what was before.
    assert revisions == KEPT_REVISIONS if goes_on else ended <= revisions + 1 <= KEPT_REVISIONS
    assert list(here.place.scratch.glob("room-*")) == []


async def test_an_opus_that_is_killed_anywhere_is_made_once_more(
    here: Studio, ann: Account, processes: Processes, tmp_path: Path
) -> None:
    async def wish(n: int) -> UUID:
        assert not await processes.work(await here.wish(ann, sound(tmp_path, n), title=f"Dawn {n:03}"))
        return await here.one("select id from job where kind = 'opus' and attempts = 0")

    ids = await killed_anywhere(processes, wish, [])
    assert {"in stage", "publish audio", "before update job"} <= set(processes.passed)
    assert not await processes.work()
    assert await here.one("select count(*) from job where kind = 'opus' and state = 'done'") == len(ids)
    assert await here.one("select count(*) from sound_rendition where format = 'opus'") == len(ids)
    await all_in_order(here, ann)
    assert list(here.place.scratch.glob("room-*")) == []


@pytest.mark.parametrize("kind", ["upload", "replace"])
async def test_an_undo_that_is_killed_anywhere_is_gone_on_with(
    here: Studio, ann: Account, processes: Processes, tmp_path: Path, kind: str
) -> None:
    """Of jobs whose record the PDS has, which nobody could write down."""
    more: dict[str, Any] = {}
    if kind == "replace":
        assert not await processes.work(await here.wish(ann, sound(tmp_path, 999), title="Dawn"))
        [before] = await here.net.list_records(ann, TRACK)
        more = {"rkey": before.uri.rpartition("/")[2]}

    async def wish(n: int) -> UUID:
        id = await here.wish(ann, sound(tmp_path, n), kind, title="Dawn", **more)
        assert await processes.work(id, end="putRecord")
        assert await cancel(here, [id]) == 1
        # So that whoever is killed next need not wait until the first is known to be dead.
        statement = (
            "delete from procrastinate.procrastinate_jobs where lock = %s and status = 'doing' returning 1"
        )
        assert await here.one(statement, str(id)) == 1
        return id

    ids = await killed_anywhere(processes, wish, [])
    assert not await processes.work()
    assert await count(here, JobState.CANCELLED) == len(ids)
    assert await titles(here, ann) == ([] if kind == "upload" else ["Dawn"])
    await all_in_order(here, ann)


@dataclass
class Artist:
    """Who changes tracks by requests. `told`: the last answer."""

    here: Studio
    account: Account
    processes: Processes
    told: Any = None

    async def made(self, data: bytes, title: str) -> int:
        """The number of a new track."""
        id = await self.here.wish(self.account, data, title=title)
        assert not await self.processes.work(id)
        result = (await self.here.job(id)).result
        assert result is not None
        return result["trackId"]

    async def asks(
        self, method: str, track: int | str, *, end: str | None = None, **form: str | bytes
    ) -> int:
        """The status of the answer, 0: none came."""
        data = aiohttp.FormData(default_to_multipart=True)
        for name, value in form.items():
            filename = "a.png" if isinstance(value, bytes) else None
            data.add_field(name, value, filename=filename)
        headers = {"Authorization": f"Bearer {self.here.tokens[self.account.did]}"}
        async with self.processes.web(end=end) as url, aiohttp.ClientSession(url, headers=headers) as http:
            try:
                async with http.request(method, f"/tracks/{track}", data=data) as answer:
                    self.told = await answer.json()
                    return answer.status
            except aiohttp.ClientConnectionError:
                return 0


@pytest.fixture
def artist(here: Studio, ann: Account, processes: Processes) -> Artist:
    return Artist(here, ann, processes)


async def test_an_edit_that_is_killed_anywhere_is_made_or_not(
    net: Devnet, here: Studio, artist: Artist, tmp_path: Path
) -> None:
    ann, track = artist.account, await artist.made(sound(tmp_path, 1), "Dawn")

    async def edit(n: int, *, end: str | None = None) -> int:
        return await artist.asks("PATCH", track, end=end, title=f"Dawn {n:03}", image=picture(n))

    for n in range(2):
        assert await edit(n) == 200
    walked = artist.processes.passed
    assert "putRecord" in walked
    for n, border in enumerate(walked, start=2):
        [before] = await net.list_records(ann, TRACK)
        assert await edit(n, end=border) == 0
        [after] = await net.list_records(ann, TRACK)
        made = after.value["title"] == f"Dawn {n:03}"
        assert made == (walked.index(border) >= walked.index("putRecord"))
        if not made:
            assert after == before
        image = after.value["imageUrl"].removeprefix(f"{ORIGIN}/image/")
        await all_in_order(here, ann)
        assert await here.store.stat(Key(Area.IMAGE, image)) is not None
    assert await edit(999) == 200
    assert await titles(here, ann) == ["Dawn 999"]
    # Original, stream and cover: what it was to have in the meantime it has no more.
    assert await here.one("select count(*) from blob_owner where kind = 'track'") == 3
    await all_in_order(here, ann)


async def test_an_earlier_sound_is_restored_whoever_is_killed(
    net: Devnet, here: Studio, artist: Artist, processes: Processes, tmp_path: Path
) -> None:
    async def heard() -> str:
        [listed] = await net.list_records(artist.account, TRACK)
        return listed.value["audioUrl"]

    async def newest() -> int:
        assert await artist.asks("GET", f"{track}/revisions") == 200
        return artist.told["revisions"][0]["id"]

    track = await artist.made(sound(tmp_path, 1), "Dawn")
    [listed] = await net.list_records(artist.account, TRACK)
    rkey = listed.uri.rpartition("/")[2]
    other = await here.wish(artist.account, sound(tmp_path, 2), "replace", title="Dawn", rkey=rkey)
    assert not await processes.work(other)
    assert await newest() == 1
    (shown,) = artist.told["revisions"]
    assert artist.told == {"track_id": track, "revisions": [shown]}
    assert shown == {
        "id": 1, "track_id": track, "created_at": shown["created_at"], "file_type": "mp3",
        "original_file_type": "aiff", "audio_storage": "r2", "duration": 0, "was_gated": False,
    }  # fmt: skip
    assert await artist.asks("POST", f"{track}/revisions/7/restore") == 404
    assert await artist.asks("POST", f"{track}/revisions/1/restore") == 200
    walked = processes.passed
    assert artist.told == shown | {"upload_id": artist.told["upload_id"]}
    assert not await processes.work()
    assert await heard() == listed.value["audioUrl"]
    for border in walked:
        before, restored = await heard(), f"{track}/revisions/{await newest()}/restore"
        assert await artist.asks("POST", restored, end=border) == 0 or border.startswith("update session")
        assert await artist.asks("POST", restored) == 200
        assert await processes.work(UUID(artist.told["upload_id"]), end="putRecord")
        assert not await processes.work()
        assert await heard() != before
        await all_in_order(here, artist.account)
    assert await here.one("select count(*) from job where state <> 'done'") == 0
    assert await here.one("select count(*) from job where kind = 'replace'") == 2 + len(walked)
    stranger = await net.account(f"b{secrets.token_hex(4)}")
    await here.sign_in(stranger)
    for method, path in (("GET", "revisions"), ("POST", "revisions/1/restore")):
        assert await Artist(here, stranger, processes).asks(method, f"{track}/{path}") == 403


async def test_a_delete_that_is_killed_anywhere_leaves_a_track_or_nothing(
    net: Devnet, here: Studio, artist: Artist, processes: Processes, tmp_path: Path
) -> None:
    ann, tracks = artist.account, list[int]()
    for n in range(2):
        assert await artist.asks("DELETE", await artist.made(sound(tmp_path, n), f"Dawn {n}")) == 200
    walked = processes.passed
    assert "deleteRecord" in walked
    for n, border in enumerate(walked, start=2):
        tracks.append(await artist.made(sound(tmp_path, n), f"Dawn {n}"))
        assert await artist.asks("DELETE", tracks[-1], end=border) == 0
    await here.echoed(ann)
    await here.one("update track_media set published_at = now() - interval '1 hour' returning 1")
    async with here.pool.connection() as conn:
        await job_queue().enqueue(conn, "tracks.sweep")
    assert not await processes.work()
    await collected_by_the_dying(here, processes)
    assert not await processes.work()
    await all_in_order(here, ann)
    for track in tracks:
        assert await artist.asks("DELETE", track) == 404
    assert await here.one("select count(*) from blob") == 0


async def collected_by_the_dying(here: Studio, processes: Processes) -> None:
    for area in ("audio", "private"):
        async with here.pool.connection() as conn:
            id = await job_queue().enqueue(conn, "blobs.collect", subject=area)
        assert await processes.work(id, end=f"delete {area}")
        await here.one("update blob set lease_until = now() where lease_until > now() returning 1")
