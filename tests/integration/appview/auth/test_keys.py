"""`plyr keys`, `plyr token` and `plyr audit`, run beside servers that go on answering."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from appview.auth import kept_keys
from appview.auth.keyring import CannotOpen, KeyFile, KeyRing, new_key
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from tests.conftest import ROOT
from tests.integration.appview.auth.signing import House, bearer, detail, housed
from tests.integration.appview.seed import did_of

FRONTEND = "https://plyr.test"


@pytest.fixture
async def house(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[House]:
    file = tmp_path / "keys" / "encryption.keys"
    async with housed(database, file, catalog, frontend_url=FRONTEND) as house:
        yield house


async def plyr(house: House, *command: str, **environ: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command on this house's database and keys."""
    settings = {
        "PYTHONPATH": str(ROOT),
        "PLYR_DATABASE_URL": house.dsn,
        "PLYR_DATA_DIR": str(house.keys.parent.parent),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bin.cli",
        *command,
        cwd=ROOT,
        env=clean | settings | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


async def test_keys_change_while_servers_run(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    half = await ann.ask("GET", "/auth/start", params={"handle": "bob.test"})
    old = KeyRing(KeyFile(house.keys))
    before, first = house.keys.read_text(), KeyFile(house.keys).read()
    status, out, _ = await plyr(house, "keys", "rotate")
    assert (status, "Sealed 2 secrets anew." in out) == (0, True)
    assert len(KeyFile(house.keys).read()) == 2

    # A flow from before comes back, a session from before is signed out, and its grant is given back.
    await ann.fetch(await ann.go(half.headers["Location"], code="bob"))
    await ann.ask("POST", "/auth/logout")
    async with asyncio.timeout(60):
        while len(house.village.revoked) < 2:
            await asyncio.sleep(0.05)

    program = await house.person("plyrfm/0.1", server=1)
    await program.sign_in("eve")
    status, out, _ = await plyr(house, "keys", "forget")
    assert (status, "Forgot 1 key" in out) == (0, True)
    assert len(KeyFile(house.keys).read()) == 1
    async with await psycopg.AsyncConnection.connect(house.dsn) as conn:
        rows = await conn.execute("select credentials from session where credentials is not null")
        [(sealed,)] = await rows.fetchall()
    only_old = house.keys.parent / "old.keys"
    only_old.write_text(before)
    only_old.chmod(0o600)
    with pytest.raises(CannotOpen):
        KeyRing(KeyFile(only_old)).open(sealed)
    assert b"refresh_token" in old.open(sealed)  # a ring on the file found the new key
    _, out, _ = await plyr(house, "audit", "--limit", "3")
    events = [line.split()[3] for line in out.splitlines()]
    assert events == ["keys_forgotten", "keys_rotated", "signed_in"]
    assert not any(key in out for key in (*first, *KeyFile(house.keys).read()))


async def test_keys_are_listed_by_name_and_use(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    await plyr(house, "keys", "rotate")
    status, out, _ = await plyr(house, "keys", "list")
    keys = KeyFile(house.keys).read()
    assert status == 0
    assert not any(key in out for key in keys)
    ring = KeyRing(KeyFile(house.keys))
    assert f"{ring.names[0]}  seals 1" in out
    assert f"{ring.names[1]}  seals 0" in out
    house.keys.unlink()
    status, out, _ = await plyr(house, "keys", "list")
    assert (status, "none of them opens 1" in out) == (1, True)


async def test_given_keys_seal_anew_with_the_first(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    [old] = KeyFile(house.keys).read()
    status, new, _ = await plyr(house, "keys", "new")
    new = new.strip()
    status, out, _ = await plyr(house, "keys", "rotate", PLYR_ENCRYPTION_KEYS=f"{new},{old}")
    assert (status, "Sealed 1 secret anew." in out) == (0, True)
    status, _, err = await plyr(house, "keys", "rotate", PLYR_ENCRYPTION_KEYS=new_key())
    assert (status, "no key opens 1" in err) == (1, True)
    status, _, err = await plyr(house, "keys", "list", PLYR_ENCRYPTION_KEYS="not-a-key")
    assert status == 2
    assert "not-a-key" not in err


async def test_a_minted_token_reads_as_somebody_and_acts_for_nobody(house: House):
    did = did_of(4711)
    status, key, _ = await plyr(house, "token", "mint", "--did", did, "--hours", "1", "--name", "ci")
    assert status == 0
    program = await house.person("plyrfm/0.1", server=1)
    me = await program.me(headers=bearer(key.strip()))
    assert (me["did"], me["handle"]) == (did, "handle.invalid")
    assert await house.auths[0].sessions.viewer(key.strip()) == Viewer(did)
    answer = await program.ask("POST", "/auth/developer-token/start", json={}, headers=bearer(key.strip()))
    assert detail(answer)[0] == 400
    # Nor by what the person granted to others: that is not touched.
    ann, program = await house.person(), await house.person("plyrfm/0.1")
    await ann.sign_in("ann")
    status, minted, _ = await plyr(house, "token", "mint", "--did", house.village.dids["ann"])
    for method, path, body in (
        ("DELETE", "/account/", {"confirmation": house.village.dids["ann"], "delete_atproto_records": True}),
        ("DELETE", "/account/", {"confirmation": house.village.dids["ann"]}),
        ("POST", "/auth/logout-all?everywhere=true", {}),
        ("DELETE", f"/auth/developer-tokens/{key[:8]}", {}),
    ):
        answer = await program.ask(method, path, json=body, headers=bearer(minted.strip()))
        assert detail(answer) == (403, "this token cannot act for its account")
    assert ((await ann.me())["handle"], house.village.revoked) == ("ann.test", [])
    assert (await program.ask("POST", "/auth/logout", headers=bearer(key.strip()))).status == 200
    assert (await program.ask("GET", "/auth/me", headers=bearer(key.strip()))).status == 401

    status, out, _ = await plyr(house, "audit", did)
    lines = out.strip().splitlines()
    assert (status, len(lines)) == (0, 2)
    assert "signed_out" in lines[0]
    assert "token_minted" in lines[1]
    assert "from operator" in lines[1]
    assert "name=ci" in lines[1]


@pytest.mark.parametrize(
    "arguments", [["--did", "ann.test"], ["--did", "did:plc:short"], [], ["--did", did_of(1), "--hours", "0"]]
)
async def test_a_token_for_nobody_is_not_minted(house: House, arguments: list[str]):
    status, out, err = await plyr(house, "token", "mint", *arguments)
    assert (status, out) == (2, "")
    assert len(err.strip().splitlines()) == 1


async def test_a_new_client_key_is_published_before_it_signs(house: House):
    ring = KeyRing(KeyFile(house.keys))
    async with await psycopg.AsyncConnection.connect(house.dsn, autocommit=True) as conn:
        first, again = await kept_keys.load(conn, ring), await kept_keys.load(conn, ring)
        assert first.signing.kid == again.signing.kid
        status, out, _ = await plyr(house, "keys", "rotate", "--client")
        assert (status, out.startswith("Made ")) == (0, True)
        both = await kept_keys.load(conn, ring)
        assert both.signing.kid == first.signing.kid
        assert len(both.jwks()["keys"]) == 2
        await conn.execute("update client_key set created_at = created_at - interval '1 hour'")
        later = await kept_keys.load(conn, ring)
        assert later.signing.kid != first.signing.kid
        assert later.find(first.signing.kid) is not None


async def test_of_several_that_start_at_once_one_makes_the_clients_key(house: House):
    async def load() -> str:
        async with await psycopg.AsyncConnection.connect(house.dsn, autocommit=True) as conn:
            return (await kept_keys.load(conn, KeyRing(KeyFile(house.keys)))).signing.kid

    assert len(set(await asyncio.gather(*(load() for _ in range(6))))) == 1
