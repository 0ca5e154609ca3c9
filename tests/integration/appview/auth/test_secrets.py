"""No secret, token, key or private DPoP key is in a dump of the database, in a log or on an error page.

Everything that hands out or keeps a secret is done once, while each actual value is written down; then they
are searched for, as they are and in the forms that bytes have in a dump.
"""

from __future__ import annotations

import base64
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import structlog

from appview.auth import kept_keys
from appview.auth.keyring import KeyFile, KeyRing
from appview.auth.metadata import web_app
from bin import logs
from lexicons.catalog import Catalog
from tests.integration.appview.auth.leaks import dump, found
from tests.integration.appview.auth.signing import SCOPE, Person, bearer, exchange_token, housed
from tests.integration.appview.service import Answer


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The log as a process writes it, down to the last debug line."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    log = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", log)
        logs.configure("json", "debug")
    yield log
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


class Watched(Person):
    """Writes down every key that it is given, and every page that it sees."""

    keys: list[str]
    pages: list[str]

    async def ask(self, method: str, path: str, *, server: str | None = None, **options: Any) -> Answer:
        answer = await super().ask(method, path, server=server, **options)
        self.keys += [value for name, value in self.cookies().items() if name in ("session_id", "plyr_flow")]
        if answer.status >= 400:
            self.pages.append(f"{answer.status} {dict(answer.headers)} {answer.body.decode()}")
        return answer


async def test_no_secret_is_in_the_database_a_log_or_an_error_page(
    database: str,
    tmp_path: Path,
    catalog: Catalog,
    written: io.StringIO,
):
    keys: list[str] = []
    pages: list[str] = []
    file = tmp_path / "encryption.keys"
    async with housed(database, file, catalog, frontend_url="https://plyr.test") as house:

        def watched(agent: str) -> Watched:
            person = Watched(house.urls[0], agent)
            person.keys, person.pages = keys, pages
            house.stack.push_async_callback(person.http.close)
            return person

        ann, program = watched("Mozilla/5.0"), watched("plyrfm/0.1")
        # An exchange token that is never used, and a flow that never comes back, stay in the database.
        left = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
        waiting = await ann.go(left.headers["Location"], code="ann")
        keys.append(exchange_token(waiting))
        await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
        await ann.sign_in("ann")
        back = await ann.go(await ann.wish("/auth/developer-token/start", name="ci"), code="ann")
        keys.append(exchange_token(back))
        token = await ann.fetch(back)
        assert token is not None
        back = await ann.go(await ann.wish("/auth/add-account/start", handle="bob.test"), code="bob")
        keys.append(exchange_token(back))
        await ann.fetch(back)
        await ann.ask("POST", "/auth/switch-account", json={"target_did": house.village.dids["ann"]})
        back = await ann.go(await ann.wish("/auth/scope-upgrade/start"), code="ann")
        await ann.fetch(back)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
            clients = await kept_keys.load(conn, KeyRing(KeyFile(file)))
        keys += [orjson.loads(each.secret)["d"] for each in clients.all()]
        house.village.app = web_app("https://plyr.test", SCOPE, name="test", keys=clients)
        for path in ("/.well-known/jwks.json", "/oauth-client-metadata.json"):
            ann.pages.append((await ann.ask("GET", path)).body.decode())
        key = await program.sign_in("eve")
        assert key is not None
        keys += [token, key]
        await program.me(headers=bearer(key))

        # What goes wrong, with secrets in the request.
        for secret in (token, key):
            await ann.ask("POST", "/auth/exchange", json={"exchange_token": secret})
            await ann.ask("POST", "/auth/exchange", json={"exchange_token": [secret]})
            await ann.ask("POST", "/auth/exchange", data=f"{{{secret}".encode())
            await ann.ask("GET", "/auth/callback", params={"state": secret, "code": secret, "iss": secret})
            await ann.ask("GET", "/auth/start", params={"handle": "nobody.test"}, headers=bearer(secret))
            await ann.ask("DELETE", f"/auth/developer-tokens/{secret[:-1]}x", headers=bearer(secret))
            for wrong in (f"{secret}.{secret}.{secret}", f"{secret}, Bearer {secret}"):
                await ann.ask("GET", "/xrpc/fm.plyr.feed.getLatest", headers=bearer(wrong))
            await ann.ask(
                "GET", f"/nowhere/{secret}", headers={"X-Admin-Token": secret, "Accept": "text/html"}
            )
        started = await ann.ask("GET", "/auth/start", params={"handle": "ann.test"})
        await ann.go(started.headers["Location"], error="access_denied", error_description=token)
        await ann.go(started.headers["Location"], code="ann")
        denied = [row for row in pages if "nobody of that name" in row]
        assert denied

        stored = dump(database)
        secrets = {*keys, *house.village.secrets, *KeyFile(file).read()}
        assert len(secrets) > 40

        # And what nobody expected: a table that is not there.
        async with await psycopg.AsyncConnection.connect(database) as conn:
            await conn.execute("alter table exchange_token rename to gone")
        await ann.ask("POST", "/auth/exchange", json={"exchange_token": token})
        assert any(page.startswith("500 ") for page in pages)
    log = written.getvalue()
    assert "request failed" in log
    assert "UndefinedTable" in log

    assert stored.count("session: ") >= 5
    for place, text in (("database", stored), ("log", log), ("pages", "\n".join(pages))):
        assert found(secrets, text) == [], place


async def test_the_search_finds_what_is_there(database: str):
    secret = "a-secret-that-lies-in-the-open-0123456789"
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await conn.execute(
            "insert into oauth_flow (state_hash, kind, secret, expires_at) values ('x', 'token', %s, now())",
            [secret.encode()],
        )
    assert found([secret], dump(database)) == [secret]
    for before in ("", "x", "xy"):
        encoded = base64.b64encode(f"{before}{secret} and more".encode()).decode()
        assert found([secret], encoded) == [secret]
    assert found([secret], "something else") == []
