"""An account moves from one PDS to another, as its owner's tools do it (/guides/account-migration).

`copied` makes it known on the new PDS, with its records and blobs; `pointed` has its DID document name
that; after `activated` the new PDS speaks for it, and after `left` the old one says that it is deactivated.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

from tests.devnet.network import Account, Devnet

MAIL_S = 10


async def copied(net: Devnet, account: Account, pds: int) -> Account:
    """The same account on another PDS, deactivated there; under another handle, since domains are a PDS's."""
    described = await net.call("com.atproto.server.describeServer", pds=pds)
    ticket = await net.call(
        "com.atproto.server.getServiceAuth",
        account,
        params={"aud": described["did"], "lxm": "com.atproto.server.createAccount"},
    )
    name = account.handle.partition(".")[0]
    made = await net.call(
        "com.atproto.server.createAccount",
        replace(account, access_jwt=ticket["token"]),
        pds=pds,
        body={
            "did": account.did,
            "handle": name + net.pds[pds].handle_domain,
            "email": f"{name}@devnet.test",
            "password": account.password,
        },
    )
    moved = Account(account.did, made["handle"], account.password, pds, made["accessJwt"])
    car = await net.download("com.atproto.sync.getRepo", account, params={"did": account.did})
    await net.call("com.atproto.repo.importRepo", moved, data=car, mime="application/vnd.ipld.car")
    listed = await net.call("com.atproto.sync.listBlobs", account, params={"did": account.did})
    for cid in listed["cids"]:
        blob = await net.download(
            "com.atproto.sync.getBlob", account, params={"did": account.did, "cid": cid}
        )
        await net.upload_blob(moved, blob, "application/octet-stream")
    missing = await net.call("com.atproto.repo.listMissingBlobs", moved)
    assert missing["blobs"] == []
    return moved


async def pointed(net: Devnet, before: Account, after: Account) -> None:
    """The old PDS signs what the new one recommends, and the new one sends it to the directory."""
    wanted = await net.call("com.atproto.identity.getRecommendedDidCredentials", after)
    sent = len(await net.mail())
    await net.call("com.atproto.identity.requestPlcOperationSignature", before, data=b"")
    token = await _token(net, sent)
    signed = await net.call("com.atproto.identity.signPlcOperation", before, body={"token": token, **wanted})
    await net.call("com.atproto.identity.submitPlcOperation", after, body={"operation": signed["operation"]})


async def activated(net: Devnet, after: Account) -> None:
    await net.call("com.atproto.server.activateAccount", after, data=b"")


async def left(net: Devnet, before: Account) -> None:
    await net.call("com.atproto.server.deactivateAccount", before, body={})


async def _token(net: Devnet, sent: int) -> str:
    """What the newest e-mail says that the owner has to type."""
    async with asyncio.timeout(MAIL_S):
        while len(mails := await net.mail()) <= sent:
            await asyncio.sleep(0.1)
    text = str(mails[-1])
    found = re.search(r"\b[A-Z2-7]{5}-[A-Z2-7]{5}\b", text)
    assert found is not None, text
    return found.group()
