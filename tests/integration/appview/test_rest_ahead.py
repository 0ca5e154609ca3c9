"""What somebody is shown is read beside the question whether their key still opens anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psycopg
import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.test_rest_questions import Full, full
from tests.integration.appview.uploads.studio import bearer

TRACK = "/tracks/{}"
LIKED = "/tracks/liked"


@pytest.fixture
async def server(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Full]:
    async with full(database, catalog, tmp_path, 2) as server:
        yield server


async def get(
    server: Full, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    server.counting.asked.clear()
    async with aiohttp.ClientSession() as http:
        url = server.url + path.format(server.values["track_id"])
        async with http.get(url, headers=bearer(server.key) if headers is None else headers) as answer:
            return answer.status, await answer.json()


async def liked(server: Full, headers: dict[str, str] | None = None) -> object:
    status, track = await get(server, TRACK, headers)
    assert status == 200
    return track["is_liked"]


def execute(server: Full, statement: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        assert conn.execute(statement).rowcount == 1  # pyright: ignore[reportArgumentType, reportCallIssue]


async def test_a_key_that_was_shown_before_needs_no_answer_first(server: Full) -> None:
    for headers in (bearer(server.key), {"Cookie": f"session_id={server.key}"}):
        assert await liked(server, headers) is True
        assert server.counting.asked[:2] == ["viewers_holder", "rest_by_id"]
        assert (await get(server, LIKED, headers))[0] == 200
        assert server.counting.asked[:2] == ["viewers_holder", "rest_liked"]


async def test_a_session_that_ends_is_over_at_once(server: Full) -> None:
    assert await liked(server) is True
    execute(server, "update session set ended_at = now(), end_reason = 'logout'")
    assert (await get(server, LIKED))[0] == 401
    assert await liked(server) is False


async def test_a_session_whose_time_is_up_is_over_at_once(server: Full) -> None:
    assert await liked(server) is True
    execute(server, "update session set expires_at = now()")
    assert await liked(server) is False
    assert (await get(server, LIKED))[0] == 401


async def test_nobody_is_shown_what_is_anothers(server: Full) -> None:
    """The key becomes that of somebody who likes the first track alone."""
    assert len((await get(server, LIKED))[1]["tracks"]) == 2  # type: ignore[arg-type]
    execute(server, "update session set did = (select did from repo order by id desc limit 1)")
    assert len((await get(server, LIKED))[1]["tracks"]) == 1  # type: ignore[arg-type]
    assert "viewers_session" in server.counting.asked
    assert len((await get(server, LIKED))[1]["tracks"]) == 1  # type: ignore[arg-type]
    assert "viewers_session" not in server.counting.asked


async def test_two_keys_are_told_apart_before_anything_is_read(server: Full) -> None:
    """Of a cookie and a token the routes have an order, which is not guessed at."""
    both = {"Cookie": f"session_id={server.key}", **bearer("no key")}
    assert await liked(server, both) is False
    assert "viewers_holder" not in server.counting.asked
    assert (await get(server, LIKED, both))[0] == 200


@pytest.mark.parametrize("token", ["x" * 43, "a.b.c", "", "é"])
async def test_a_key_that_opens_nothing_shows_nothing(server: Full, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert await liked(server, headers) is False
    assert (await get(server, LIKED, headers))[0] == 401
