"""A real PDS keeps a repo under our did:web, and that repo declares our labels."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from appview.moderation.declaration import COLLECTION
from bin.settings import APP_PASSWORD, ROOT
from tests.acceptance.service import until, web
from tests.devnet.moving import activated
from tests.devnet.network import Account, Devnet, XrpcFailed
from tests.fakenet.repo import SigningKey
from tests.fakenet.tokens import token
from tests.ports import free_port

pytestmark = [pytest.mark.devnet]

CREATE = "com.atproto.server.createAccount"


async def plyr(environ: Mapping[str, str], *words: str, secret: str | None = None) -> tuple[int, str, str]:
    """Exit code, what it printed, what it complained about."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bin.cli",
        *words,
        cwd=ROOT,
        env=others | dict(environ) | ({APP_PASSWORD: secret} if secret else {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def checked(environ: Mapping[str, str]) -> tuple[str, str]:
    """What the doctor finds of our declaration."""
    _, out, err = await plyr(environ, "doctor", "--json")
    assert out, err
    (found,) = [each for each in json.loads(out)["findings"] if each["subject"] == "labeler"]
    return found["verdict"], found["text"]


async def made(net: Devnet, did: str, key: SigningKey) -> Account:
    """An account under a DID that there is already, as `key` allows; not active yet."""
    described = await net.call("com.atproto.server.describeServer")
    ticket = token(key, iss=did, aud=described["did"], lxm=CREATE)
    handle = f"labels{net.pds[0].handle_domain}"
    body = {"did": did, "handle": handle, "email": "labels@devnet.test", "password": "hunter2-labels"}
    answer = await net.call(CREATE, Account(did, handle, "", 0, ticket), body=body)
    return Account(did, handle, "hunter2-labels", 0, answer["accessJwt"])


async def test_a_did_web_with_a_repo_declares_its_labels_and_one_without_is_told(
    database: str, tmp_path: Path
) -> None:
    port, key = free_port(), SigningKey("labels")
    url, did = f"http://localhost:{port}", f"did:web:localhost%3A{port}"
    async with Devnet(pds=1) as net:
        pds = net.pds[0].url
        homeless = net.service_settings() | {
            "PLYR_DATABASE_URL": database,
            "PLYR_DATA_DIR": str(tmp_path),
            "PLYR_PORT": str(port),
            "PLYR_PUBLIC_URL": url,
        }
        code, _, complaint = await plyr(homeless, "labeler", "publish")
        assert (code, complaint.startswith(f"plyr: {did} has no repo")) == (1, True)

        environ = homeless | {"PLYR_SERVICE_PDS": pds, "PLYR_SERVICE_SIGNING_KEY": key.did_key}
        async with web(environ, tmp_path / "before.log"):
            account = await made(net, did, key)
            wanted = await net.call("com.atproto.identity.getRecommendedDidCredentials", account)
        environ["PLYR_SERVICE_SIGNING_KEY"] = wanted["verificationMethods"]["atproto"]

        async with web(environ, tmp_path / "web.log"):

            async def active() -> bool:
                try:
                    await activated(net, account)
                except XrpcFailed:  # it remembers our document for two seconds
                    return False
                return True

            await until(active, 10, "the account to be activated")
            secret = await net.call("com.atproto.server.createAppPassword", account, body={"name": "labeler"})
            assert await checked(environ) == ("warn", f"{did} declares no labels at {pds}")
            where = f"at://{did}/{COLLECTION}/self at {pds}"
            publish = ("labeler", "publish")
            assert await plyr(environ, *publish, secret=secret["password"]) == (
                0,
                f"{where} is written\n",
                "",
            )
            (record,) = await net.list_records(account, COLLECTION)
            assert "copyright-violation" in record.value["policies"]["labelValues"]
            assert await plyr(environ, *publish) == (0, f"{where} is as it was\n", "")  # and asks nobody
            assert await checked(environ) == ("ok", f"{did} declares our labels at {pds}")
            await net.put(account, COLLECTION, "self", {**record.value, "policies": {"labelValues": []}})
            assert await checked(environ) == ("warn", f"what {did} declares at {pds} is not ours")
            code, _, complaint = await plyr(environ, *publish, secret="wrong")
            assert (code, "Invalid identifier or password" in complaint) == (1, True)
            assert (await plyr(environ, *publish, secret=secret["password"]))[0] == 0
            (again,) = await net.list_records(account, COLLECTION)
            assert again.value["policies"] == record.value["policies"]
