"""An account moves from one real PDS to another, and whatever either says, in whatever order, its index
is what the new one lists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from storage.outbox import Kind
from tests.acceptance.whole import NS, Whole, delete_account, each, like, opened, silence, sing, take_down
from tests.devnet import moving
from tests.devnet.network import Account, Devnet
from tests.devnet.relay import DevnetRelay
from tests.devnet.sound import melody

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(300)]

OLD, NEW = 0, 1
CLIP = melody([440])


async def test_c11_a_move_ends_right_whichever_host_is_heard_first(
    database: str, another_database: str, tmp_path: Path
) -> None:
    """One plyr hears the hosts themselves, the other through a relay that holds back the new one's words on
    ana and the old one's on ben until all else is said and settled."""
    async with (
        Devnet(pds=2) as net,
        DevnetRelay(net) as relay,
        opened(net, database, tmp_path / "hosts") as by_hosts,
        opened(net, another_database, tmp_path / "relay", relay) as by_relay,
    ):
        both = (by_hosts, by_relay)
        fan = await net.account("fan", pds=NEW)
        theirs = await sing(net, fan, 1, "The fan's own")
        ana, ben = [await settle_in(net, name, fan, theirs) for name in ("ana", "ben")]
        await each(both, Whole.settled)
        relay.hold(NEW, ana.did)
        relay.hold(OLD, ben.did)
        moved = [await move(net, account) for account in (ana, ben)]
        await each(both, Whole.settled)
        assert relay.release() > 0
        await by_relay.caught_up()
        for account in (ana, ben):
            await delete_account(net, account, OLD)
        await each(both, Whole.settled)
        for account in moved:
            expect_heard(relay, OLD, account, {"#commit": 2, "#account": 3})
            expect_heard(relay, NEW, account, {"#commit": 2, "#account": 1, "#identity": 1, "#sync": 1})
        for whole in both:
            await whole.is_right([fan, *moved])
            await expect_sound(whole, moved)
            for account in moved:
                await expect_nothing_twice(whole, account)
                await whole.became(
                    "select pds, handle, active, status, state from repo where did = %s",
                    account.did,
                    rows=[(net.pds[NEW].url, account.handle, True, None, "active")],
                )


async def settle_in(net: Devnet, name: str, fan: Account, theirs: dict[str, str]) -> Account:
    """Somebody at the old host, with records and a blob, who likes and is liked."""
    account = await net.account(name, pds=OLD)
    track = await sing(net, account, 1, f"{name} before", await net.upload_blob(account, CLIP, "audio/wav"))
    await sing(net, account, 2, f"{name} withdrawn")
    await like(net, account, 3, theirs)
    await like(net, fan, 10 + ord(name[0]), track)
    return account


async def move(net: Devnet, before: Account) -> Account:
    """To the new host, and on with its life there; what the old one says of it, says nothing any more."""
    after = await moving.copied(net, before, NEW)
    await moving.pointed(net, before, after)
    await moving.activated(net, after)
    await moving.left(net, before)
    await silence(net, after, 2)
    await sing(net, after, 4, f"{before.handle} after")
    await take_down(net, before, OLD)
    return after


def expect_heard(relay: DevnetRelay, host: int, account: Account, least: dict[str, int]) -> None:
    heard = {kind: relay.said[host, kind, account.did] for kind in least}
    assert all(heard[kind] >= times for kind, times in least.items()), heard


async def expect_nothing_twice(whole: Whole, account: Account) -> None:
    """Each version of each record was told to the outbox's readers once."""
    told = Counter(
        (entry.collection, entry.rkey, entry.cid)
        for entry in await whole.told()
        if entry.kind is Kind.RECORD and entry.did == account.did and entry.cid is not None
    )
    assert told
    assert max(told.values()) == 1, told


async def expect_sound(whole: Whole, accounts: list[Account]) -> None:
    """What was uploaded to the old host is heard from the new one."""
    async with aiohttp.ClientSession() as session:
        for account in accounts:
            tracks = await whole.answers.all(f"{NS}.feed.getActorTracks", "tracks", actor=account.did)
            addresses = [view["audio"]["url"] for view in tracks if "mimeType" in view["audio"]]
            assert len(addresses) == 1
            assert addresses[0].startswith(whole.net.pds[NEW].url)
            async with session.get(addresses[0]) as answer:
                assert await answer.read() == CLIP
