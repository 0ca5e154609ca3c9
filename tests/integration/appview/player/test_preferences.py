"""What people choose: kept whole whoever writes at once, refused where it makes no sense, gone with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from appview.app import make_reader
from appview.rest import account_shapes
from lexicons.catalog import Catalog
from lexicons.syntax import Nsid
from lexicons.validate import validate_output
from storage import preferences
from storage.forgotten import Left
from storage.postgres import make_pool
from tests.integration.appview.player.room import Room, detail, places
from tests.integration.mentions import in_tables

DEFAULTS = {
    "accent_color": "#6a9fff", "auto_advance": True, "allow_comments": False, "theme": "dark",
    "download_policy": None, "hidden_tags": [], "enable_teal_scrobbling": False, "teal_needs_reauth": False,
    "show_sensitive_artwork": False, "show_sensitive_audio": False, "show_liked_on_profile": False,
    "support_url": None, "ui_settings": {}, "terms_accepted_at": None,
}  # fmt: skip


async def change(room: Room, key: str, **body: Any) -> Any:
    told = await room.told("POST", "/preferences/", key, json=body)
    msgspec.convert(told, account_shapes.Preferences)
    assert told == await room.told("GET", "/preferences/", key, server=1)
    return told


async def test_nobody_has_chosen_anything_at_first(room: Room) -> None:
    ann = await room.someone("ann")
    assert await room.told("GET", "/preferences/", ann) == DEFAULTS
    assert await room.rows("select from preference") == []
    assert detail(await room.ask("GET", "/preferences/")) == (401, "not authenticated - login required")
    assert detail(await room.ask("POST", "/preferences/", "nonsense", json={}))[0] == 401
    moved = await room.ask("POST", "/preferences", ann, json={})
    assert (moved.status, moved.headers["Location"]) == (307, "/preferences/")


async def test_what_is_not_named_stays_and_one_changes_nobody_elses(room: Room) -> None:
    ann, bob = await room.someone("ann"), await room.someone("bob")
    chosen = {
        "accent_color": "#fff", "auto_advance": False, "theme": "light", "download_policy": "ask",
        "hidden_tags": ["ai", "noise"], "show_liked_on_profile": True, "support_url": "https://ko-fi.test/ann",
    }  # fmt: skip
    assert await change(room, ann, **chosen) == DEFAULTS | chosen
    after = await change(room, ann, allow_comments=True, auto_advance=None, unheard_of={"a": 1})
    assert after == DEFAULTS | chosen | {"allow_comments": True}
    cleared = await change(room, ann, support_url="", download_policy="", hidden_tags=[])
    assert cleared == after | {"support_url": None, "download_policy": None, "hidden_tags": []}
    assert await room.told("GET", "/preferences/", bob) == DEFAULTS


async def test_settings_of_the_frontend_are_added_to_those_that_are_there(room: Room) -> None:
    ann = await room.someone("ann")
    await change(room, ann, ui_settings={"volume": 0.5, "wide": True})
    after = await change(room, ann, ui_settings={"volume": 1, "sizes": {"a": [1, None]}}, theme="light")
    assert after["ui_settings"] == {"volume": 1, "wide": True, "sizes": {"a": [1, None]}}
    assert (await change(room, ann, ui_settings=None))["ui_settings"] == after["ui_settings"]


async def test_they_do_not_grow_without_end(room: Room) -> None:
    ann = await room.someone("ann")
    for n in range(3):
        await change(room, ann, ui_settings={f"n{n}": "x" * 5000})
    for settings in ({"n4": "x" * 5000}, {"n5": "x" * 20_000}):
        refused = await room.ask(
            "POST", "/preferences/", ann, json={"ui_settings": settings, "theme": "light"}
        )
        assert places(refused) == [["body", "ui_settings"]]
    held = await room.told("GET", "/preferences/", ann)
    assert (sorted(held["ui_settings"]), held["theme"]) == (["n0", "n1", "n2"], "dark")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"accent_color": "red"}', "accent_color"),
        (b'{"accent_color": "#ffff"}', "accent_color"),
        (b'{"auto_advance": "yes"}', "auto_advance"),
        (b'{"theme": "<b>"}', "theme"),
        (b'{"download_policy": "never"}', "download_policy"),
        (b'{"hidden_tags": "ai"}', "hidden_tags"),
        (b'{"support_url": "javascript:alert(1)"}', "support_url"),
        (b'{"support_url": "https://a.test/\\"onload=x"}', "support_url"),
        (b'{"ui_settings": [1]}', "ui_settings"),
        (b'{"ui_settings": {"a": "\\u0000"}}', "ui_settings"),
        (b'{"ui_settings": {"a": "\\ud800"}}', ""),
        (b'{"ui_settings": {"a": 1e999}}', "ui_settings"),
        (b'{"ui_settings": {"a": "\xff"}}', "ui_settings"),
        (b'{"ui_settings": {"a": ' + b"[" * 1025 + b"]" * 1025 + b"}}", ""),
        (b'{"ui_settings": {"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}", ""),
        (b"{", ""),
        (b"[]", ""),
    ],
)
async def test_what_makes_no_sense_is_told_where(room: Room, body: bytes, where: str) -> None:
    ann = await room.someone("ann")
    [place] = places(await room.ask("POST", "/preferences/", ann, data=body))
    assert place[:2] == ["body", where] if where else place[0] == "body"
    assert await room.rows("select from preference") == []


async def test_settings_that_no_answer_could_show_are_not_kept(room: Room) -> None:
    ann = await room.someone("ann")
    statuses: list[int] = []
    for levels in (200, *range(248, 258), 5000):  # about where it becomes too much, each one
        deep = b"[" * levels + b"]" * levels
        told = await room.ask("POST", "/preferences/", ann, data=b'{"ui_settings":{"mine":%b}}' % deep)
        statuses.append(told.status)
        assert (await room.ask("GET", "/preferences/", ann)).status == 200
    assert set(statuses) == {200, 422}
    assert statuses == sorted(statuses)


async def test_numbers_beyond_64_bits_do_no_harm(room: Room) -> None:
    ann = await room.someone("ann")
    answer = await room.ask("POST", "/preferences/", ann, data=b'{"ui_settings": {"n": %d}}' % 2**90)
    assert answer.json["ui_settings"] == {"n": 2.0**90}


async def test_fifty_changes_at_once_are_all_kept(room: Room) -> None:
    """Through two processes, each of another setting."""
    ann = await room.someone("ann")
    answers = await asyncio.gather(
        *(
            room.ask("POST", "/preferences/", ann, json={"ui_settings": {f"n{n}": n}}, server=n % 2)
            for n in range(50)
        )
    )
    assert {answer.status for answer in answers} == {200}
    held = await room.told("GET", "/preferences/", ann)
    assert held["ui_settings"] == {f"n{n}": n for n in range(50)}


async def test_terms_are_accepted_once(room: Room) -> None:
    ann = await room.someone("ann")
    first = await room.told("POST", "/account/accept-terms", ann)
    assert abs(datetime.fromisoformat(first["terms_accepted_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert await room.told("POST", "/account/accept-terms", ann, server=1) == first
    assert await change(room, ann, theme="light") == DEFAULTS | first | {"theme": "light"}
    assert detail(await room.ask("POST", "/account/accept-terms"))[0] == 401


async def test_comments_are_what_an_artist_chose(room: Room) -> None:
    ann = await room.someone("ann")
    did = room.names["ann"]
    async with make_reader(room.dsn, connections=1) as reads:
        assert not await preferences.allows_comments(reads, did)
        await change(room, ann, theme="light")
        assert not await preferences.allows_comments(reads, did)
        await change(room, ann, allow_comments=True)
        assert await preferences.allows_comments(reads, did)
        await change(room, ann, allow_comments=False)
        assert not await preferences.allows_comments(reads, did)


async def test_what_somebody_chose_goes_with_their_account(room: Room) -> None:
    ann, bob = await room.someone("ann"), await room.someone("bob")
    for key in (ann, bob):
        await change(room, key, theme="light")
    gone = await room.told("DELETE", "/account/", ann, json={"confirmation": "ann.test"})
    assert gone["finished"]
    # What is left is for whoever wipes the files, which is not here.
    assert in_tables(room.dsn, [room.names["ann"]], leave_out=["account_deletion", "outbox"]) == []
    assert (await room.told("GET", "/preferences/", bob))["theme"] == "light"


# -- by XRPC

GET, PUT = "/xrpc/fm.plyr.actor.getPreferences", "/xrpc/fm.plyr.actor.putPreferences"


async def test_by_xrpc_they_are_the_same_under_the_lexicons_names(room: Room) -> None:
    ann = await room.someone("ann")
    first = (await room.told("GET", GET, ann))["preferences"]
    validate_output(Catalog.load(), Nsid("fm.plyr.actor.getPreferences"), {"preferences": first})
    assert (first["accentColor"], first["allowComments"], first["uiSettings"]) == ("#6a9fff", False, {})
    assert "supportUrl" not in first
    assert "termsAcceptedAt" not in first
    wish = {
        "allowComments": True, "hiddenTags": ["ai"], "uiSettings": {"a": {"b": 1}},
        "supportUrl": "https://ko-fi.test/ann", "termsAcceptedAt": "2020-01-01T00:00:00Z", "mood": "new",
    }  # fmt: skip
    put = (await room.told("POST", PUT, ann, json={"preferences": wish}))["preferences"]
    validate_output(Catalog.load(), Nsid("fm.plyr.actor.putPreferences"), {"preferences": put})
    assert put == first | {name: wish[name] for name in wish if name not in ("termsAcceptedAt", "mood")}
    assert (await room.told("GET", GET, ann, server=1))["preferences"] == put
    held = await room.told("GET", "/preferences/", ann)
    assert (held["allow_comments"], held["ui_settings"]) == (True, {"a": {"b": 1}})
    await room.told("POST", "/account/accept-terms", ann)
    both = await room.told("POST", PUT, ann, json={"preferences": {"supportUrl": "", "uiSettings": {"c": 2}}})
    assert both["preferences"]["uiSettings"] == {"a": {"b": 1}, "c": 2}
    assert "supportUrl" not in both["preferences"]
    assert both["preferences"]["termsAcceptedAt"].endswith("Z")


@pytest.mark.parametrize(
    "wish",
    [
        {"accentColor": "red"}, {"autoAdvance": "yes"}, {"theme": "<b>"}, {"downloadPolicy": "never"},
        {"hiddenTags": [""]}, {"supportUrl": "javascript:alert(1)"}, {"uiSettings": [1]},
        {"uiSettings": {"a": "\0"}}, {"uiSettings": {"a": "x" * 20_000}}, None,
    ],
)  # fmt: skip
async def test_by_xrpc_too_what_makes_no_sense_is_refused(room: Room, wish: Any) -> None:
    ann = await room.someone("ann")
    answer = await room.ask("POST", PUT, ann, json={"preferences": wish})
    assert (answer.status, answer.json["error"]) == (400, "InvalidRequest")
    assert await room.rows("select from preference") == []


async def test_by_xrpc_they_are_for_who_brings_a_token(room: Room) -> None:
    assert (await room.ask("GET", GET)).status == 401
    assert (await room.ask("POST", PUT, json={"preferences": {}})).status == 401


async def test_what_comes_in_slowly_of_who_leaves_meanwhile_is_not_kept(room: Room) -> None:
    """They were let in when they began, and are forgotten before they end."""
    room.person("ann")
    did, program, browser = room.names["ann"], await room.key("ann"), await room.key("ann")
    go = asyncio.Event()

    async def slowly(body: bytes) -> AsyncIterator[bytes]:
        yield body[:5]
        await go.wait()
        yield body[5:]

    slow = [
        asyncio.create_task(room.ask("PUT", "/queue/", program, data=slowly(b'{"state":{"track_ids":[]}}'))),
        asyncio.create_task(room.ask("POST", "/preferences/", program, data=slowly(b'{"theme":"light"}'))),
    ]
    for _ in range(3):  # those before were let in by now
        await room.told("GET", "/preferences/", program)
    leaving = await room.told("DELETE", "/account/", browser, json={"confirmation": "ann.test"})
    assert leaving["finished"]
    go.set()
    assert [detail(await each) for each in slow] == [(401, "session_expired")] * 2
    async with make_pool(room.dsn, max_size=1, name="test") as pool, pool.connection() as conn:
        with pytest.raises(Left):  # as by whoever asks through their PDS
            await preferences.put(conn, did, {"theme": "light"}, {})
        with pytest.raises(Left):
            await preferences.accept_terms(conn, did)
    assert await room.rows("select did from queue union all select did from preference") == []
