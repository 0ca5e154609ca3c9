"""How artists present themselves: read from the index, written as a record to their PDS, at once in both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from appview.rest import shapes
from lexicons.datamodel import cid_of, encode, from_json
from lexicons.syntax import Did
from tests.integration.appview.player.room import Room, detail, places

PROFILE = "fm.plyr.actor.profile"


async def shown(room: Room, path: str, key: str | None = None, **options: Any) -> dict[str, Any]:
    told = await room.told("GET", path, key, **options)
    msgspec.convert(told, shapes.Artist)
    return told


def record(room: Room, name: str) -> dict[str, Any]:
    return room.pds.records[room.names[name], PROFILE, "self"]


async def test_everybody_whom_we_track_is_an_artist(room: Room) -> None:
    room.person(
        "ann", bio="Sings.", avatar="https://img.test/a.png", created_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    room.person("bob", display_name=None)
    room.person("eve", hidden=True)
    ann = await shown(room, "/artists/by-handle/Ann.test")
    assert ann == {
        "did": room.names["ann"], "handle": "ann.test", "display_name": "Ann", "bio": "Sings.",
        "avatar_url": "https://img.test/a.png", "created_at": "2026-01-02T00:00:00Z",
        "updated_at": "2026-01-02T00:00:00Z", "show_liked_on_profile": False, "support_url": None,
    }  # fmt: skip
    assert await shown(room, f"/artists/{room.names['ann']}") == ann
    bob = await shown(room, "/artists/by-handle/@bob.test")
    assert (bob["display_name"], bob["bio"], bob["avatar_url"]) == ("bob.test", None, None)
    assert datetime.now(UTC) - datetime.fromisoformat(bob["created_at"]) < timedelta(minutes=5)
    for nobody in ("by-handle/eve.test", room.names["eve"], "by-handle/x.test", "did:plc:x", "by-handle/%00"):
        assert detail(await room.ask("GET", f"/artists/{nobody}")) == (404, "artist not found")
    several = await room.told(
        "POST", "/artists/batch", json=[room.names["bob"], room.names["eve"], room.names["ann"], "\0", "x"]
    )
    assert several == {room.names["bob"]: bob, room.names["ann"]: ann}
    assert (await room.ask("POST", "/artists/batch", json=["x"] * 101)).status == 400
    assert places(await room.ask("POST", "/artists/batch", json={"dids": []})) == [["body"]]
    avatar = await room.told("POST", f"/artists/{room.names['ann']}/refresh-avatar")
    assert avatar == {"avatar_url": "https://img.test/a.png"}
    assert (await room.ask("POST", "/artists/did:plc:x/refresh-avatar")).status == 404


async def test_a_blob_as_a_picture_is_one_in_a_browsers_size(room: Room) -> None:
    room.person("ann", avatar="https://pds.test/xrpc/com.atproto.sync.getBlob?did=did%3Aplc%3Aa&cid=bafyx")
    ann = await shown(room, "/artists/by-handle/ann.test")
    assert ann["avatar_url"] == "https://cdn.bsky.app/img/avatar/plain/did:plc:a/bafyx@jpeg"


async def test_a_profile_is_written_once_and_shown_at_once(room: Room) -> None:
    ann = await room.someone("ann", display_name=None)
    body = {"display_name": " Ann of the Hill ", "bio": "Sings.", "avatar_url": "https://img.test/a.png"}
    made = await room.told("POST", "/artists/", ann, json=body | {"genre": "folk"})
    assert made == await shown(room, "/artists/me", ann, server=1)
    assert (made["display_name"], made["bio"]) == ("Ann of the Hill", "Sings.")
    assert made["avatar_url"] == "https://img.test/a.png"
    written = record(room, "ann")
    assert written == {
        "$type": PROFILE, "displayName": "Ann of the Hill", "bio": "Sings.",
        "avatar": "https://img.test/a.png", "createdAt": written["createdAt"],
    }  # fmt: skip
    assert made["created_at"][:19] == written["createdAt"][:19]
    again = await room.ask("POST", "/artists/", ann, json=body)
    assert detail(again) == (400, "artist profile already exists")
    [(verified,)] = await room.rows("select verified from record where collection = %s", PROFILE)
    assert not verified
    found = await room.told("GET", "/xrpc/fm.plyr.actor.getProfile", params={"actor": room.names["ann"]})
    assert (found["displayName"], found["bio"]) == ("Ann of the Hill", "Sings.")


async def test_a_change_keeps_what_it_does_not_name_and_what_others_wrote(room: Room) -> None:
    ann = await room.someone("ann")
    before = {"$type": PROFILE, "createdAt": "2026-01-02T00:00:00Z", "bio": "Sings.", "mood": {"n": 1}}
    room.pds.records[room.names["ann"], PROFILE, "self"] = dict(before)
    after = await room.told("PUT", "/artists/me", ann, json={"display_name": "Ann!", "bio": None})
    assert (after["display_name"], after["bio"]) == ("Ann!", "Sings.")
    assert after["created_at"] == "2026-01-02T00:00:00Z" < after["updated_at"]
    assert record(room, "ann") == before | {
        "displayName": "Ann!", "updatedAt": record(room, "ann")["updatedAt"],
    }  # fmt: skip
    calls = room.pds.asked.count("putRecord")
    assert await room.told("PUT", "/artists/me", ann, json={"bio": "Sings.", "new": 1}) == after
    assert room.pds.asked.count("putRecord") == calls
    cleared = await room.told(
        "PUT", "/artists/me", ann, json={"display_name": "", "bio": "", "avatar_url": ""}
    )
    assert (cleared["display_name"], cleared["bio"]) == ("ann.test", None)
    assert set(record(room, "ann")) == {"$type", "createdAt", "mood", "updatedAt"}


async def test_who_has_no_record_yet_gets_one_with_the_first_change(room: Room) -> None:
    ann = await room.someone("ann")
    assert (await shown(room, "/artists/me", ann))["display_name"] == "Ann"
    assert (await room.told("PUT", "/artists/me", ann, json={"bio": "Hums."}))["bio"] == "Hums."
    assert set(record(room, "ann")) == {"$type", "createdAt", "bio"}


async def test_what_the_pds_did_not_see_at_first_is_not_overwritten(room: Room) -> None:
    ann = await room.someone("ann")
    before = {"$type": PROFILE, "createdAt": "2026-01-02T00:00:00Z", "bio": "Sings.", "mood": {"n": 1}}
    room.pds.records[room.names["ann"], PROFILE, "self"], room.pds.unseen = dict(before), 1
    await room.told("PUT", "/artists/me", ann, json={"bio": "Hums."})
    after = record(room, "ann")
    assert after == before | {"bio": "Hums.", "updatedAt": after["updatedAt"]}


async def test_what_is_chosen_beside_the_record_needs_no_grant(room: Room) -> None:
    room.person("ann")
    ann = await room.key("ann", granted=False)
    body = {"support_url": "https://ko-fi.test/ann", "show_liked_on_profile": True}
    after = await room.told("PUT", "/artists/me", ann, json=body)
    assert {name: after[name] for name in body} == body
    assert await shown(room, "/artists/by-handle/ann.test") == after
    assert (await room.told("PUT", "/artists/me", ann, json={"support_url": ""}))["support_url"] is None
    held = await room.told("GET", "/preferences/", ann)
    assert (held["support_url"], held["show_liked_on_profile"]) == (None, True)
    assert room.pds.asked == []


async def test_what_was_written_survives_the_next_look_at_bluesky(room: Room) -> None:
    """Where the record says nothing, Bluesky's profile still does."""
    ann = await room.someone("ann")
    await room.told("PUT", "/artists/me", ann, json={"display_name": "Ann of plyr"})
    block = encode(
        from_json({"$type": "app.bsky.actor.profile", "displayName": "Ann of Bluesky", "description": "Hi"})
    )
    await room.rows(
        "insert into record (repo_id, collection, rkey, rev, cid, block, verified)"
        " select id, 'app.bsky.actor.profile', 'self', '3kaaaaaaaaa22', %s, %s, true"
        " from repo where did = %s",
        cid_of(block),
        block,
        room.names["ann"],
    )
    both = await room.told("PUT", "/artists/me", ann, json={"avatar_url": "https://img.test/b.png"})
    assert (both["display_name"], both["bio"]) == ("Ann of plyr", "Hi")
    assert (await room.told("PUT", "/artists/me", ann, json={"display_name": ""}))[
        "display_name"
    ] == "Ann of Bluesky"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "display_name"]),
        ({"display_name": ""}, ["body", "display_name"]),
        ({"display_name": "x" * 641}, ["body", "display_name"]),
        ({"display_name": "Ann", "avatar_url": "javascript:alert(1)"}, ["body", "avatar_url"]),
        ({"display_name": "Ann", "bio": "x" * 300}, ["body"]),
        ({"display_name": "Ann", "bio": 5}, ["body", "bio"]),
    ],
)
async def test_what_is_no_profile_is_not_written(room: Room, body: dict[str, Any], where: list[str]) -> None:
    ann = await room.someone("ann")
    assert places(await room.ask("POST", "/artists/", ann, json=body)) == [where]
    assert room.pds.records == {}


async def test_who_may_not_write_is_told_why(room: Room) -> None:
    await room.someone("ann")
    body = {"display_name": "Ann"}
    for method, path in (("POST", "/artists/"), ("PUT", "/artists/me")):
        assert detail(await room.ask(method, path, json=body))[0] == 401
        narrow = await room.key("ann", scope="atproto repo:fm.plyr.track")
        assert detail(await room.ask(method, path, narrow, json=body)) == (403, "scope_upgrade_required")
        minted = await room.key("ann", granted=False)
        assert detail(await room.ask(method, path, minted, json=body))[0] == 403
    room.names["zoe"] = Did(room.names["ann"][:-3] + "zoe")
    zoe = await room.key("zoe")
    missing = "artist profile not found - please create one first"
    assert detail(await room.ask("GET", "/artists/me", zoe)) == (404, missing)
    assert detail(await room.ask("PUT", "/artists/me", zoe, json=body)) == (404, missing)
    assert detail(await room.ask("GET", "/artists/me")) == (401, "not authenticated - login required")


async def test_a_pds_that_refuses_or_is_away_changes_nothing_here(room: Room) -> None:
    ann = await room.someone("ann")
    room.pds.refuses.add("self")
    status, said = detail(await room.ask("POST", "/artists/", ann, json={"display_name": "Ann"}))
    assert (status, said.startswith("failed to sync profile to ATProto")) == (500, True)
    room.pds.status = 503
    assert (await room.ask("POST", "/artists/", ann, json={"display_name": "Ann"})).status == 502
    assert await room.rows("select from record") == []
