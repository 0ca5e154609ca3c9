"""All of plyr on a devnet: what another app published plays here, and an artist takes everything along."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import aiohttp
import orjson
import psycopg
import pytest

from bin.tasks import job_queue
from firehose.car import read_car
from tests.acceptance.service import until
from tests.acceptance.test_devnet_tracks import TRACK, form
from tests.acceptance.town import Town
from tests.devnet.records import tid
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.music import aiff, ffmpeg, music

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(400)]


async def test_an_artist_takes_along_what_was_published_here_and_elsewhere(
    town: Town, tmp_path: Path
) -> None:
    ann = await town.net.account("ann")
    here = aiff(tmp_path / "here.aiff", music(2))
    await ffmpeg("-i", here, tmp_path / "there.mp3")
    there = (tmp_path / "there.mp3").read_bytes()
    blob = await town.net.upload_blob(ann, there, "audio/mpeg")
    record = {
        "title": "Dawn", "artist": "Ann", "fileType": "mp3", "createdAt": "2026-07-04T14:00:00.000Z",
        "audioBlob": blob,
    }  # fmt: skip
    await town.net.put(ann, TRACK, tid(1), record)
    async with Browser(town.url) as browser, aiohttp.ClientSession() as anybody:
        assert (await browser.sign_in(ann)).status == 303
        queued = await browser.ask("POST", "/tracks/", data=form(title="Dawn", file=here.read_bytes()))
        assert await town.ended(queued.json["upload_id"]) == "done"

        async def indexed() -> bool:
            return await town.fact("select count(*) from track") == 2

        await until(indexed, 60, "both tracks to be indexed")
        async with await psycopg.AsyncConnection.connect(town.dsn) as conn:  # as the scheduler does
            await job_queue().enqueue(conn, "mirror.sweep")

        async def mirrored() -> bool:
            return await town.fact("select count(*) from track_media where original_id is null") == 1

        await until(mirrored, 60, "the sweep to fetch the other app's sound")
        async with anybody.get(f"{town.url}/audio/{hashlib.sha256(there).hexdigest()}") as answer:
            assert (answer.status, await answer.read()) == (200, there)
        await town.proven()

        begun = (await browser.ask("POST", "/exports/media")).json
        assert begun["track_count"] == 2
        id = begun["export_id"]
        told = (await browser.ask("GET", f"/exports/{id}/progress")).body.decode().strip()
        last = orjson.loads(told.rpartition("data: ")[2])
        assert (last["status"], last["processed_count"], last["warnings"]) == ("completed", 2, [])
        sent_on = await browser.ask("GET", f"/exports/{id}/download")
        assert sent_on.status == 307
        async with anybody.get(town.url + sent_on.headers["Location"]) as answer:
            data = await answer.read()
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(data)))
        async with anybody.get(f"{town.url}/exports/{id}/download") as answer:
            assert answer.status == 401
        file = zipfile.ZipFile(io.BytesIO(data))
        assert file.testzip() is None
        # The suffixes differ, so both have the title to themselves.
        assert sorted(file.namelist()) == ["Dawn.aiff", "Dawn.mp3", "records.car", "tracks.json"]
        tracks = orjson.loads(file.read("tracks.json"))["tracks"]
        assert {file.read(each["file"]) for each in tracks} == {here.read_bytes(), there}
        assert [each["proven"] for each in tracks] == [True, True]
        assert len(read_car(file.read("records.car")).roots) == 2
