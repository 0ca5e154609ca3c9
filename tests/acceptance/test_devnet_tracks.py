"""All of plyr on a devnet: an artist uploads, changes, replaces and deletes a track, and everybody agrees."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.acceptance.service import alive, until
from tests.acceptance.town import Town
from tests.devnet.network import Account
from tests.devnet.records import tid
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.music import aiff, music

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(300)]

TRACK = "fm.plyr.track"


def picture(color: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(out, "PNG")
    return out.getvalue()


def form(**fields: str | bytes) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            data.add_field(
                name, io.BytesIO(value), filename=f"{name}.bin", content_type="application/octet-stream"
            )
        else:
            data.add_field(name, value)
    return data


async def listed(town: Town, account: Account) -> dict[str, Any]:
    [found] = await town.net.list_records(account, TRACK)
    return found.value


async def test_a_track_from_its_upload_to_its_end(town: Town, tmp_path: Path) -> None:
    ann = await town.net.account("ann")
    one = aiff(tmp_path / "one.aiff", music(2)).read_bytes()
    two = aiff(tmp_path / "two.aiff", music(3, seed=2)).read_bytes()
    async with Browser(town.url) as browser, aiohttp.ClientSession() as anybody:
        assert (await browser.sign_in(ann)).status == 303
        sent = form(title="Dawn", album="Days", tags='["Ambient", "#dawn"]', file=one, image=picture("red"))
        queued = await browser.ask("POST", "/tracks/", data=sent)
        assert queued.status == 200, queued.body
        assert await town.ended(queued.json["upload_id"]) == "done"
        id = await town.fact("select (result ->> 'trackId')::int from job where kind = 'upload'")
        shown = (await browser.ask("GET", f"/tracks/{id}")).json
        record = await listed(town, ann)
        assert (shown["title"], shown["album"]["title"], shown["artist_did"]) == ("Dawn", "Days", ann.did)
        assert shown["tags"] == ["ambient", "dawn"]
        assert shown["r2_url"] == record["audioUrl"] == f"{town.url}/audio/{shown['file_id']}"
        for url in (record["audioUrl"], record["imageUrl"]):
            async with anybody.get(url) as answer:
                assert answer.status == 200
        await town.proven()

        # Another client adds what we do not know; it stays.
        rkey = shown["atproto_record_uri"].rpartition("/")[2]
        subject = {"uri": shown["atproto_record_uri"], "cid": shown["atproto_record_cid"]}
        await town.net.put(
            ann, "fm.plyr.like", tid(1), {"subject": subject, "createdAt": record["createdAt"]}
        )

        async def liked() -> bool:
            return await town.fact("select max(likes) from track_stat") == 1

        await until(liked, 30, "the like to be counted")
        async with anybody.get(f"{town.url}/tracks/{id}") as answer:
            anybodys = await answer.json()
        hers = (await browser.ask("GET", f"/tracks/{id}")).json
        assert (hers["like_count"], hers["is_liked"]) == (1, True)
        assert (anybodys["like_count"], anybodys["is_liked"]) == (1, False)
        await town.net.put(ann, TRACK, rkey, record | {"mood": "early"})
        sent = form(title="Dusk", album="", image=picture("blue"))
        changed = await browser.ask("PATCH", f"/tracks/{id}", data=sent)
        assert changed.status == 200, changed.body
        after = await listed(town, ann)
        kept = {name: record[name] for name in record.keys() - {"title", "album", "imageUrl"}}
        assert after == kept | {"mood": "early", "title": "Dusk", "imageUrl": changed.json["image_url"]}
        assert (changed.json["title"], changed.json["album"]) == ("Dusk", None)
        assert after["imageUrl"] != record["imageUrl"]
        assert changed.json["tags"] == ["ambient", "dawn"]
        # As clients send what has no file in it.
        plain = await browser.ask(
            "PATCH", f"/tracks/{id}", data={"tags": '["noise"]', "description": "d & e"}
        )
        assert (plain.json["tags"], plain.json["description"]) == (["noise"], "d & e"), plain.body
        plain = await browser.ask("PATCH", f"/tracks/{id}", data={"tags": "", "description": ""})
        assert (plain.json["tags"], plain.json["description"], plain.json["title"]) == ([], None, "Dusk")
        assert await listed(town, ann) == after
        assert (await browser.ask("PATCH", f"/tracks/{id}")).json["title"] == "Dusk"

        queued = await browser.ask("PUT", f"/tracks/{id}/audio", data=form(file=two))
        assert queued.status == 200, queued.body
        assert await town.ended(queued.json["upload_id"]) == "done"
        told = await browser.ask("GET", f"/tracks/uploads/{queued.json['upload_id']}/progress")
        assert b'"status":"completed"' in told.body
        replaced = await listed(town, ann)
        assert replaced["audioUrl"] != after["audioUrl"]
        assert (replaced["duration"], replaced["title"], replaced["mood"]) == (3, "Dusk", "early")
        assert await town.fact("select count(*) from track_revision") == 1
        await town.proven()

        assert (await browser.ask("DELETE", f"/tracks/{id}")).json == {
            "message": "track deleted successfully"
        }
        assert await town.net.list_records(ann, TRACK) == []
        assert (await browser.ask("GET", f"/tracks/{id}")).status == 404
        async with anybody.get(replaced["audioUrl"]) as answer:
            assert answer.status == 404
        assert await town.fact("select count(*) from blob_owner where kind not in ('image', 'sound')") == 0
        await town.proven()


async def test_who_may_change_a_track(town: Town) -> None:
    ann, bob = await town.net.accounts(["ann", "bob"])
    record = {
        "title": "Hers", "artist": "Ann", "fileType": "mp3", "createdAt": "2026-07-04T14:00:00.000Z",
        "audioUrl": "https://audio.example/a.mp3",
    }  # fmt: skip
    await town.net.put(ann, TRACK, tid(1), record)

    async def known() -> bool:
        return await town.fact("select count(*) from track") == 1

    await until(known, 60, "the track to be indexed")
    id = await town.fact("select id from track")
    async with Browser(town.url) as browser:
        assert (await browser.ask("DELETE", f"/tracks/{id}")).status == 401
        await browser.sign_in(bob)
        refused = await browser.ask("DELETE", f"/tracks/{id}")
        assert (refused.status, refused.json["detail"]) == (403, "you can only delete your own tracks")
        refused = await browser.ask("PATCH", f"/tracks/{id}", data=form(title="His"))
        assert (refused.status, refused.json["detail"]) == (403, "you can only edit your own tracks")
        assert (await browser.ask("DELETE", "/tracks/999999")).status == 404
        assert (await browser.ask("DELETE", "/tracks/x")).status == 422
    async with Browser(town.url) as browser:
        await browser.sign_in(ann)
        too_long = await browser.ask("PATCH", f"/tracks/{id}", data=form(title="x" * 300))
        assert too_long.status == 422
        bad = await browser.ask("PATCH", f"/tracks/{id}", data=form(image=b"la la la"))
        assert bad.status == 400
        assert await listed(town, ann) == {"$type": TRACK} | record
        long = form(description="x" * 6000, image=picture("red"))
        assert (await browser.ask("PATCH", f"/tracks/{id}", data=long)).status == 422
        assert await town.fact("select count(*) from blob_owner where kind = 'track'") == 0
        # A track that was made elsewhere gets a cover here.
        changed = await browser.ask("PATCH", f"/tracks/{id}", data=form(image=picture("green")))
        assert changed.status == 200, changed.body
        assert await town.fact("select count(*) from blob_owner where kind = 'track'") == 1
        await browser.ask("DELETE", f"/tracks/{id}")
        assert await town.fact("select count(*) from blob_owner where kind = 'track'") == 0


def encoders(parent: int) -> set[int]:
    return {pid for pid, (name, of) in alive().items() if of == parent and name.startswith("ffmpeg")}


@pytest.mark.once
async def test_a_worker_that_is_killed_in_the_middle_is_followed_by_another(
    town: Town, tmp_path: Path
) -> None:
    ann = await town.net.account("ann")
    async with Browser(town.url) as browser:
        await browser.sign_in(ann)
        sound = aiff(tmp_path / "long.aiff", music(90)).read_bytes()
        queued = await browser.ask("POST", "/tracks/", data=form(title="Long", file=sound))

        async def encodes() -> bool:
            begun = await town.fact("select phase = 'transcode' from job") is True
            return begun and bool(encoders(town.worker.process.pid))

        await until(encodes, 30, "the job to encode")
        its = encoders(town.worker.process.pid)
        await town.worker.kill()

        async def alone() -> bool:
            return its.isdisjoint(alive())

        await until(alone, 10, "its encoders to end, too")
        await town.worker.start()
        assert await town.ended(queued.json["upload_id"]) == "done"
        assert len(await town.net.list_records(ann, TRACK)) == 1
        await town.proven()
        assert await town.fact("select count(*) from track_media") == 1
        assert await town.fact("select count(*) from blob_owner where kind = 'job'") == 0
