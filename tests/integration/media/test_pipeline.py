"""Uploads from staged bytes to tracks, with a real PDS: they play, and PDS, index and blobs agree."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from appview.jobs.attempt import Attempts
from appview.jobs.tasks import MOST_ATTEMPTS, TryLater
from appview.media.attempt import Attempt, begun
from appview.media.failures import NoFfmpeg
from appview.media.pipeline import Uploads, walk
from appview.media.probe import probe
from appview.media.steps import NEW_TRACK, Step
from appview.own_tracks import OwnTracks
from lexicons.syntax import Rkey
from storage import sessions
from storage.blobs.collector import collect
from storage.blobs.s3 import S3Store
from storage.blobs.store import Area, Key
from storage.jobs import JobState
from storage.sessions import End
from tests.devnet.network import Account, Devnet
from tests.integration.media.order import in_order
from tests.integration.media.studio import ORIGIN, Studio, did_of, studio
from tests.music import aiff, decoded, ffmpeg, music
from tests.s3.fixtures import two_buckets
from tests.s3.server import Swift

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

BLOB_LIMIT = 1_000_000
# How each is made, behind what the track's record calls it.
KINDS = {
    "one.mp3": ["mp3"],
    "one.wav": ["wav"],
    "one.m4a": ["m4a"],
    "one.flac": ["flac"],
    "one.ogg": ["mp3", "-c:a", "libvorbis"],
    "one.webm": ["mp3", "-c:a", "libopus"],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(devnet_packages: Path) -> AsyncIterator[Devnet]:
    async with Devnet(pds=1, blob_limit=BLOB_LIMIT) as net:
        yield net


@pytest_asyncio.fixture(loop_scope="module")
async def here(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio(net, database, tmp_path) as here:
        yield here


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 300), (200, 40, 90)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return aiff(tmp_path_factory.mktemp("sound") / "one.aiff", music(4))


async def test_an_aiff_becomes_a_track_that_plays_and_all_agree(
    net: Devnet, here: Studio, ann: Account, sound: Path
) -> None:
    uploads = Uploads(here.place)
    wish = {"title": "Dawn", "album": "Days", "features": [ann.did]}
    id = await here.wish(ann, sound.read_bytes(), cover=picture(), **wish)
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
    assert await here.one("select subject from job where kind = 'scan'") == f"{ann.did}/{rkey}"
    owned = await here.one(
        "select array_agg(area order by area) from blob b join blob_owner o on o.blob_id = b.id"
        " where (o.kind, o.owner) = ('track', %s)",
        f"{ann.did}/{rkey}",
    )
    assert owned == ["audio", "image", "private"]
    cover = record["imageUrl"].removeprefix(f"{ORIGIN}/image/")
    assert await here.store.stat(Key(Area.IMAGE, cover)) is not None
    tags = await ffmpeg("-i", await here.sound_of(record), "-f", "ffmetadata", "pipe:1")
    assert b"title=Dawn" in tags
    assert b"album=Days" in tags
    assert await here.one("select count(*) from sound where loudness_lufs is not null") == 2
    assert await here.one("select count(*) from fingerprint") == 1
    await in_order(here, ann)


@pytest.mark.parametrize("name", KINDS)
async def test_whatever_the_format_it_plays_and_pds_and_index_agree(
    net: Devnet, here: Studio, ann: Account, sound: Path, tmp_path: Path, name: str
) -> None:
    file_type, *arguments = KINDS[name]
    path = tmp_path / name
    await ffmpeg("-i", sound, *arguments, path)
    job = await here.work(Uploads(here.place).task, await here.wish(ann, path.read_bytes(), title=name))
    assert (job.state, job.error) == (JobState.DONE, None)
    [listed] = await net.list_records(ann, "fm.plyr.track")
    assert listed.value["fileType"] == file_type
    card = await here.record(listed.uri)
    assert (card["cid"], card["record"]) == (listed.cid, listed.value)
    played = await here.sound_of(listed.value)
    assert len(await decoded(played)) / (await probe(played)).rate == pytest.approx(4, abs=0.1)
    await in_order(here, ann)


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("a text", "this is no audio file that we know"),
        ("half of it", "the file ends"),
        ("too long", "it is longer than"),
        ("no title", "this cannot be published: title"),
    ],
)
async def test_what_cannot_be_a_track_ends_with_a_reason_and_leaves_nothing(
    net: Devnet, here: Studio, ann: Account, sound: Path, case: str, error: str
) -> None:
    data, place = sound.read_bytes(), here.place
    if case == "a text":
        data = b"la la la\n" * 1000
    elif case == "half of it":
        data = data[: len(data) // 2]
    elif case == "too long":
        place = replace(place, max_duration_s=3)
    title = "" if case == "no title" else "Dawn"
    job = await here.work(Uploads(place).task, await here.wish(ann, data, title=title))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.startswith(error)
    assert await net.list_records(ann, "fm.plyr.track") == []
    await in_order(here, ann)
    assert await here.one("select count(*) from blob") == 0


async def test_a_cover_that_is_no_picture_is_left_out_with_a_warning(
    net: Devnet, here: Studio, ann: Account, sound: Path
) -> None:
    id = await here.wish(ann, sound.read_bytes(), cover=b"<svg/>" * 99, title="Dawn")
    job = await here.work(Uploads(here.place).task, id)
    assert job.state is JobState.DONE
    [warning] = job.warnings
    assert warning.startswith("the cover was left out: ")
    [listed] = await net.list_records(ann, "fm.plyr.track")
    assert "imageUrl" not in listed.value
    await in_order(here, ann)


async def test_four_identical_uploads_at_once_make_one_track_and_three_clear_answers(
    here: Studio, ann: Account, sound: Path
) -> None:
    task, data = Uploads(here.place).task, sound.read_bytes()
    ids = [await here.wish(ann, data, title=f"Dawn {n}") for n in range(4)]
    jobs = await asyncio.gather(*(here.work(task, id) for id in ids))
    assert sorted(job.state for job in jobs) == ["done", "failed", "failed", "failed"]
    errors = {job.error for job in jobs if job.state is JobState.FAILED}
    assert all(error and error.startswith("duplicate upload: track already exists (") for error in errors)
    again = await here.work(task, await here.wish(ann, data, title="Once more"))
    assert (
        again.error
        == f"duplicate upload: track already exists (id: {await here.one('select id from track')})"
    )
    await in_order(here, ann)
    assert await here.one("select count(*) from track_media") == 1


async def test_an_upload_that_failed_does_not_stand_in_the_way_of_the_next(
    here: Studio, ann: Account, sound: Path
) -> None:
    task, data = Uploads(here.place).task, sound.read_bytes()
    id = await here.wish(ann, data, title="")
    assert (await here.work(task, id)).state is JobState.FAILED
    assert (await here.work(task, await here.wish(ann, data, title="Dawn"))).state is JobState.DONE
    await in_order(here, ann)


async def test_deleting_one_of_two_tracks_that_share_bytes_leaves_the_other_playing(
    net: Devnet, here: Studio, ann: Account, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.mp3"
    await ffmpeg("-i", sound, path)
    bob = await net.account(f"b{secrets.token_hex(4)}")
    await here.sign_in(bob)
    task, data = Uploads(here.place).task, path.read_bytes()
    for person in (ann, bob):
        assert (await here.work(task, await here.wish(person, data, title="Dawn"))).state is JobState.DONE
    [hers], [his] = [await net.list_records(each, "fm.plyr.track") for each in (ann, bob)]
    assert hers.value["audioUrl"] == his.value["audioUrl"]
    tracks = OwnTracks(here.place, here.sessions[ann.did], did_of(ann))
    rkey = Rkey(hers.uri.rpartition("/")[2])
    await tracks.delete(rkey)
    await tracks.delete(rkey)
    assert await here.record(hers.uri) is None
    assert await here.record(his.uri) is not None
    await in_order(here, ann, bob)
    assert len(await decoded(await here.sound_of(his.value))) > 0
    await OwnTracks(here.place, here.sessions[bob.did], did_of(bob)).delete(Rkey(his.uri.rpartition("/")[2]))
    await in_order(here, ann, bob)
    assert await here.one("select count(*) from blob") == 0


async def test_what_the_pds_does_not_take_is_kept_here_with_a_warning(
    net: Devnet, here: Studio, ann: Account, tmp_path: Path
) -> None:
    path = tmp_path / "large.wav"
    await ffmpeg("-i", aiff(tmp_path / "long.aiff", music(8)), path)
    assert path.stat().st_size > BLOB_LIMIT
    job = await here.work(Uploads(here.place).task, await here.wish(ann, path.read_bytes(), title="Large"))
    assert job.state is JobState.DONE
    [warning] = job.warnings
    assert warning.startswith("only we keep the audio")
    [listed] = await net.list_records(ann, "fm.plyr.track")
    assert "audioBlob" not in listed.value
    await in_order(here, ann)


async def test_a_grant_that_is_gone_ends_an_upload_with_a_reason(
    here: Studio, ann: Account, sound: Path
) -> None:
    id = await here.wish(ann, sound.read_bytes(), title="Dawn")
    async with here.pool.connection() as conn:
        await sessions.end(conn, [here.sessions[ann.did]], End.SIGNED_OUT)
    job = await here.work(Uploads(here.place).task, id)
    assert job.error == "sign in again, then upload again: the session has ended: signed_out"
    await in_order(here, ann)


@pytest.mark.parametrize("ends", [True, False])
async def test_what_was_sent_survives_an_outage_of_the_store_but_not_of_more_than_a_day(
    here: Studio, ann: Account, sound: Path, tmp_path: Path, ends: bool
) -> None:
    task = Uploads(here.place).task
    id = await here.wish(ann, sound.read_bytes(), cover=picture(), title="Dawn")
    folder, aside = tmp_path / "blobs" / "private", tmp_path / "aside"
    folder.rename(aside)
    folder.write_bytes(b"")
    attempts = Attempts(here.pool, [task])
    for _ in range(MOST_ATTEMPTS + 2):
        await attempts.make(id)
    job = await here.job(id)
    assert (job.state, job.tries) == (JobState.PENDING, 0)
    assert job.message == "our storage is away at the moment"
    async with here.pool.connection() as conn:
        done = await collect(
            conn, here.store, grace=timedelta(days=1), keep=timedelta(0), now=datetime.now(UTC)
        )
    assert (done.failed, done.uploads) == (None, 0)
    if not ends:
        await here.one("update job set created_at = now() - interval '25 hours' returning 1")
        assert (await here.work(task, id)).error == job.message
    folder.unlink()
    aside.rename(folder)
    if ends:
        assert (await here.work(task, id)).state is JobState.DONE
    await in_order(here, ann)


async def test_that_there_is_no_ffmpeg_is_for_the_log_alone(here: Studio, ann: Account, sound: Path) -> None:
    async def nowhere(at: Attempt) -> None:
        raise NoFfmpeg("there is no ffmpeg on this machine: not in /usr/bin")

    id = await here.wish(ann, sound.read_bytes(), title="Dawn")
    async with begun(here.place, await here.attempt(id)) as at:
        with pytest.raises(TryLater) as told:
            await walk(at, NEW_TRACK, {Step.PROBE: nowhere})
    assert (str(told.value), told.value.counts) == ("we cannot read audio at the moment", False)


async def test_a_track_is_made_where_blobs_are_no_files_of_ours(
    net: Devnet, database: str, tmp_path: Path, sound: Path, swift: Swift
) -> None:
    async with (
        S3Store(await two_buckets(swift)) as store,
        studio(net, database, tmp_path, store) as here,
    ):
        cyd = await net.account(f"c{secrets.token_hex(4)}")
        await here.sign_in(cyd)
        id = await here.wish(cyd, sound.read_bytes(), cover=picture(), title="Dawn")
        job = await here.work(Uploads(here.place).task, id)
        assert (job.state, job.error, job.warnings) == (JobState.DONE, None, [])
        [listed] = await net.list_records(cyd, "fm.plyr.track")
        played = tmp_path / "played.mp3"
        played.write_bytes(await here.bytes_of(listed.value))
        assert (await probe(played)).duration_s == pytest.approx(4, abs=0.1)
        await in_order(here, cyd)
