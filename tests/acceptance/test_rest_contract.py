"""Every route of the REST contract, asked well and badly, by nobody and by the wrong one, on a real PDS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.acceptance import town as towns
from tests.acceptance.contract import Caller, Contract, served
from tests.acceptance.service import until
from tests.acceptance.test_devnet_tracks import form, listed, picture
from tests.acceptance.town import Town
from tests.devnet.network import Account
from tests.devnet.person import Person
from tests.devnet.records import tid
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.music import aiff, music

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(420)]

NOT_SIGNED_IN = "not authenticated - login required"
OLD = "app.relay"  # how the namespace was called
NO_ID = 999_999_999
# What nobody can do wrong: there is nothing to give, and everybody may.
_PUBLIC = {
    "GET /albums/",
    "GET /config",
    "GET /health",
    "GET /oauth-client-metadata.json",
    "GET /stats",
}


@dataclass
class Cast:
    """An artist, a listener with an account, and somebody without."""

    town: Town
    contract: Contract
    ann: Caller
    bob: Caller
    nobody: Caller
    ann_account: Account
    bob_account: Account
    ann_browser: Browser


async def developer_token(browser: Browser, account: Account, name: str = "contract") -> str:
    """As a person makes one, and a program fetches it."""
    wish = await browser.ask("POST", "/auth/developer-token/start", json={"name": name})
    back = await browser.allow(wish.json["auth_url"], account)
    token = parse_qs(urlsplit(back.headers["Location"]).query)["exchange_token"][0]
    fetched = await browser.ask("POST", "/auth/exchange", json={"exchange_token": token})
    return fetched.json["session_id"]


@pytest.fixture
async def town(database: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with towns.opened(database, tmp_path, PLYR_OLD_NAMESPACE=OLD) as town:
        yield town


@pytest.fixture
async def cast(town: Town, shared: Path) -> AsyncIterator[Cast]:
    contract = Contract.of(shared / "reference" / "plyr-openapi-2025-11.json")
    ann, bob = await town.net.accounts(["ann", "bob"])
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        callers: list[Caller] = []
        browsers: list[Browser] = []
        for account in (ann, bob):
            browser = await stack.enter_async_context(Browser(town.url))
            assert (await browser.sign_in(account)).status == 303
            token = await developer_token(browser, account)
            callers.append(Caller(town.url, http, contract, {"Authorization": f"Bearer {token}"}))
            browsers.append(browser)
        nobody = Caller(town.url, http, contract)
        yield Cast(town, contract, callers[0], callers[1], nobody, ann, bob, browsers[0])


async def test_every_route_keeps_its_word(
    cast: Cast, shared: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    await _signing_in(cast)
    await _around(cast)
    track = await _uploading(cast, tmp_path)
    await _artists(cast)
    await _tracks(cast, track)
    await _likes(cast, track)
    await _comments(cast, track)
    await _albums(cast, track)
    await _player(cast, track)
    await _exports(cast)
    await _ending(cast, track)
    measured(f"the REST contract of 2025-11, requests by route and kind:\n{cast.contract.table()}")
    newer = Contract.of(shared / "reference" / "plyr-openapi-2026-08.json")
    async with cast.nobody.http.get(f"{cast.town.url}/openapi.json") as answer:
        ours = await answer.json()
    here = served(ours, newer)
    assert set(served(ours, cast.contract)) == set(cast.contract.routes)
    measured(f"of the {len(newer.routes)} routes of 2026-08, {len(here)} are here:\n" + "\n".join(here))
    lacking = {
        route
        for route in cast.contract.routes
        if not cast.contract.asked[route]["good"]
        or (route not in _PUBLIC and len(cast.contract.asked[route]) < 2)
    }
    assert lacking == set()


async def _signing_in(cast: Cast) -> None:
    nobody, ann, ann_account = cast.nobody, cast.ann, cast.ann_account
    started = await nobody.ask("good", "GET", f"/auth/start?handle={ann_account.handle}", status=307)
    async with Person(ann_account) as person:
        params = await person.consent(started.headers["Location"])
    cookies = {"Cookie": "; ".join(c.partition(";")[0] for c in started.headers.getall("Set-Cookie"))}
    back = await nobody.ask("good", "GET", "/auth/callback", status=303, params=params, headers=cookies)
    assert back.headers["Location"]
    await nobody.ask("bad", "GET", "/auth/callback", status=401, params=params)
    await nobody.ask("bad", "GET", "/auth/callback", status=422)
    await nobody.ask("bad", "GET", "/auth/start", status=400)
    await nobody.ask("bad", "GET", "/auth/start?handle=nobody.invalid", status=400)
    gone = "invalid, expired, or already used exchange token"
    await nobody.ask("bad", "POST", "/auth/exchange", status=401, json={"exchange_token": "x"}, detail=gone)
    await nobody.ask("bad", "POST", "/auth/exchange", status=422, json={})

    assert (await ann.ask("good", "GET", "/auth/me"))["did"] == ann_account.did
    await nobody.ask("anonymous", "GET", "/auth/me", status=401, detail=NOT_SIGNED_IN)
    for method, path in (
        ("POST", "/auth/developer-token/start"),
        ("GET", "/auth/developer-tokens"),
        ("DELETE", "/auth/developer-tokens/abcdefgh"),
        ("POST", "/auth/logout"),
    ):
        body = {"json": {}} if method == "POST" else {}
        await nobody.ask("anonymous", method, path, status=401, detail=NOT_SIGNED_IN, **body)
    begun = await ann.ask("good", "POST", "/auth/developer-token/start", json={"name": "n", "ours": 1})
    browser = cast.ann_browser
    arrived = await browser.allow(begun["auth_url"], ann_account)
    token = parse_qs(urlsplit(arrived.headers["Location"]).query)["exchange_token"][0]
    fetched = await nobody.ask("good", "POST", "/auth/exchange", json={"exchange_token": token})
    await nobody.ask("bad", "POST", "/auth/exchange", status=401, json={"exchange_token": token}, detail=gone)
    long = "expires_in_days cannot exceed 365 (use 0 for no expiration)"
    body = {"expires_in_days": 366}
    await ann.ask("bad", "POST", "/auth/developer-token/start", status=400, json=body, detail=long)
    tokens = (await ann.ask("good", "GET", "/auth/developer-tokens"))["tokens"]
    prefix = fetched["session_id"][:8]
    assert prefix in {each["session_id"] for each in tokens}
    path = f"/auth/developer-tokens/{prefix}"
    await cast.bob.ask("foreign", "DELETE", path, status=404, detail="token not found")
    await ann.ask("good", "DELETE", path)
    await ann.ask("bad", "DELETE", path, status=404, detail="token not found")
    # A program that leaves ends its own session only.
    other = await developer_token(browser, ann_account, "leaves")
    leaver = Caller(ann.url, ann.http, ann.contract, {"Authorization": f"Bearer {other}"})
    await leaver.ask("good", "POST", "/auth/logout")
    ended = "invalid or expired session"
    await leaver.ask("bad", "GET", "/auth/me", status=401, detail=ended)


async def _around(cast: Cast) -> None:
    nobody = cast.nobody
    for path in ("/config", "/health", "/oauth-client-metadata.json", "/stats"):
        await nobody.ask("good", "GET", path)
    assert (await nobody.ask("good", "GET", "/health")) == {"status": "ok"}


async def _uploading(cast: Cast, tmp_path: Path) -> dict[str, Any]:
    ann, bob, nobody = cast.ann, cast.bob, cast.nobody
    sound = aiff(tmp_path / "one.aiff", music(2)).read_bytes()
    sent = form(title="Déjà vu", album="Été à Paris", file=sound, image=picture("red"), newer="field")
    queued = await ann.ask("good", "POST", "/tracks/", data=sent)
    await ann.ask("bad", "POST", "/tracks/", status=422, data=form(file=sound))
    await ann.ask("bad", "POST", "/tracks/", status=422, data=form(title="no file"))
    await nobody.ask(
        "anonymous", "POST", "/tracks/", status=401, data=form(title="x", file=b"y"), detail=NOT_SIGNED_IN
    )
    assert await cast.town.ended(queued["upload_id"]) == "done"
    progress = f"/tracks/uploads/{queued['upload_id']}/progress"
    told = await ann.ask("good", "GET", progress)
    assert b'"status":"completed"' in told.body
    for case, other in (("foreign", bob), ("anonymous", nobody)):  # its id is the key
        told = await other.ask(case, "GET", progress)
        assert b'"status":"completed"' in told.body
    lost = await ann.ask("bad", "GET", "/tracks/uploads/nothing/progress")
    assert b'"error":"job lost"' in lost.body
    id = await cast.town.fact("select (result ->> 'trackId')::int from job where kind = 'upload'")
    track = await nobody.ask("good", "GET", f"/tracks/{id}")
    assert (track["title"], track["album"]["title"]) == ("Déjà vu", "Été à Paris")
    audio = await nobody.ask("good", "GET", f"/audio/{track['file_id']}")
    assert audio.headers["Content-Type"] == "audio/mpeg"
    await nobody.ask("bad", "GET", "/audio/nothing", status=404, detail="audio file not found")
    return track


async def _artists(cast: Cast) -> None:
    ann, nobody = cast.ann, cast.nobody
    did, handle = cast.ann_account.did, cast.ann_account.handle

    async def named() -> bool:
        return await cast.town.fact("select handle from repo where did = %s", did) == handle

    await until(named, 30, "the handle to be known")
    mine = await ann.ask("good", "GET", "/artists/me")
    assert (mine["did"], mine["handle"]) == (did, handle)
    await nobody.ask("anonymous", "GET", "/artists/me", status=401, detail=NOT_SIGNED_IN)
    created = await ann.ask("good", "POST", "/artists/", json={"display_name": "Ann", "unknown": 1})
    assert created["display_name"] == "Ann"
    there = "artist profile already exists"
    await ann.ask("bad", "POST", "/artists/", status=400, json={"display_name": "Ann"}, detail=there)
    await ann.ask("bad", "POST", "/artists/", status=422, json={})
    await nobody.ask("anonymous", "POST", "/artists/", status=401, json={"display_name": "x"})
    changed = await ann.ask("good", "PUT", "/artists/me", json={"bio": "sings", "display_name": "Ann A."})
    assert (changed["bio"], changed["display_name"]) == ("sings", "Ann A.")
    await ann.ask("bad", "PUT", "/artists/me", status=422, json={"bio": 5})
    await nobody.ask("anonymous", "PUT", "/artists/me", status=401, json={})
    for path in (f"/artists/by-handle/{handle}", f"/artists/{did}"):
        assert (await nobody.ask("good", "GET", path))["display_name"] == "Ann A."
    for path in ("/artists/by-handle/nobody.test", f"/artists/did:plc:{'x' * 24}"):
        await nobody.ask("bad", "GET", path, status=404, detail="artist not found")
    assert (await nobody.ask("good", "GET", f"/artists/{did}/analytics"))["total_items"] == 1
    none = await nobody.ask("bad", "GET", f"/artists/did:plc:{'x' * 24}/analytics")
    assert none["total_items"] == 0
    assert (await ann.ask("good", "GET", "/artists/me/analytics"))["total_items"] == 1
    await nobody.ask("anonymous", "GET", "/artists/me/analytics", status=401)
    found = await nobody.ask("good", "GET", f"/search/handles?q={handle[:3]}&limit=5")
    assert did in {each["did"] for each in found["results"]}
    await nobody.ask("bad", "GET", "/search/handles?q=a", status=422)
    await nobody.ask("bad", "GET", "/search/handles?q=ab&limit=26", status=422)


async def _tracks(cast: Cast, track: dict[str, Any]) -> None:
    ann, bob, nobody, id = cast.ann, cast.bob, cast.nobody, track["id"]
    whole = await nobody.ask("good", "GET", "/tracks/")
    assert [each["id"] for each in whole["tracks"]] == [id]
    one = await nobody.ask("good", "GET", f"/tracks/?artist_did={cast.ann_account.did}")
    assert [each["id"] for each in one["tracks"]] == [id]
    none = await nobody.ask("bad", "GET", f"/tracks/?artist_did={cast.bob_account.did}")
    assert none["tracks"] == []
    await nobody.ask("bad", "GET", "/tracks/x", status=422)
    await nobody.ask("bad", "GET", f"/tracks/{NO_ID}", status=404, detail="track not found")
    mine = await ann.ask("good", "GET", "/tracks/me")
    assert [each["id"] for each in mine["tracks"]] == [id]
    assert (await bob.ask("foreign", "GET", "/tracks/me"))["tracks"] == []
    await nobody.ask("anonymous", "GET", "/tracks/me", status=401, detail=NOT_SIGNED_IN)
    assert (await ann.ask("good", "GET", "/tracks/me/broken"))["count"] == 0
    await nobody.ask("anonymous", "GET", "/tracks/me/broken", status=401)

    path = f"/tracks/{id}"
    changed = await ann.ask("good", "PATCH", path, data=form(title="Dusk", unknown="x"))
    assert (changed["title"], changed["album"]["title"]) == ("Dusk", "Été à Paris")
    changed = await ann.ask("good", "PATCH", path, data={"title": "Déjà vu"})  # not multipart
    assert changed["title"] == "Déjà vu"
    await ann.ask("bad", "PATCH", path, status=400, data=form(features="[1"))
    await ann.ask("bad", "PATCH", path, status=400, data=form(image=b"la la la"))
    await ann.ask("bad", "PATCH", f"/tracks/{NO_ID}", status=404, data=form(title="x"))
    edit = "you can only edit your own tracks"
    await bob.ask("foreign", "PATCH", path, status=403, data=form(title="x"), detail=edit)
    await nobody.ask("anonymous", "PATCH", path, status=401, data=form(title="x"))

    played = await nobody.ask("good", "POST", f"{path}/play")
    assert played["play_count"] == 1
    await nobody.ask("bad", "POST", f"/tracks/{NO_ID}/play", status=404, detail="track not found")
    await nobody.ask("bad", "POST", "/tracks/x/play", status=422)

    restore = f"{path}/restore-record"
    await ann.ask("bad", "POST", restore, status=400, detail="already_has_record")
    restoring = "you can only restore your own tracks"
    await bob.ask("foreign", "POST", restore, status=403, detail=restoring)
    await nobody.ask("anonymous", "POST", restore, status=401)


async def _likes(cast: Cast, track: dict[str, Any]) -> None:
    bob, nobody, path = cast.bob, cast.nobody, f"/tracks/{track['id']}"
    liked = await bob.ask("good", "POST", f"{path}/like")
    assert liked["liked"] is True
    assert liked["atproto_uri"].startswith(f"at://{cast.bob_account.did}/fm.plyr.like/")
    assert (await bob.ask("good", "POST", f"{path}/like"))["liked"] is True
    likers = await nobody.ask("good", "GET", f"{path}/likes")
    assert [(each["did"]) for each in likers["users"]] == [cast.bob_account.did]
    seen = await bob.ask("good", "GET", path)
    assert (seen["is_liked"], seen["like_count"]) == (True, 1)
    listed = await bob.ask("good", "GET", "/tracks/liked")
    assert [each["id"] for each in listed["tracks"]] == [track["id"]]
    await nobody.ask("anonymous", "GET", "/tracks/liked", status=401)
    for verb in ("POST", "DELETE"):
        await nobody.ask("anonymous", verb, f"{path}/like", status=401, detail=NOT_SIGNED_IN)
        await bob.ask("bad", verb, f"/tracks/{NO_ID}/like", status=404, detail="track not found")
        await bob.ask("bad", verb, "/tracks/x/like", status=422)
    await nobody.ask("bad", "GET", f"/tracks/{NO_ID}/likes", status=404, detail="track not found")
    for _ in range(2):
        assert await bob.ask("good", "DELETE", f"{path}/like") == {"liked": False}
    assert (await nobody.ask("good", "GET", path))["like_count"] == 0
    assert await cast.town.net.list_records(cast.bob_account, "fm.plyr.like") == []


async def _comments(cast: Cast, track: dict[str, Any]) -> None:
    ann, bob, nobody, path = cast.ann, cast.bob, cast.nobody, f"/tracks/{track['id']}/comments"
    body = {"text": "lovely", "timestamp_ms": 1500}
    await ann.ask("good", "POST", "/preferences/", json={"allow_comments": False})
    closed = "comments are disabled for this artist's tracks"
    await bob.ask("bad", "POST", path, status=403, json=body, detail=closed)
    shut = await nobody.ask("good", "GET", path)
    assert shut == {"comments": [], "count": 0, "comments_enabled": False}
    await ann.ask("good", "POST", "/preferences/", json={"allow_comments": True})
    written = await bob.ask("good", "POST", path, json=body | {"unknown": 1})
    assert (written["text"], written["user_did"]) == ("lovely", cast.bob_account.did)
    for wrong in ({}, body | {"text": ""}, body | {"timestamp_ms": -1}, body | {"text": "x" * 5000}):
        await bob.ask("bad", "POST", path, status=422, json=wrong)
    await bob.ask("bad", "POST", f"/tracks/{NO_ID}/comments", status=404, json=body)
    await nobody.ask("anonymous", "POST", path, status=401, json=body)
    listed = await nobody.ask("good", "GET", path)
    assert (listed["count"], [each["id"] for each in listed["comments"]]) == (1, [written["id"]])
    await nobody.ask("bad", "GET", f"/tracks/{NO_ID}/comments", status=404, detail="track not found")

    one = f"/tracks/comments/{written['id']}"
    edited = await bob.ask("good", "PATCH", one, json={"text": "lovelier"})
    assert (edited["id"], edited["text"]) == (written["id"], "lovelier")
    assert edited["updated_at"] is not None
    mine = "can only edit your own comments"
    await ann.ask("foreign", "PATCH", one, status=403, json={"text": "x"}, detail=mine)
    await bob.ask("bad", "PATCH", one, status=422, json={})
    gone = f"/tracks/comments/{NO_ID}"
    await bob.ask("bad", "PATCH", gone, status=404, json={"text": "x"}, detail="comment not found")
    await nobody.ask("anonymous", "PATCH", one, status=401, json={"text": "x"})
    await ann.ask("foreign", "DELETE", one, status=403, detail="can only delete your own comments")
    await nobody.ask("anonymous", "DELETE", one, status=401)
    assert await bob.ask("good", "DELETE", one) == {"deleted": True}
    await bob.ask("bad", "DELETE", one, status=404, detail="comment not found")


def cover(data: bytes) -> aiohttp.FormData:
    sent = aiohttp.FormData()
    sent.add_field("image", data, filename="cover.png", content_type="image/png")
    return sent


async def _albums(cast: Cast, track: dict[str, Any]) -> None:
    ann, bob, nobody, handle = cast.ann, cast.bob, cast.nobody, cast.ann_account.handle
    [listed] = (await nobody.ask("good", "GET", "/albums/"))["albums"]
    [of_artist] = (await nobody.ask("good", "GET", f"/albums/{handle}"))["albums"]
    assert (listed["id"], listed["title"], listed["track_count"]) == (of_artist["id"], "Été à Paris", 1)
    assert listed["id"] == track["album"]["id"]
    await nobody.ask("bad", "GET", "/albums/nobody.test", status=404, detail="artist not found")
    album = await nobody.ask("good", "GET", f"/albums/{handle}/{listed['slug']}")
    assert [each["id"] for each in album["tracks"]] == [track["id"]]
    await nobody.ask("bad", "GET", f"/albums/{handle}/none", status=404, detail="album not found")
    path = f"/albums/{listed['id']}/cover"
    covered = await ann.ask("good", "POST", path, data=cover(picture("blue")))
    assert covered["image_url"]
    own = "you can only upload cover art for your own albums"
    await bob.ask("foreign", "POST", path, status=403, data=cover(picture("blue")), detail=own)
    await nobody.ask("anonymous", "POST", path, status=401, data=cover(picture("blue")))
    await ann.ask("bad", "POST", path, status=400, data=cover(b"la la la"))
    none = f"/albums/{'0' * 8}-0000-4000-8000-{'0' * 12}/cover"
    await ann.ask("bad", "POST", none, status=404, data=cover(picture("blue")))


async def _player(cast: Cast, track: dict[str, Any]) -> None:
    ann, nobody, url = cast.ann, cast.nobody, cast.ann.url
    state = {"track_ids": [track["file_id"], "gone", track["file_id"]], "current_index": 0, "mine": True}
    empty = await ann.ask("good", "GET", "/queue/")
    assert empty["revision"] == 0
    put = await ann.ask("good", "PUT", "/queue/", json={"state": state})
    assert [each["id"] for each in put["tracks"]] == [track["id"]] * 2
    stale = {"If-Match": '"0"'}
    conflict = (
        "queue state conflict: state has been modified by another client. "
        "please fetch the latest state and retry."
    )
    body = {"state": state}
    await ann.ask("bad", "PUT", "/queue/", status=409, json=body, headers=stale, detail=conflict)
    form_of = "invalid If-Match header format (expected quoted integer)"
    wrong = {"If-Match": '"x"'}
    await ann.ask("bad", "PUT", "/queue/", status=400, json=body, headers=wrong, detail=form_of)
    await ann.ask("bad", "PUT", "/queue/", status=422, json={})
    for method in ("GET", "PUT"):
        await nobody.ask("anonymous", method, "/queue/", status=401, json=body, detail=NOT_SIGNED_IN)
    shown = (await ann.ask("good", "GET", "/queue/"))["state"]
    assert (shown["mine"], shown["track_ids"], "auto_advance" in shown) == (True, state["track_ids"], True)

    kept = await ann.ask("good", "POST", "/preferences/", json={"accent_color": "#112233"})
    assert kept["accent_color"] == "#112233"
    assert (await ann.ask("good", "GET", "/preferences/"))["accent_color"] == "#112233"
    await ann.ask("bad", "POST", "/preferences/", status=422, json={"auto_advance": "perhaps"})
    for method in ("GET", "POST"):
        await nobody.ask("anonymous", method, "/preferences/", status=401, json={})

    page = f"{url}/track/{track['id']}"
    embedded = await nobody.ask("good", "GET", "/oembed", params={"url": page, "maxwidth": "300"})
    assert embedded["width"] == 300
    await nobody.ask("bad", "GET", "/oembed", status=422)
    await nobody.ask("bad", "GET", "/oembed", status=404, params={"url": "https://else.test/track/1"})
    await nobody.ask("bad", "GET", "/oembed", status=404, params={"url": f"{url}/track/{NO_ID}"})

    none = await cast.bob.ask("good", "GET", "/migration/check")
    assert (none["needs_migration"], none["old_record_count"]) == (False, 0)
    old = await listed(cast.town, cast.ann_account) | {"$type": f"{OLD}.track", "title": "Of old"}
    await cast.town.net.put(cast.ann_account, f"{OLD}.track", tid(1), old)
    needs = await ann.ask("good", "GET", "/migration/check")
    assert (needs["needs_migration"], needs["old_collection"]) == (True, f"{OLD}.track")
    moved = await ann.ask("good", "POST", "/migration/migrate")
    assert (moved["migrated_count"], moved["failed_count"]) == (1, 0)
    for method, path in (("GET", "/migration/check"), ("POST", "/migration/migrate")):
        await nobody.ask("anonymous", method, path, status=401, detail=NOT_SIGNED_IN)


async def _exports(cast: Cast) -> None:
    ann, bob, nobody = cast.ann, cast.bob, cast.nobody
    await bob.ask("bad", "POST", "/exports/media", status=404, detail="no tracks found to export")
    await nobody.ask("anonymous", "POST", "/exports/media", status=401)
    queued = await ann.ask("good", "POST", "/exports/media")
    path = f"/exports/{queued['export_id']}"
    assert await cast.town.ended(queued["export_id"]) == "done"
    told = await ann.ask("good", "GET", f"{path}/progress")
    assert b'"download_url"' in told.body
    for case, other in (("foreign", bob), ("anonymous", nobody)):
        told = await other.ask(case, "GET", f"{path}/progress")
        assert b'"status":"completed"' in told.body
        assert b'"download_url"' not in told.body
    await nobody.ask("anonymous", "GET", f"{path}/download", status=401)
    await bob.ask("foreign", "GET", f"{path}/download", status=403, detail="not authorized")
    for rest in ("progress", "download"):
        await ann.ask("bad", "GET", f"/exports/nothing/{rest}", status=404)
    await ann.ask("good", "GET", f"{path}/download", status=307)


async def _ending(cast: Cast, track: dict[str, Any]) -> None:
    ann, bob, nobody, path = cast.ann, cast.bob, cast.nobody, f"/tracks/{track['id']}"
    own = "you can only delete your own tracks"
    await bob.ask("foreign", "DELETE", path, status=403, detail=own)
    await nobody.ask("anonymous", "DELETE", path, status=401)
    # Somebody deletes the record behind our back, and wants it again.
    rkey = track["atproto_record_uri"].rpartition("/")[2]
    await cast.town.net.delete(cast.ann_account, "fm.plyr.track", rkey)
    again = await ann.ask("good", "POST", f"{path}/restore-record")
    assert again["track"]["id"] == track["id"]
    assert await ann.ask("good", "DELETE", path) == {"message": "track deleted successfully"}
    await ann.ask("bad", "DELETE", path, status=404, detail="track not found")

    body = {"confirmation": "not me"}
    handle = cast.bob_account.handle
    must = f"confirmation must match your handle: {handle}"
    await bob.ask("bad", "DELETE", "/account/", status=400, json=body, detail=must)
    await nobody.ask("anonymous", "DELETE", "/account/", status=401, json=body)
    gone = await bob.ask("good", "DELETE", "/account/", json={"confirmation": handle})
    assert set(gone["deleted"]) >= {"tracks", "albums", "likes", "comments", "r2_objects", "atproto_records"}
