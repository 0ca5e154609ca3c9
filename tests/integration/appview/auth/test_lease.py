"""appview/auth/credentials.py: one refresh at a time, whichever process wants it, and no silent lock-out.

- One process asks the authorization server; whoever else wants the same waits and reads what came of it.
- Once asked, the answer is awaited and saved, whoever stops waiting for it.
- `invalid_grant` is believed after a look whether somebody else was faster.
- Who loses the connection to the database meanwhile has the right to ask all the same.
- Who dies between the server's answer and the save leaves a lease that is taken over at once; the next
  request ends in a clean prompt to sign in.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import psycopg
import pytest
from structlog.testing import capture_logs

from appview.auth.credentials import CredentialStore, NoGrant, NotNow, SessionEnded
from appview.auth.grant import Refusal
from appview.auth.keyring import KeyFile, KeyRing, new_key
from appview.pds import Pds
from storage import audit, sessions
from storage.postgres import Pool, make_pool
from storage.sessions import End, Kind, NewSession
from tests.conftest import ROOT
from tests.integration.appview.auth.grants import DID, NAME, GrantClient, GrantServer, use

pytestmark = pytest.mark.once


@dataclass(frozen=True)
class World:
    server: GrantServer
    pool: Pool
    store: CredentialStore
    pds: Pds
    ring: KeyRing
    keys: Path
    dsn: str

    async def session(self, kind: Kind = Kind.BROWSER) -> int:
        """A session with the server's grant."""
        minted = kind is Kind.MINTED
        async with self.pool.connection() as conn:
            return await sessions.add(
                conn,
                NewSession(
                    kind=kind,
                    did=DID,
                    handle=None,
                    scope="atproto",
                    issuer=None if minted else self.server.url,
                    credentials=None if minted else self.store.sealed(self.server.credentials()),
                    life_s=3600,
                ),
            )

    async def fact(self, statement: str) -> tuple[object, ...]:
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            row = await (await conn.execute(statement.encode())).fetchone()
            assert row is not None
            return row


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    keys = tmp_path / "encryption.keys"
    ring = KeyRing(KeyFile(keys))
    async with (
        GrantServer() as server,
        make_pool(database, max_size=4, name="test") as pool,
        aiohttp.ClientSession() as http,
    ):
        client = GrantClient(http)
        async with CredentialStore(pool, ring, client, lease_s=1) as store:
            yield World(server, pool, store, Pds(store, client), ring, keys, database)


@asynccontextmanager
async def process(world: World, session_id: int, count: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process, ready to make `count` requests at once when it gets a line."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.appview.auth.grants",
        world.dsn,
        str(world.keys),
        str(session_id),
        str(count),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 60) == b"ready\n"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def gone() -> str:
    """The name of a process that has ended."""
    command = "from storage import processes; print(processes.own())"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    return output.decode().strip()


async def outcomes(child: asyncio.subprocess.Process) -> list[str]:
    output, _ = await asyncio.wait_for(child.communicate(b"go\n"), 60)
    return orjson.loads(output)


async def test_fifty_requests_of_three_processes_cause_one_refresh_and_no_failure(world: World) -> None:
    id = await world.session()
    world.server.expired, world.server.delay_s = True, 0.3
    async with process(world, id, 17) as one, process(world, id, 17) as two, process(world, id, 16) as three:
        ended = await asyncio.gather(outcomes(one), outcomes(two), outcomes(three))
    assert [each for list_ in ended for each in list_] == ["200"] * 50
    assert (world.server.refreshes, world.server.replays) == (1, 0)
    assert world.server.used == {"access-0": 0, "access-1": 50}


async def test_a_process_killed_between_answer_and_save_ends_in_a_clean_prompt_to_sign_in(
    world: World,
) -> None:
    id = await world.session()
    world.server.expired = True
    world.server.answer.clear()
    async with process(world, id, 1) as child:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        await asyncio.wait_for(world.server.asked.wait(), 60)  # the server has used up the refresh token
        child.kill()
        await child.wait()
    world.server.answer.set()
    world.server.expired = True
    assert await use(world.pds, id) == "ended: refresh_lost"
    assert await world.fact(f"select end_reason, credentials, lease_until from session where id = {id}") == (
        "refresh_lost",
        None,
        None,
    )
    async with world.pool.connection() as conn:
        [noted] = await audit.listed(conn, limit=10)
    assert (noted.event, noted.did, noted.session) == ("session_ended", DID, id)
    assert await use(world.pds, id) == "ended: refresh_lost"


async def test_a_process_killed_before_it_asked_leaves_a_grant_that_still_works(world: World) -> None:
    id = await world.session()
    world.server.expired = True
    async with world.pool.connection() as conn:
        assert await sessions.lease(conn, id, 0, lease_s=3600)
        await conn.execute("update session set lease_holder = %s", [await gone()])
    async with process(world, id, 10) as other:
        ended = await asyncio.gather(outcomes(other), *(use(world.pds, id) for _ in range(10)))
    assert ended == [["200"] * 10, *["200"] * 10]
    assert (world.server.refreshes, world.server.replays) == (1, 0)


async def test_who_died_where_nobody_sees_it_is_waited_for_as_long_as_the_lease(world: World) -> None:
    id = await world.session()
    world.server.expired = True
    async with world.pool.connection() as conn:
        assert await sessions.lease(conn, id, 0, lease_s=0.5)
        await conn.execute("update session set lease_holder = 'another boot:1:1:1'")
        assert await sessions.lease(conn, id, 0, lease_s=3600) is None
    assert await use(world.pds, id) == "200"
    assert world.server.refreshes == 1


async def test_who_lost_their_connection_in_a_refresh_is_waited_for(world: World) -> None:
    id = await world.session()
    world.server.expired = True
    world.server.answer.clear()
    async with process(world, id, 1) as other:
        ended = asyncio.create_task(outcomes(other))
        await asyncio.wait_for(world.server.asked.wait(), 60)
        async with world.pool.connection() as conn:
            theirs = "datname = current_database() and application_name = %s"
            found = await conn.execute(f"select pid from pg_stat_activity where {theirs}".encode(), [NAME])
            pids = await found.fetchall()
            assert pids
            for (pid,) in pids:
                cut = await conn.execute("select pg_terminate_backend(%s, 60000)", [pid])
                assert await cut.fetchone() == (True,)
            assert await sessions.lease(conn, id, 0, lease_s=3600) is None
        world.server.answer.set()
        assert await ended == ["200"]
    assert await use(world.pds, id) == "200"
    assert (world.server.refreshes, world.server.replays) == (1, 0)


async def left_in_a_refresh(world: World) -> int:
    """A session whose refresh the server was asked for, and has not answered when everybody has left."""
    id = await world.session()
    world.server.expired = True
    world.server.answer.clear()
    asking = asyncio.create_task(use(world.pds, id))
    await asyncio.wait_for(world.server.asked.wait(), 60)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    return id


async def test_once_asked_the_answer_is_saved_though_nobody_waits(world: World) -> None:
    id = await left_in_a_refresh(world)
    world.server.answer.set()
    assert (await world.store.refreshed(id, 0)).version == 1
    assert await use(world.pds, id) == "200"
    assert world.server.refreshes == 1


async def test_a_refresh_that_breaks_is_told_though_nobody_waits(world: World) -> None:
    id = await left_in_a_refresh(world)
    async with world.pool.connection() as conn:
        await conn.execute("alter table session rename to away")
    with capture_logs() as logs:
        world.server.answer.set()
        async with asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.01)
    assert [(each["event"], each["session"]) for each in logs] == [("a refresh broke off", id)]
    assert logs[0]["reason"].startswith("UndefinedTable: ")


async def test_a_refused_refresh_token_is_believed_after_a_look_whether_somebody_was_faster(
    world: World,
) -> None:
    id = await world.session()
    world.server.gone = True
    world.server.answer.clear()
    refreshing = asyncio.create_task(world.store.refreshed(id, 0))
    await asyncio.wait_for(world.server.asked.wait(), 60)
    async with world.pool.connection() as conn:
        # Somebody whose lease had run out saves after all.
        assert await sessions.save(conn, id, 0, world.store.sealed(world.server.credentials()))
    world.server.answer.set()
    assert (await refreshing).version == 1
    assert await world.fact(f"select ended_at from session where id = {id}") == (None,)


async def test_a_grant_that_the_server_does_not_know_ends_the_session(world: World) -> None:
    id = await world.session()
    world.server.gone = True
    assert await use(world.pds, id) == "ended: grant_gone"
    assert await use(world.pds, id) == "ended: grant_gone"


async def test_a_server_that_is_away_changes_nothing(world: World) -> None:
    id = await world.session()
    world.server.expired = world.server.down = True
    with pytest.raises(NotNow) as failed:
        await world.pds.call(id, "GET", "com.example.use")
    assert failed.value.refusal is Refusal.UNREACHABLE
    assert await world.fact(f"select version, lease_until, ended_at from session where id = {id}") == (
        0,
        None,
        None,
    )
    world.server.down = False
    assert await use(world.pds, id) == "200"


async def test_a_session_that_was_ended_elsewhere_is_not_refreshed(world: World) -> None:
    id = await world.session()
    async with world.pool.connection() as conn:
        await sessions.end(conn, [id], End.SIGNED_OUT)
    with pytest.raises(SessionEnded) as ended:
        await world.store.refreshed(id, 0)
    assert ended.value.reason == "signed_out"
    assert world.server.refreshes == 0


async def test_signing_out_during_a_refresh_gives_back_what_was_granted_meanwhile(world: World) -> None:
    id = await world.session()
    world.server.expired = True
    world.server.answer.clear()
    asking = asyncio.create_task(use(world.pds, id))
    await asyncio.wait_for(world.server.asked.wait(), 60)
    async with world.pool.connection() as conn:
        await sessions.end(conn, [id], End.SIGNED_OUT)
    assert await world.store.give_back() == 0  # not while somebody refreshes
    world.server.answer.set()
    await asking
    assert await world.store.give_back() == 1
    assert world.server.revoked == ["refresh-1"]
    assert await world.fact(f"select credentials from session where id = {id}") == (None,)


async def test_a_grant_is_given_back_later_if_its_server_is_away(world: World) -> None:
    id = await world.session()
    async with world.pool.connection() as conn:
        await sessions.end(conn, [id], End.SIGNED_OUT)
    world.server.down = True
    assert await world.store.give_back() == 1
    world.server.down = False
    assert await world.store.give_back() == 0  # it waits for a while
    async with world.pool.connection() as conn:
        await conn.execute("update session set lease_until = now()")
    assert await world.store.give_back() == 1
    assert world.server.revoked == ["refresh-0"]


async def test_what_no_server_wants_back_for_a_day_is_dropped(world: World) -> None:
    id = await world.session()
    async with world.pool.connection() as conn:
        await sessions.end(conn, [id], End.SIGNED_OUT)
        await conn.execute("update session set ended_at = now() - interval '25 hours'")
    world.server.down = True
    assert await world.store.give_back() == 1
    assert await world.fact(f"select credentials from session where id = {id}") == (None,)


async def test_a_minted_session_has_nothing_to_act_with(world: World) -> None:
    id = await world.session(Kind.MINTED)
    with pytest.raises(NoGrant):
        await world.store.read(id)
    with pytest.raises(NoGrant):
        await world.store.refreshed(id, 0)


async def test_credentials_that_no_key_opens_ask_for_a_sign_in_and_stay(world: World) -> None:
    id = await world.session()
    file = KeyFile(world.keys)
    mine = file.read()
    file.write([new_key()])
    assert await use(world.pds, id) == "ended: key_lost"
    file.write(mine)
    assert await use(world.pds, id) == "200"


async def test_a_grant_that_nobody_uses_is_kept_alive(world: World) -> None:
    id = await world.session()
    assert await world.store.keep_alive() == 0
    async with world.pool.connection() as conn:
        await conn.execute("update session set refreshed_at = now() - interval '8 days'")
    assert await world.store.keep_alive() == 1
    assert (await world.store.read(id)).version == 1
    assert await world.store.keep_alive() == 0
