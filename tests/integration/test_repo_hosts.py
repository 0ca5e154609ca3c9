"""What a real PDS says of its repos, and the repos that it gives, as `firehose` takes them."""

from __future__ import annotations

import tempfile

import pytest

from firehose.host_errors import (
    HostRefused,
    HostUnreachable,
    MethodMissing,
    RepoDeactivated,
    RepoNotFound,
    RepoTakendown,
)
from firehose.hosts import SyncHost
from firehose.identity import IdentityResolver
from firehose.keys import PublicKey
from firehose.net import GuardedClient
from firehose.repo import RepoFile
from lexicons.syntax import Did, Nsid
from tests.devnet.network import Account, Devnet

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(600)]

OURS = ["fm.plyr.like", "fm.plyr.track"]


async def write(net: Devnet, account: Account) -> None:
    for n, letter in enumerate("abcdefghijkl"):
        await net.put(account, "fm.plyr.track", f"3k222222222{letter}2", {"title": letter})
        await net.put(account, "com.example.note", letter, {"n": n})
        await net.put(account, "fm.plyr.list", letter, {"n": n})
    await net.delete(account, "fm.plyr.track", "3k222222222e2")


async def test_a_real_pds_gives_repos_and_says_why_not() -> None:
    async with Devnet(pds=1) as net, GuardedClient(allow_loopback=True) as client:
        ada, bob, eve, joe = await net.accounts(["ada", "bob", "eve", "joe"])
        await write(net, ada)
        host = SyncHost(client, net.pds[0].url)
        did = Did(ada.did)

        doc = await IdentityResolver(client, net.plc_url).resolve(did)
        assert doc.signing_key is not None
        with tempfile.TemporaryFile() as file:
            download = await host.get_repo(did, file)
            assert (download.origin, download.size) == (host.origin, file.seek(0, 2))
            with RepoFile.open(file) as repo:
                head = repo.verify(PublicKey.parse(doc.signing_key))
                found = {(f"at://{did}/{path}", str(cid)) for path, cid, _ in repo.records(OURS)}
                assert len(list(repo.records(None, whole=True))) == 35
                assert repo.proof(OURS) is not None
        listed = [record for name in OURS for record in await net.list_records(ada, name)]
        assert found == {(record.uri, record.cid) for record in listed}
        assert len(found) == 11

        status = await host.repo_status(did)
        assert (status.active, status.rev) == (True, head.rev)
        assert await host.latest_commit(did) == (head.cid, head.rev)
        assert set(await host.describe_repo(did)) == {"com.example.note", "fm.plyr.list", "fm.plyr.track"}
        first = await host.list_repos(limit=3)
        rest = await host.list_repos(first.cursor)
        assert {repo.did for repo in first.repos + rest.repos} == {each.did for each in (ada, bob, eve, joe)}
        with pytest.raises(MethodMissing):
            await host.list_repos_by_collection(Nsid("fm.plyr.track"))

        await net.call("com.atproto.server.deactivateAccount", bob, body={})
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": eve.did}
        takedown = {"subject": subject, "takedown": {"applied": True, "ref": "1"}}
        await net.call("com.atproto.admin.updateSubjectStatus", body=takedown, admin=True)
        await net.call("com.atproto.admin.deleteAccount", body={"did": joe.did}, admin=True)
        for account, kind in ((bob, RepoDeactivated), (eve, RepoTakendown), (joe, RepoNotFound)):
            with tempfile.TemporaryFile() as file:
                with pytest.raises(kind) as refused:
                    await host.get_repo(Did(account.did), file)
                assert file.tell() == 0
            with pytest.raises(kind):
                await host.latest_commit(Did(account.did))
            try:
                status = await host.repo_status(Did(account.did))
            except RepoNotFound:
                assert account is joe
            else:
                assert (status.active, status.status) == (False, refused.value.status)

        await net.stop_pds(0)
        with pytest.raises(HostUnreachable) as gone:
            await host.repo_status(did)
        assert not isinstance(gone.value, HostRefused)
