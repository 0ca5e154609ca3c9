"""Likes and comments on a real PDS, with the firehose that brings them back."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.service import until
from tests.acceptance.town import Town
from tests.devnet.records import tid
from tests.integration.appview.auth.test_sessions_devnet import Browser

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(300)]

TRACK, LIKE, COMMENT = "fm.plyr.track", "fm.plyr.like", "fm.plyr.comment"
WHEN = "2026-07-04T14:00:00.000Z"


async def test_what_is_said_about_a_track_comes_back_as_it_was_written(town: Town) -> None:
    ann, bob = await town.net.accounts(["ann", "bob"])
    record = {
        "title": "Hers", "artist": "Ann", "fileType": "mp3", "createdAt": WHEN,
        "audioUrl": "https://audio.example/a.mp3",
    }  # fmt: skip
    await town.net.put(ann, TRACK, tid(1), record)

    async def known() -> bool:
        return await town.fact("select count(*) from track") == 1

    await until(known, 60, "the track to be indexed")
    id = await town.fact("select id from track")
    like, comments = f"/tracks/{id}/like", f"/tracks/{id}/comments"
    async with Browser(town.url) as artist:
        await artist.sign_in(ann)
        assert (await artist.ask("POST", "/preferences/", json={"allow_comments": True})).status == 200
    async with Browser(town.url) as browser:
        await browser.sign_in(bob)
        said = await asyncio.gather(*(browser.ask("POST", like) for _ in range(10)))
        assert {answer.status for answer in said} == {200}
        [liked] = await town.net.list_records(bob, LIKE)
        assert [answer.json.get("atproto_uri") for answer in said].count(liked.uri) == 1
        assert (await browser.ask("GET", f"/tracks/{id}")).json["is_liked"] is True

        first = await browser.ask("POST", comments, json={"text": "oh", "timestamp_ms": 1500})
        assert first.status == 200, first.body
        path = f"/tracks/comments/{first.json['id']}"
        edited = await browser.ask("PATCH", path, json={"text": "oh!"})
        assert edited.status == 200, edited.body
        [written] = await town.net.list_records(bob, COMMENT)
        assert (written.value["text"], written.value["timestampMs"]) == ("oh!", 1500)
        assert edited.json["id"] == first.json["id"]
        await town.proven()

        async def named() -> bool:
            return await town.fact("select handle from repo where did = %s", bob.did) == bob.handle

        await until(named, 30, "who was not known before to have a name")
        shown = (await browser.ask("GET", comments)).json["comments"]
        assert shown == [edited.json | {"user_handle": bob.handle}]
        shown = (await browser.ask("GET", f"/tracks/{id}")).json
        assert (shown["like_count"], shown["comment_count"]) == (1, 1)

        # Given and taken back before any of it has come.
        for _ in range(3):
            assert (await browser.ask("DELETE", like)).json == {"liked": False}
            assert (await browser.ask("POST", like)).json["liked"] is True
        assert (await browser.ask("DELETE", like)).json == {"liked": False}
        assert (await browser.ask("DELETE", path)).json == {"deleted": True}
        await town.proven()
        shown = (await browser.ask("GET", f"/tracks/{id}")).json
        assert (shown["like_count"], shown["comment_count"], shown["is_liked"]) == (0, 0, False)
    assert await town.net.list_records(bob, LIKE) == await town.net.list_records(bob, COMMENT) == []
    assert await town.fact('select count(*) from "like"') == 0
    assert await town.fact("select bool_and(verified) from record") is True
