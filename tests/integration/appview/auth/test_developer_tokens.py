"""Developer tokens: a grant of their own, shown once, revoked by prefix, never touched by a browser's way
out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from appview.viewer import Viewer
from lexicons.catalog import Catalog
from tests.integration.appview.auth.signing import House, Person, bearer, detail, exchange_token, housed

FRONTEND = "https://plyr.test"


@pytest.fixture
async def house(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[House]:
    async with housed(database, tmp_path / "encryption.keys", catalog, frontend_url=FRONTEND) as house:
        yield house


async def created(person: Person, **body: object) -> str:
    """The key of a new token, as its owner sees it once."""
    back = await person.go(await person.wish("/auth/developer-token/start", **body), code="ann")
    assert back.headers["Location"].startswith(f"{FRONTEND}/portal?exchange_token=")
    assert back.headers["Location"].endswith("&dev_token=true")
    key = await person.fetch(back)
    assert key is not None
    return key


async def listed(person: Person) -> list[dict[str, str | None]]:
    return (await person.ask("GET", "/auth/developer-tokens")).json["tokens"]


async def test_a_token_is_shown_once_and_sets_no_cookie(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    before = ann.cookies()["session_id"]
    back = await ann.go(await ann.wish("/auth/developer-token/start", name="ci"), code="ann")
    key = await ann.fetch(back)
    assert key is not None
    again = await ann.ask("POST", "/auth/exchange", json={"exchange_token": exchange_token(back)})
    assert detail(again) == (401, "invalid, expired, or already used exchange token")
    assert ann.cookies()["session_id"] == before
    [token] = await listed(ann)
    assert (token["session_id"], token["name"]) == (key[:8], "ci")
    assert key not in str(token)
    program = await house.person("plyrfm/0.1", server=1)
    assert (await program.me(headers=bearer(key)))["did"] == house.village.dids["ann"]


@pytest.mark.parametrize(
    ("wished", "days"), [(None, 90), (30, 30), (90, 90), (180, 180), (365, 365), (0, None)]
)
async def test_a_token_lives_as_long_as_it_shall(house: House, wished: int | None, days: int | None):
    ann = await house.person()
    await ann.sign_in("ann")
    await created(ann, expires_in_days=wished)
    [token] = await listed(ann)
    if days is None:
        assert token["expires_at"] is None
        return
    assert token["expires_at"]
    assert token["created_at"]
    life = datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["created_at"])
    assert abs(life - timedelta(days=days)) < timedelta(seconds=5)


async def test_a_life_that_cannot_be_is_refused(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    texts = {
        366: "expires_in_days cannot exceed 365 (use 0 for no expiration)",
        -1: "expires_in_days cannot be negative (use 0 for no expiration)",
    }
    for days, text in texts.items():
        answer = await ann.ask("POST", "/auth/developer-token/start", json={"expires_in_days": days})
        assert detail(answer) == (400, text)
    for name in ("x" * 101, "a\0b"):
        answer = await ann.ask("POST", "/auth/developer-token/start", json={"name": name})
        assert answer.status == 422
    answer = await ann.ask("POST", "/auth/developer-token/start", json={"expires_in_days": "soon"})
    assert answer.status == 422


async def test_a_token_is_revoked_by_its_first_characters(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    one, two = await created(ann), await created(ann)
    assert detail(await ann.ask("DELETE", f"/auth/developer-tokens/{'-' * 8}")) == (404, "token not found")
    answer = await ann.ask("DELETE", f"/auth/developer-tokens/{one[:8]}")
    assert answer.json == {"message": "token revoked successfully"}
    assert [token["session_id"] for token in await listed(ann)] == [two[:8]]
    assert await house.auths[1].sessions.viewer(one) is None
    assert await house.auths[1].sessions.viewer(two) == Viewer(house.village.dids["ann"])
    await ann.ask("DELETE", f"/auth/developer-tokens/{two}")
    assert await listed(ann) == []


async def test_an_ambiguous_prefix_revokes_nothing(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    await created(ann)
    await created(ann)
    async with await psycopg.AsyncConnection.connect(house.dsn) as conn:
        await conn.execute(
            "update session set prefix = 'AB' || right(id::text, 1) || 'DEFGH' where kind = 'token'"
        )
    answer = await ann.ask("DELETE", "/auth/developer-tokens/AB")
    assert detail(answer) == (400, "ambiguous prefix - provide more characters")
    assert len(await listed(ann)) == 2


async def test_a_prefix_is_no_pattern(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    await created(ann)
    for pattern in ("%25", "_", "%5F%5F%5F"):
        assert detail(await ann.ask("DELETE", f"/auth/developer-tokens/{pattern}"))[0] == 404


async def test_nobody_sees_or_revokes_the_tokens_of_others(house: House):
    ann, bob = await house.person(), await house.person()
    await ann.sign_in("ann")
    await bob.sign_in("bob")
    key = await created(ann)
    assert await listed(bob) == []
    assert detail(await bob.ask("DELETE", f"/auth/developer-tokens/{key[:8]}"))[0] == 404


async def test_a_browsers_way_out_never_touches_tokens(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    key = await created(ann)
    await ann.ask("POST", "/auth/logout")
    assert (await ann.me(headers=bearer(key)))["handle"] == "ann.test"
    assert len(house.village.grants) + len(house.village.revoked) == 2


async def test_a_token_flow_is_finished_by_whoever_began_it(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    url = await ann.wish("/auth/developer-token/start")
    answer = await ann.go(url, code="bob")
    assert detail(answer) == (403, "developer token flow was started by a different user")
    url = await ann.wish("/auth/scope-upgrade/start")
    answer = await ann.go(url, code="bob")
    assert detail(answer) == (403, "scope upgrade flow was started by a different user")
    page = await ann.ask("GET", "/auth/callback", params={"state": "x"}, headers={"Accept": "text/html"})
    assert page.headers["Location"] == f"{FRONTEND}/login?error=unknown_state"
    assert await listed(ann) == []


async def test_a_program_may_begin_a_token_that_its_owner_finishes_in_a_browser(house: House):
    program, ann = await house.person("plyrfm/0.1"), await house.person()
    key = await program.sign_in("ann")
    answer = await program.ask("POST", "/auth/developer-token/start", json={}, headers=bearer(key))
    back = await ann.go(answer.json["auth_url"], code="ann")
    body = {"exchange_token": exchange_token(back)}
    fetched = await ann.ask("POST", "/auth/exchange", json=body)
    assert "Set-Cookie" not in fetched.headers
    assert (await program.me(headers=bearer(fetched.json["session_id"])))["handle"] == "ann.test"


async def test_nobody_is_shown_the_token_of_somebody_else_as_theirs(
    database: str, tmp_path: Path, catalog: Catalog
):
    """Whoever believes it uploads for Eve from then on."""
    async with housed(database, tmp_path / "encryption.keys", catalog, frontend_url=None) as house:
        people = {name: await house.person() for name in ("ann", "eve")}
        for name, person in people.items():
            started = await person.ask("GET", "/auth/start", params={"handle": f"{name}.test"})
            await person.go(started.headers["Location"], code=name)
        for name, person in people.items():
            wish = await person.wish("/auth/developer-token/start", name="a gift")
            back = await person.go(wish, code=name)
            page = (await people["ann"].ask("GET", back.headers["Location"])).body
            assert (b'id="token"' in page, b"Make a new one." in page) == (name == "ann", name == "eve")


async def test_a_token_that_ran_out_is_not_listed_and_opens_nothing(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    key = await created(ann, expires_in_days=30)
    async with await psycopg.AsyncConnection.connect(house.dsn) as conn:
        await conn.execute("update session set expires_at = now() where kind = 'token'")
    assert await listed(ann) == []
    assert await house.auths[1].sessions.viewer(key) is None
