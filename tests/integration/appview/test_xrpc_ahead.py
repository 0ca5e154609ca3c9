"""A page over XRPC is read beside the question whether the session still opens anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import aiohttp
import psycopg
import pytest
import pytest_asyncio

from appview.auth import secret
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage.sessions import Kind
from tests.integration.appview.test_rest_questions import Full, full
from tests.integration.appview.uploads.studio import SCOPE, add_key, bearer

LATEST = "/xrpc/fm.plyr.feed.getLatest"
MINE = "/xrpc/fm.plyr.actor.getPreferences"
NO_TRACK = "/xrpc/fm.plyr.feed.getTrack?uri=at://did:plc:nobody/fm.plyr.track/3jzfcijpj2z2a"
BAD = f"{LATEST}?limit=many"
ASKED = TOGETHER = ["viewers_viewer", "feed_latest"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Session:
    """A session of its own in a world that nothing else changes: whose it is likes both tracks."""

    server: Full
    key: str

    @property
    def asked(self) -> list[list[str]]:
        """What was asked together for the last answer, but for labels, which are asked for by nobody."""
        return [names for names in self.server.counting.exchanges if names[0] in ASKED]

    @property
    def bearer(self) -> dict[str, str]:
        return bearer(self.key)

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"session_id={self.key}"}

    async def get(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and answer, with the rev that came along."""
        self.server.counting.exchanges.clear()
        async with (
            aiohttp.ClientSession() as http,
            http.get(self.server.url + path, headers=headers) as answer,
        ):
            return answer.status, {"rev": answer.headers.get("Atproto-Repo-Rev"), **await answer.json()}

    async def change(self, what: LiteralString) -> None:
        async with await psycopg.AsyncConnection.connect(self.server.dsn, autocommit=True) as conn:
            statement = b"update session set " + what.encode() + b" where token_hash = %s"
            assert (await conn.execute(statement, [secret.hashed(self.key)])).rowcount == 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    shared_database: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Full]:
    folder: Path = tmp_path_factory.mktemp("xrpc-ahead")
    async with full(shared_database, catalog, folder, 2) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def session(server: Full) -> Session:
    did = Did(server.values["did"])
    return Session(server, await add_key(server.dsn, did, scope=SCOPE, granted=True, kind=Kind.TOKEN))


def likes(page: dict[str, Any]) -> list[bool | None]:
    """Of each track whether its viewer likes it; None: it has no viewer."""
    return [None if "viewer" not in track else "like" in track["viewer"] for track in page["tracks"]]


async def test_a_session_that_was_shown_before_needs_no_answer_first(session: Session) -> None:
    known = await session.get(LATEST, session.bearer)
    assert session.asked == [["viewers_viewer"], ["feed_latest"]]
    for headers in (session.bearer, session.cookie):
        assert await session.get(LATEST, headers) == known
        assert session.asked == [TOGETHER]
    assert likes(known[1]) == [True, True]


async def test_a_session_that_ends_is_over_at_once(session: Session) -> None:
    assert likes((await session.get(LATEST, session.bearer))[1]) == [True, True]
    await session.change("ended_at = now(), end_reason = 'logout'")
    status, refused = await session.get(LATEST, session.bearer)
    assert (status, refused["error"]) == (401, "InvalidToken")


async def test_a_cookie_whose_session_is_over_is_nobodys(session: Session) -> None:
    assert likes((await session.get(LATEST, session.cookie))[1]) == [True, True]
    await session.change("expires_at = now()")
    status, page = await session.get(LATEST, session.cookie)
    assert (status, likes(page), page["rev"]) == (200, [None, None], None)


@pytest.mark.parametrize("path", [BAD, NO_TRACK, MINE])
async def test_whose_session_is_over_is_told_that_and_nothing_else(session: Session, path: str) -> None:
    """Not what else is wrong with the request, nor what would have been said to who they were."""
    for _ in range(2):
        assert (await session.get(path, session.bearer))[1].get("error") != "InvalidToken"
    await session.change("ended_at = now(), end_reason = 'logout'")
    assert (await session.get(path, session.bearer))[1]["error"] == "InvalidToken"


async def test_nobody_is_shown_what_is_anothers(session: Session) -> None:
    """The key becomes that of somebody who likes the first track alone."""
    assert likes((await session.get(LATEST, session.bearer))[1]) == [True, True]
    await session.change("did = (select did from repo order by id desc limit 1)")
    for asked in ([TOGETHER, ["viewers_viewer"], ["feed_latest"]], [TOGETHER]):
        assert sorted(map(bool, likes((await session.get(LATEST, session.bearer))[1]))) == [False, True]
        assert session.asked == asked


async def test_an_hour_later_it_is_written_down_that_a_session_is_in_use(session: Session) -> None:
    await session.get(LATEST, session.bearer)
    await session.change("used_at = now() - interval '2 hours'")
    await session.get(LATEST, session.bearer)
    assert session.asked == [TOGETHER]
    async with await psycopg.AsyncConnection.connect(session.server.dsn, autocommit=True) as conn:
        for _ in range(100):
            found = await conn.execute(
                "select used_at > now() - interval '1 minute' from session where token_hash = %s",
                [secret.hashed(session.key)],
            )
            if await found.fetchone() == (True,):
                return
            await conn.execute("select pg_sleep(0.05)")
    pytest.fail("nobody wrote it down")
