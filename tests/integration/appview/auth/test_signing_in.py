"""`/auth/*`: who gets a session and how, what it opens, and how it ends everywhere at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from appview.auth import secret
from appview.auth.client_keys import ClientKey, ClientKeys
from appview.auth.metadata import web_app
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from tests.integration.appview.auth.signing import (
    House,
    bearer,
    detail,
    exchange_token,
    housed,
)
from tests.integration.appview.seed import Seed

FRONTEND = "https://plyr.test"


@pytest.fixture
async def house(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[House]:
    async with housed(database, tmp_path / "encryption.keys", catalog, frontend_url=FRONTEND) as house:
        yield house


@pytest.fixture
async def own_pages(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[House]:
    async with housed(database, tmp_path / "encryption.keys", catalog, frontend_url=None) as house:
        yield house


async def rows(house: House, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(house.dsn, autocommit=True) as conn:
        cursor = await conn.execute(statement.encode(), params)
        return await cursor.fetchall() if cursor.description else []


async def settled(house: House, count: int) -> None:
    """Wait until that many grants were given back."""
    async with asyncio.timeout(60):
        while len(house.village.revoked) < count:
            await asyncio.sleep(0.05)


async def test_a_browser_signs_in_and_gets_a_cookie_that_no_script_can_read(house: House):
    ann = await house.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    assert started.status == 307
    assert started.headers["Location"].startswith("https://as.test/authorize?")
    back = await ann.go(started.headers["Location"], code="ann")
    assert back.status == 303
    assert back.headers["Location"].startswith(f"{FRONTEND}/profile/setup?exchange_token=")
    assert back.headers["Referrer-Policy"] == "no-referrer"
    answer = await ann.ask("POST", "/auth/exchange", json={"exchange_token": exchange_token(back)})
    assert answer.json == {"session_id": None}
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("session_id=")
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=1209600"):
        assert attribute in cookie
    assert "Secure" not in cookie  # it would not be kept on this machine
    assert "Domain" not in cookie
    assert await ann.me() == {
        "did": house.village.dids["ann"],
        "handle": "ann.test",
        "linked_accounts": [],
        "enabled_flags": [],
        "permissioned_spaces": {"supported": False, "granted": False, "reader": False},
    }


async def test_off_ones_own_machine_cookies_are_for_https_alone(
    database: str, tmp_path: Path, catalog: Catalog
):
    keys = tmp_path / "encryption.keys"
    async with housed(database, keys, catalog, frontend_url=None, origin="https://plyr.test") as house:
        ann = await house.person()
        started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
        flow = started.headers["Set-Cookie"]
        ann.http.headers["Cookie"] = flow.partition(";")[0]  # the jar keeps nothing for https
        back = await ann.go(started.headers["Location"], code="ann")
        session = back.headers["Set-Cookie"]
        assert (flow.partition("=")[0], session.partition("=")[0]) == ("plyr_flow", "session_id")
        for cookie in (flow, session):
            assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))


async def test_a_program_gets_the_key_in_the_answer_and_no_cookie(house: House):
    ann = await house.person("plyrfm/0.1")
    key = await ann.sign_in("ann")
    assert key is not None
    assert len(key) == 43
    assert "session_id" not in ann.cookies()
    assert (await ann.me(headers=bearer(key)))["did"] == house.village.dids["ann"]


async def test_an_artist_comes_back_to_the_portal(house: House, catalog: Catalog):
    seed = Seed(house.dsn, catalog)
    repo_id = seed.account("ann")
    seed.track(repo_id, "one")
    house.village.dids["ann"] = seed.dids[repo_id]
    seed.commit()
    seed.close()
    ann = await house.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    back = await ann.go(started.headers["Location"], code="ann")
    assert back.headers["Location"].startswith(f"{FRONTEND}/portal?exchange_token=")


async def test_an_exchange_token_is_good_once_for_a_minute(house: House):
    ann = await house.person("plyrfm/0.1")
    used = "invalid, expired, or already used exchange token"
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    back = await ann.go(started.headers["Location"], code="ann")
    body = {"exchange_token": exchange_token(back)}
    answers = await asyncio.gather(
        *(ann.ask("POST", "/auth/exchange", json=body, server=url) for url in house.urls * 4)
    )
    assert sorted(answer.status for answer in answers) == [200] + [401] * 7
    assert detail(await ann.ask("POST", "/auth/exchange", json=body)) == (401, used)
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    back = await ann.go(started.headers["Location"], code="ann")
    await rows(house, "update exchange_token set expires_at = now()")
    late = await ann.ask("POST", "/auth/exchange", json={"exchange_token": exchange_token(back)})
    assert detail(late) == (401, used)


async def test_a_flow_comes_back_once(house: House):
    ann = await house.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    assert (await ann.go(started.headers["Location"], code="ann")).status == 303
    status, text = detail(await ann.go(started.headers["Location"], code="ann"))
    assert status == 401
    assert text.startswith("OAuth callback failed: unknown_state")


async def test_another_browser_cannot_finish_a_flow(house: House):
    eve, ann = await house.person(), await house.person()
    started = await eve.ask("GET", "/auth/start", params={"handle": "eve.test"})
    status, text = detail(await ann.go(started.headers["Location"], code="eve"))
    assert (status, text.split(":")[1].strip()) == (401, "other_browser")
    status, text = detail(await eve.go(started.headers["Location"], code="eve"))
    assert text.startswith("OAuth callback failed: unknown_state")


async def test_another_browser_cannot_fetch_the_session_of_a_flow(house: House):
    eve, ann = await house.person(), await house.person()
    started = await eve.ask("GET", "/auth/start", params={"handle": "eve.test"})
    back = await eve.go(started.headers["Location"], code="eve")
    body = {"exchange_token": exchange_token(back)}
    refused = await ann.ask("POST", "/auth/exchange", json=body)
    assert refused.status == 401
    assert "Set-Cookie" not in refused.headers
    assert (await eve.ask("POST", "/auth/exchange", json=body)).status == 401  # it was shown, so it is spent


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"error": "access_denied"}, "denied"),
        ({"error": "server_error", "error_description": "<script>"}, "server_refused"),
        ({"code": "bob"}, "wrong_account"),
    ],
)
async def test_what_goes_wrong_leads_back_to_the_page_with_a_word(
    house: House, params: dict[str, str], code: str
):
    ann = await house.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    back = await ann.go(started.headers["Location"], **params)
    assert (back.status, back.headers["Location"]) == (303, f"{FRONTEND}/login?error={code}")


async def test_a_flow_that_took_too_long_leads_back_to_the_page(house: House):
    ann = await house.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    await rows(house, "update oauth_flow set expires_at = now() - interval '1 second'")
    back = await ann.go(started.headers["Location"], code="ann")
    assert back.headers["Location"] == f"{FRONTEND}/login?error=expired"


async def test_a_person_sees_a_page_where_a_program_sees_json(own_pages: House):
    ann = await own_pages.person()
    page = {"Accept": "text/html,application/xhtml+xml"}
    answer = await ann.ask("GET", "/auth/callback", params={"state": "x"}, headers=page)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?error=unknown_state")
    answer = await ann.ask("GET", "/auth/start", params={"handle": "nobody.test"}, headers=page)
    assert answer.headers["Location"] == "/sign-in?error=unknown_account&handle=nobody.test"
    status, text = detail(await ann.ask("GET", "/auth/start", params={"handle": "nobody.test"}))
    assert (status, text) == (400, "failed to start OAuth flow: unknown_account: nobody of that name")
    # What is no word of a flow is said on a page, too.
    for path, status, says in (
        ("/auth/start", 400, "Either handle or pds_url is required."),
        ("/auth/callback", 422, "The state is missing."),
        ("/nowhere", 404, "There is nothing here"),
    ):
        answer = await ann.ask("GET", path, headers=page)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert says in answer.body.decode()
        assert (await ann.ask("GET", path)).json["detail"]


async def test_a_person_with_a_frontend_is_led_back_to_it(house: House):
    ann = await house.person()
    answer = await ann.ask(
        "GET", "/auth/start", params={"handle": "nobody.test"}, headers={"Accept": "text/html"}
    )
    back = f"{FRONTEND}/login?error=unknown_account&handle=nobody.test"
    assert (answer.status, answer.headers["Location"]) == (303, back)


async def test_whoever_comes_back_signed_out_hears_the_word_all_the_same(own_pages: House):
    ann = await own_pages.person()
    await ann.sign_in_here("ann")
    url = await ann.wish("/auth/add-account/start", handle="bob.test")
    await ann.ask("POST", "/auth/logout")
    back = await ann.go(url, code="bob")
    assert back.headers["Location"] == "/account?error=expired"
    shown = await ann.ask("GET", back.headers["Location"])
    assert (shown.status, shown.headers["Location"]) == (303, "/sign-in?error=expired")


async def test_of_a_form_that_was_sent_the_address_leads_back(own_pages: House):
    ann = await own_pages.person()
    for form in ("add", "allow", "delete", "tokens/revoke"):
        answer = await ann.ask("GET", f"/account/{form}")
        assert (answer.status, answer.headers["Location"]) == (303, "/account")


async def test_starting_needs_exactly_one_name(house: House):
    ann = await house.person()
    answer = await ann.ask("GET", "/auth/start")
    assert detail(answer) == (400, "either handle or pds_url is required")
    answer = await ann.ask("GET", "/auth/start", params={"handle": "a.test", "pds_url": "https://pds.test"})
    assert detail(answer) == (400, "provide either handle or pds_url, not both")
    assert (await ann.ask("GET", "/auth/start", params={"pds_url": "https://pds.test"})).status == 307
    answer = await ann.ask("GET", "/auth/callback", params={"code": "x"})
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["query", "state"]


async def test_on_our_own_pages_the_callback_sets_the_cookie(own_pages: House):
    ann = await own_pages.person()
    params = {"handle": "ann.test", "return_to": "/account?tab=tokens"}
    started = await ann.ask("GET", "/auth/start", params=params)
    back = await ann.go(started.headers["Location"], code="ann")
    assert (back.status, back.headers["Location"]) == (303, "/account?tab=tokens")
    assert (await ann.me())["handle"] == "ann.test"


LEADS = {
    "somebody's page": ("cross-site", "https://evil.test/", False),
    "somebody's page that hides": ("cross-site", None, False),
    "a page whose name begins like ours": ("cross-site", f"{FRONTEND}.evil.test/", False),
    "a page with our name in its path": ("cross-site", f"https://evil.test/{FRONTEND}/", False),
    "a frontend of another site": ("cross-site", f"{FRONTEND}/login", True),
    "a frontend of the same site": ("same-site", None, True),
    "our own page": ("same-origin", None, True),
    "a person, at the address bar": ("none", None, True),
    "no browser": (None, None, True),
}


async def test_nobodys_page_but_ours_begins_a_sign_in(house: House):
    """It would begin with an account of its own, whose server sends people back without a question."""
    params = {"handle": "eve.test", "return_to": "/x"}
    ask = f"{FRONTEND}/login?handle=eve.test&return_to=/x"
    ann = await house.person()
    for case, (site, referer, begins) in LEADS.items():
        told = {"Sec-Fetch-Site": site, "Referer": referer}
        headers = {name: text for name, text in told.items() if text is not None}
        started = await ann.ask("GET", "/auth/start", params=params, headers=headers)
        flows = await rows(house, "delete from oauth_flow returning kind")
        if begins:
            assert (started.status, flows) == (307, [("sign_in",)]), case
        else:
            assert (started.status, started.headers["Location"], flows) == (303, ask, []), case
            assert "Set-Cookie" not in started.headers


@pytest.mark.parametrize("path", ["//evil.test", "/\\evil.test", "https://evil.test", "evil", "/a\nb"])
async def test_nobody_is_sent_to_another_site_afterwards(own_pages: House, path: str):
    ann = await own_pages.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test", "return_to": path})
    assert (await ann.go(started.headers["Location"], code="ann")).headers["Location"] == "/account"


async def test_a_browser_on_this_machine_is_led_to_the_name_that_its_cookies_belong_to(own_pages: House):
    ann = await own_pages.person()
    port = own_pages.urls[0].rpartition(":")[2]
    answer = await ann.ask(
        "GET", "/auth/start", params={"handle": "ann.test"}, headers={"Host": f"localhost:{port}"}
    )
    assert (answer.status, answer.headers["Location"]) == (
        307,
        "http://127.0.0.1/auth/start?handle=ann.test",
    )
    page = await ann.ask("GET", "/sign-in?error=denied", headers={"Host": f"localhost:{port}"})
    assert (page.status, page.headers["Location"]) == (303, "http://127.0.0.1/sign-in?error=denied")


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "not authenticated - login required"),
        ({"Authorization": "Basic abc"}, "not authenticated - login required"),
        (bearer("x"), "invalid or expired session"),
        (bearer(secret.fresh()), "invalid or expired session"),
        ({"Cookie": f"session_id={secret.fresh()}"}, "invalid or expired session"),
    ],
)
async def test_who_is_not_signed_in_is_told_so(house: House, headers: dict[str, str], text: str):
    ann = await house.person()
    for method, path in (("GET", "/auth/me"), ("POST", "/auth/logout"), ("GET", "/auth/developer-tokens")):
        assert detail(await ann.ask(method, path, headers=headers)) == (401, text)


async def test_signing_out_ends_the_session_in_every_process_and_gives_the_grant_back(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    key = ann.cookies()["session_id"]
    assert await house.auths[1].sessions.viewer(key) == Viewer(house.village.dids["ann"])
    answer = await ann.ask("POST", "/auth/logout")
    assert answer.json == {"message": "logged out successfully"}
    assert 'session_id=""' in answer.headers["Set-Cookie"]
    assert await house.auths[1].sessions.viewer(key) is None
    again = await ann.ask("GET", "/auth/me", headers=bearer(key), server=house.urls[1])
    assert detail(again) == (401, "invalid or expired session")
    await settled(house, 1)
    assert house.village.revoked == [house.village.dids["ann"]]
    assert await rows(house, "select end_reason, credentials from session") == [("signed_out", None)]


async def test_a_grant_that_is_gone_asks_for_a_new_sign_in_by_its_own_name(house: House):
    ann = await house.person("plyrfm/0.1")
    key = await ann.sign_in("ann")
    [(id,)] = await rows(house, "select id from session")
    house.village.grants.clear()
    with pytest.raises(Exception, match="grant_gone"):
        await house.auths[0].pds.call(id, "GET", "com.example.x")
    answer = await ann.ask("GET", "/auth/me", headers=bearer(key), server=house.urls[1])
    assert detail(answer) == (401, "session_expired")


async def test_a_refresh_that_was_lost_asks_a_person_to_sign_in(own_pages: House):
    ann = await own_pages.person()
    await ann.sign_in_here("ann")
    await rows(own_pages, "update session set ended_at = now(), end_reason = 'refresh_lost'")
    assert detail(await ann.ask("GET", "/auth/me")) == (401, "session_expired")
    answer = await ann.ask("GET", "/account")
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?error=session_expired")


async def test_signing_in_anew_ends_what_this_browser_had(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    before = ann.cookies()["session_id"]
    await ann.sign_in("bob")
    assert (await ann.me())["handle"] == "bob.test"
    assert await house.auths[0].sessions.viewer(before) is None


async def test_two_sessions_of_one_account_do_not_touch_each_other(house: House):
    home, work = await house.person(), await house.person()
    await home.sign_in("ann")
    await work.sign_in("ann")
    await work.ask("POST", "/auth/logout")
    assert (await home.me())["handle"] == "ann.test"


async def test_accounts_of_one_browser_are_linked_and_switched(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    url = await ann.wish("/auth/add-account/start", handle="bob.test")
    assert house.village.prompts[-1] == "login"
    back = await ann.go(url, code="bob")
    assert back.headers["Location"].startswith(f"{FRONTEND}/portal?exchange_token=")
    assert back.headers["Location"].endswith("&account_added=true")
    await ann.fetch(back)
    me = await ann.me()
    dids = house.village.dids
    assert me["did"] == dids["bob"]
    assert me["linked_accounts"] == [
        {"did": dids["ann"], "handle": "ann.test", "avatar_url": None},
        {"did": dids["bob"], "handle": "bob.test", "avatar_url": None},
    ]
    key = ann.cookies()["session_id"]
    switched = await ann.ask("POST", "/auth/switch-account", json={"target_did": dids["ann"]})
    assert switched.json["did"] == dids["ann"]
    assert len(switched.json["session_id"]) == 8  # the key itself is for the cookie alone
    assert (await ann.me())["did"] == dids["ann"]
    assert await house.auths[0].sessions.viewer(key) == Viewer(dids["bob"])

    refusals = [
        ("/auth/switch-account", {"target_did": dids["ann"]}, (400, "already logged in as this account")),
        (
            "/auth/switch-account",
            {"target_did": dids["eve"]},
            (404, "target account not found in session group"),
        ),
        ("/auth/add-account/start", {"handle": "Bob.test"}, (400, "you're already logged into this account")),
    ]
    for path, body, expected in refusals:
        assert detail(await ann.ask("POST", path, json=body)) == expected
    answer = await ann.ask("POST", "/auth/logout", params={"switch_to": dids["eve"]})
    assert detail(answer) == (400, "target account not in session group")
    answer = await ann.ask("POST", "/auth/logout", params={"switch_to": dids["ann"]})
    assert detail(answer) == (400, "cannot switch to current account")
    answer = await ann.ask("POST", "/auth/logout", params={"switch_to": dids["bob"]})
    assert answer.json == {"switched_to": {"did": dids["bob"], "handle": "bob.test"}}
    me = await ann.me()
    assert (me["did"], me["linked_accounts"]) == (dids["bob"], [])


async def test_without_linked_accounts_there_is_nothing_to_switch_to(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    answer = await ann.ask("POST", "/auth/switch-account", json={"target_did": "did:plc:x"})
    assert detail(answer) == (400, "no linked accounts - use add-account to link accounts first")


async def test_an_account_is_linked_only_in_the_browser_that_asked(house: House):
    """Or whoever gets somebody to consent could act as them from then on."""
    eve, ann = await house.person(), await house.person()
    await eve.sign_in("eve")
    url = await eve.wish("/auth/add-account/start", handle="ann.test")
    assert detail(await ann.go(url, code="ann"))[0] == 401
    assert (await eve.me())["linked_accounts"] == []
    program = await house.person("plyrfm/0.1")
    key = await program.sign_in("eve")
    answer = await program.ask(
        "POST", "/auth/add-account/start", json={"handle": "ann.test"}, headers=bearer(key)
    )
    other = await house.person()
    assert detail(await other.go(answer.json["auth_url"], code="ann"))[0] == 401


async def test_a_link_needs_somebody_who_is_still_signed_in(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    url = await ann.wish("/auth/add-account/start", handle="bob.test")
    await ann.ask("POST", "/auth/logout")
    back = await ann.go(url, code="bob")
    assert back.headers["Location"] == f"{FRONTEND}/portal?error=expired"
    await settled(house, 2)
    assert sorted(house.village.revoked) == sorted(house.village.dids[n] for n in ("ann", "bob"))


async def test_logging_out_ends_every_account_of_the_browser_and_no_other_browser(house: House):
    ann, elsewhere = await house.person(), await house.person()
    await ann.sign_in("ann")
    await elsewhere.sign_in("bob")
    await ann.fetch(await ann.go(await ann.wish("/auth/add-account/start", handle="bob.test"), code="bob"))
    answer = await ann.ask("POST", "/auth/logout-all")
    assert answer.json == {"message": "all accounts logged out"}
    assert (await elsewhere.me())["handle"] == "bob.test"
    assert len(await rows(house, "select id from session where ended_at is null")) == 1


async def test_logging_out_everywhere_spares_developer_tokens(house: House):
    ann, elsewhere = await house.person(), await house.person()
    await ann.sign_in("ann")
    await elsewhere.sign_in("ann")
    token = await ann.fetch(await ann.go(await ann.wish("/auth/developer-token/start"), code="ann"))
    await ann.ask("POST", "/auth/logout-all", params={"everywhere": "true"})
    assert (await elsewhere.ask("GET", "/auth/me")).status == 401
    assert (await ann.me(headers=bearer(token)))["handle"] == "ann.test"


async def test_a_missing_scope_asks_for_an_upgrade_which_replaces_the_session(house: House):
    ann = await house.person()
    house.village.granted_scope = "atproto repo:fm.plyr.track"
    await ann.sign_in("ann")
    assert detail(await ann.ask("GET", "/auth/me")) == (403, "scope_upgrade_required")
    house.village.granted_scope = "atproto transition:generic"
    url = await ann.wish("/auth/scope-upgrade/start", include_teal=True)
    back = await ann.go(url, code="ann")
    assert back.headers["Location"].startswith(f"{FRONTEND}/settings?exchange_token=")
    assert back.headers["Location"].endswith("&scope_upgraded=true")
    await ann.fetch(back)
    assert (await ann.me())["handle"] == "ann.test"
    reasons = await rows(house, "select end_reason from session where ended_at is not null")
    assert reasons == [("replaced",)]
    noted = await rows(house, "select event from audit_event order by id")
    assert noted == [("signed_in",), ("scope_upgraded",)]


async def test_a_missing_scope_is_allowed_on_our_own_pages(own_pages: House):
    ann = await own_pages.person()
    own_pages.village.granted_scope = "atproto repo:fm.plyr.track"
    await ann.sign_in_here("ann")
    form = 'action="/account/allow"'
    assert form in (await ann.ask("GET", "/account")).body.decode()
    data = {"confirmation": "ann.test", "remove_records": "yes"}
    refused = await ann.ask("POST", "/account/delete", data=data)
    assert refused.status == 403
    assert "plyr may not do that yet." in refused.body.decode()
    asked = await ann.ask("POST", "/account/allow")
    own_pages.village.granted_scope = "atproto transition:generic"
    back = await ann.go(asked.headers["Location"], code="ann")
    assert back.headers["Location"] == "/account?scope_upgraded=true"
    page = (await ann.ask("GET", back.headers["Location"])).body.decode()
    assert "Your server lets plyr do more now." in page
    assert form not in page


async def test_a_session_slides_while_it_is_used_and_the_cookie_with_it(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    answer = await ann.ask("GET", "/auth/me")
    assert "Set-Cookie" not in answer.headers
    await rows(
        house,
        "update session set used_at = now() - interval '2 hours', expires_at = now() + interval '1 day'",
    )
    answer = await ann.ask("GET", "/auth/me")
    assert "Max-Age=1209600" in answer.headers["Set-Cookie"]
    slid = (
        "select expires_at > now() + interval '13 days', used_at > now() - interval '1 minute' from session"
    )
    async with asyncio.timeout(60):
        while await rows(house, slid) != [(True, True)]:
            await asyncio.sleep(0.05)


async def test_a_cookie_slides_whichever_request_began_the_sessions_time_anew(own_pages: House):
    """Or who comes every day is signed out after two weeks, because something else is always asked first."""
    ann = await own_pages.person()
    await ann.sign_in_here("ann")
    assert "Set-Cookie" not in (await ann.ask("GET", "/account")).headers
    await rows(
        own_pages,
        "update session set created_at = now() - interval '2 days', used_at = now() - interval '2 hours'",
    )
    await ann.ask("GET", "/auth/developer-tokens")
    async with asyncio.timeout(60):
        while await rows(own_pages, "select used_at < now() - interval '1 minute' from session") != [
            (False,)
        ]:
            await asyncio.sleep(0.05)
    for path in ("/auth/me", "/account"):
        assert "Max-Age=1209600" in (await ann.ask("GET", path)).headers["Set-Cookie"]


async def test_a_session_that_nobody_used_for_two_weeks_opens_nothing(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    await rows(house, "update session set expires_at = now()")
    assert detail(await ann.ask("GET", "/auth/me")) == (401, "invalid or expired session")
    assert await house.auths[0].sessions.viewer(ann.cookies()["session_id"]) is None


async def test_bodies_that_do_not_fit_are_told_how_the_frontend_expects_it(house: House):
    ann = await house.person()
    answer = await ann.ask("POST", "/auth/exchange", json={"unknown": 1})
    assert (answer.status, answer.json["detail"]) == (
        422,
        [{"type": "missing", "loc": ["body", "exchange_token"], "msg": "Field required", "input": None}],
    )
    answer = await ann.ask("POST", "/auth/exchange", json={"exchange_token": 5})
    assert answer.json["detail"][0]["loc"] == ["body", "exchange_token"]
    assert (await ann.ask("POST", "/auth/exchange", data=b"{")).status == 422
    assert (await ann.ask("POST", "/auth/exchange", data=b"x" * 100_000)).status == 413


async def test_what_servers_fetch_about_us_is_there(house: House):
    ann = await house.person()
    document = (await ann.ask("GET", "/oauth-client-metadata.json")).json
    assert document["token_endpoint_auth_method"] == "none"
    assert document["redirect_uris"] == ["http://127.0.0.1:8000/auth/callback"]
    assert detail(await ann.ask("GET", "/.well-known/jwks.json"))[0] == 404
    keys = ClientKeys([ClientKey.make(), ClientKey.make()])
    house.village.app = web_app("https://plyr.test", "atproto", name="test", keys=keys)
    document = (await ann.ask("GET", "/oauth-client-metadata.json")).json
    assert (document["client_id"], document["token_endpoint_auth_method"], document["jwks_uri"]) == (
        "https://plyr.test/oauth-client-metadata.json",
        "private_key_jwt",
        "https://plyr.test/.well-known/jwks.json",
    )
    published = (await ann.ask("GET", "/.well-known/jwks.json")).json["keys"]
    assert [key["kid"] for key in published] == [key.kid for key in keys.all()]
    assert not any("d" in key for key in published)
    house.village.app = None
    assert detail(await ann.ask("GET", "/oauth-client-metadata.json"))[0] == 404
    assert (await ann.ask("GET", "/auth/pds-options")).json == {"enabled": False, "options": []}


async def test_what_happened_is_in_the_audit_log(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    await ann.go(started.headers["Location"], error="access_denied")
    await ann.ask("POST", "/auth/logout")
    noted = await rows(house, "select event, did, client, detail from audit_event order by id")
    did = house.village.dids["ann"]
    assert noted == [
        ("signed_in", did, "127.0.0.1", {}),
        ("sign_in_failed", None, "127.0.0.1", {"kind": "sign_in", "reason": "denied"}),
        ("signed_out", did, "127.0.0.1", {}),
    ]


async def test_who_is_signed_out_everywhere_on_their_way_back_is_told_so(own_pages: House):
    """The session is over right behind the commit that made it."""
    await rows(
        own_pages,
        """
        create function over_at_once() returns trigger language plpgsql as $$ begin
            update session set ended_at = now(), end_reason = 'signed_out' where id = new.id; return null;
        end $$;
        create constraint trigger over_at_once after insert on session deferrable initially deferred
            for each row execute function over_at_once()
        """,
    )
    ann = await own_pages.person()
    started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
    back = await ann.go(started.headers["Location"], code="ann")
    assert (back.status, back.headers["Location"]) == (303, "/sign-in?error=session_expired")
    assert "session_id" not in ann.cookies()
