"""Our schemas, published into an account of a real PDS and compared with what is there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bin.settings import APP_PASSWORD, ROOT
from firehose.net import GuardedClient, Response
from firehose.schema_account import ChangedMeanwhile, SchemaAccount
from lexicons.catalog import documents
from lexicons.publication import COLLECTION, record
from lexicons.syntax import Did, Nsid
from tests.devnet.network import Account, Devnet, XrpcFailed

pytestmark = [pytest.mark.devnet]

OURS = documents()
LIKE = Nsid("fm.plyr.like")


@pytest.fixture
async def net() -> AsyncIterator[Devnet]:
    async with Devnet(pds=1) as net:
        yield net


async def plyr(net: Devnet, *arguments: str, secret: str | None = None) -> tuple[int, list[str], list[str]]:
    """Exit code, what it printed, what it complained about."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    network = {
        "PLYR_PLC_URL": net.plc_url,
        "PLYR_HANDLE_RESOLVER": net.control_url,
        "PLYR_DEV_LOOPBACK": "true",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bin.cli",
        "lexicon",
        *arguments,
        cwd=ROOT,
        env=others | network | ({APP_PASSWORD: secret} if secret else {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode().splitlines()


async def app_password(net: Devnet, account: Account) -> str:
    made = await net.call("com.atproto.server.createAppPassword", account, body={"name": "lexicons"})
    return made["password"]


async def test_schemas_are_published_once_and_what_differs_again(net: Devnet, tmp_path: Path) -> None:
    account = await net.account("authority")
    secret = await app_password(net, account)
    file = tmp_path / "secret"
    file.write_text(secret + "\n")

    code, lines, _ = await plyr(net, "check", "--account", account.handle)
    assert (code, len(lines)) == (1, len(OURS) + 1)
    assert lines[0] == "fm.plyr.actor.defs  ours, not published"

    code, lines, _ = await plyr(net, "publish", "--account", account.handle, "--dry-run")
    assert code == 0
    assert (
        f"{len(OURS)} schemas in {account.did} at {net.pds[0].url}: {len(OURS)} to write" in lines[len(OURS)]
    )
    assert await net.list_records(account, COLLECTION) == []

    code, lines, complaints = await plyr(net, "publish", "--account", account.handle, secret="wrong")
    assert (code, len(complaints)) == (1, 1)
    assert "Invalid identifier or password" in complaints[0]
    assert "wrong" not in complaints[0]
    assert await net.list_records(account, COLLECTION) == []

    code, lines, complaints = await plyr(
        net, "publish", "--account", account.handle, "--password-file", str(file)
    )
    assert (code, complaints) == (0, [])
    assert f"{len(OURS)} written, 0 as they were" in lines[len(OURS)]
    assert f'_lexicon.feed.plyr.fm. 3600 IN TXT "did={account.did}"' in lines
    there = {one.uri.rpartition("/")[2]: one.value for one in await net.list_records(account, COLLECTION)}
    assert there == {nsid: record(document) for nsid, document in OURS.items()}

    code, lines, _ = await plyr(net, "check", "--account", account.did)
    assert (code, lines) == (0, [f"{len(OURS)} schemas: 0 differ, 0 changes break somebody"])
    before = await net.last_seq(0)
    code, lines, _ = await plyr(net, "publish", "--account", account.did)  # and no password is asked for
    assert code == 0
    assert lines[0].endswith(f": 0 written, {len(OURS)} as they were")
    assert await net.last_seq(0) == before

    promised = {**OURS[LIKE], "description": "Older prose."}
    await net.put(account, COLLECTION, LIKE, promised)
    code, lines, _ = await plyr(net, "check", "--account", account.did)
    assert (code, lines[0]) == (1, "fm.plyr.like  published otherwise")
    code, lines, _ = await plyr(net, "publish", "--account", account.did, secret=secret)
    assert (code, lines[0]) == (0, "fm.plyr.like  changed")
    assert lines[1].endswith(f": 1 written, {len(OURS) - 1} as they were")


async def test_what_breaks_others_is_written_only_when_asked_to(net: Devnet) -> None:
    account = await net.account("authority")
    secret = await app_password(net, account)
    assert (await plyr(net, "publish", "--account", account.did, secret=secret))[0] == 0
    promised: dict[str, Any] = {
        "lexicon": 1,
        "id": LIKE,
        "defs": {"main": {"type": "record", "key": "any", "record": {"type": "object"}}},
    }
    await net.put(account, COLLECTION, LIKE, promised)
    await net.put(account, COLLECTION, "fm.plyr.gone", {**promised, "id": "fm.plyr.gone"})
    await net.put(account, COLLECTION, "fm.plyr.dev.track", {**promised, "id": "fm.plyr.dev.track"})

    code, lines, _ = await plyr(net, "check", "--account", account.did)
    assert code == 1
    assert lines[0] == "fm.plyr.gone  published, not ours"
    assert "  breaks main: records were named by any, are by tid" in lines
    assert not any("fm.plyr.dev" in line for line in lines)

    code, lines, complaints = await plyr(net, "publish", "--account", account.did, secret=secret)
    assert (code, len(complaints)) == (1, 1)
    assert "nothing was written" in complaints[0]
    assert (await net.list_records(account, COLLECTION))[0].value != record(OURS[LIKE])

    code, lines, _ = await plyr(net, "publish", "--account", account.did, "--breaking", secret=secret)
    assert code == 0
    assert "published, not ours, and left alone: fm.plyr.gone" in lines
    there = {one.uri.rpartition("/")[2]: one.value for one in await net.list_records(account, COLLECTION)}
    assert there[LIKE] == record(OURS[LIKE])
    assert "fm.plyr.gone" in there


async def test_who_cannot_be_found_or_asked_is_one_line(net: Devnet) -> None:
    account = await net.account("authority")
    code, lines, complaints = await plyr(net, "publish", "--account", "nobody.test", secret="x")
    assert (code, lines, len(complaints)) == (1, [], 1)
    assert "nobody.test leads to no account" in complaints[0]
    code, lines, complaints = await plyr(net, "publish", "--account", account.did)
    assert (code, lines, len(complaints)) == (1, [], 1)
    assert "--password-file" in complaints[0]
    await net.stop_pds(0)
    for command in ("publish", "check"):
        code, lines, complaints = await plyr(net, command, "--account", account.did)
        assert (code, lines, len(complaints)) == (1, [], 1)
        assert f"{net.pds[0].url} does not answer" in complaints[0]


class Overheard(GuardedClient):
    """A client that keeps what it was answered."""

    answers: list[bytes]

    async def request(self, *args: Any, **kwargs: Any) -> Response:
        answer = await super().request(*args, **kwargs)
        self.answers = [*getattr(self, "answers", []), answer.body]
        return answer


async def test_a_record_that_changed_meanwhile_stays_and_the_session_is_closed(net: Devnet) -> None:
    owner = await net.account("authority")
    async with Overheard(allow_loopback=True) as client:
        async with SchemaAccount(client, net.pds[0].url, Did(owner.did)) as account:
            assert await account.published() == {}
            await account.sign_in(owner.password)
            await account.put(LIKE, record(OURS[LIKE]), None)
            held = await account.published()
            await net.put(owner, COLLECTION, LIKE, {**OURS[LIKE], "description": "Somebody else's."})
            for stale in (held[LIKE], None):
                with pytest.raises(ChangedMeanwhile):
                    await account.put(LIKE, record(OURS[LIKE]), stale)
            await account.put(LIKE, record(OURS[LIKE]), (await account.published())[LIKE])
        tokens = [
            line.split(b'"refreshJwt":"')[1].split(b'"')[0]
            for line in client.answers
            if b"refreshJwt" in line
        ]
    assert len(tokens) == 1
    mine = Account(owner.did, owner.handle, "", 0, tokens[0].decode())
    with pytest.raises(XrpcFailed, match="revoked"):
        await net.call("com.atproto.server.refreshSession", mine, data=b"")
