"""The index ends right after accounts went, or were changed while nobody told us, without another word of
theirs: real PDSs, real processes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import psycopg
import pytest
from websockets.asyncio.client import connect

from firehose.events import Frame
from firehose.frames import decode_frame
from storage.outbox import Entry, Kind
from tests.acceptance.service import Program, cursors, until
from tests.acceptance.whole import (
    LIKE,
    Whole,
    delete_account,
    each,
    like,
    murmur,
    opened,
    silence,
    sing,
    take_down,
)
from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid
from tests.devnet.relay import ENDPOINT, DevnetRelay

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(300)]

OLDEST, OUTDATED = 0, "OutdatedCursor"


async def test_accounts_that_went_or_were_taken_down_are_out_of_sight(database: str, tmp_path: Path) -> None:
    async with Devnet(pds=2) as net, opened(net, database, tmp_path) as whole:
        fan, here, absent, disputed = [
            await net.account(name, pds=name == "fan") for name in ("fan", "here", "absent", "disputed")
        ]
        theirs = await sing(net, fan, 1, "The fan's own")
        for n, account in enumerate((here, absent, disputed)):
            await like(net, fan, 10 + n, await sing(net, account, 1, account.handle))
            await like(net, account, 2, theirs)
        await whole.settled()
        await whole.is_right([fan, here, absent, disputed])

        await delete_account(net, here, 0)
        await take_down(net, disputed, 0)
        await whole.shows("The fan's own", absent.handle)
        assert await indexed(whole, disputed) == 2  # out of sight, and kept
        await whole.ingest.stop()
        await delete_account(net, absent, 0)
        await take_down(net, disputed, 0, applied=False)
        assert {kind for kind, _ in await said_of(net, 0, [here, absent])} == {"#account"}
        await whole.ingest.start()

        await whole.settled()
        await whole.is_right([fan, disputed])
        for account in (here, absent):
            await whole.became("select status from repo where did = %s", account.did, rows=["deleted"])
            assert await indexed(whole, account) == 0
        assert await whole.ask("select count(*) from decision where reason like '%%says takendown%%'") == [1]


async def test_an_outage_of_a_host_hides_and_loses_nothing_and_what_was_before_us_is_found(
    database: str, tmp_path: Path
) -> None:
    async with Devnet(pds=2) as net:
        early, late = await net.account("early"), await net.account("late", pds=1)
        await sing(net, early, 1, "Early")
        await sing(net, early, 2, "Withdrawn")
        await silence(net, early, 2)
        async with opened(net, database, tmp_path, PLYR_START="live") as whole:
            await whole.shows("Early")
            await sing(net, early, 3, "Live")
            await sing(net, late, 2, "Live, too")
            await whole.settled()
            await net.stop_pds(0)
            await sing(net, late, 1, "Meanwhile")
            await whole.shows("Early", "Live", "Live, too", "Meanwhile")  # who cannot be asked is not gone
            await net.start_pds(0)
            await silence(net, early, 3)
            await whole.settled()
            await whole.is_right([early, late])
            assert [await indexed(whole, each) for each in (early, late)] == [1, 2]


async def test_what_happened_while_events_were_lost_is_found(
    database: str, another_database: str, third_database: str, tmp_path: Path
) -> None:
    """Three plyrs are stopped for a while. Of one the hosts have kept nothing from the cursor on, one's
    relay lost all and counts from 1 again, and of one somebody forgot the cursor."""
    async with (
        Devnet(pds=2) as net,
        DevnetRelay(net) as relay,
        opened(net, database, tmp_path / "outdated") as outdated,
        opened(net, another_database, tmp_path / "back", relay) as back,
        opened(net, third_database, tmp_path / "forgotten") as forgotten,
    ):
        all_three = (outdated, back, forgotten)
        artist, fan, leaver = [
            await net.account(name, pds=name == "fan") for name in ("artist", "fan", "leaver")
        ]
        songs = [await sing(net, artist, n, f"Song {n}") for n in (1, 2, 3)]
        for n, song in enumerate(songs):
            await like(net, fan, n, song)
        await sing(net, leaver, 1, "Not for long")
        await each(all_three, Whole.settled)
        await each(all_three, lambda whole: whole.is_right([artist, fan, leaver]))
        for whole in all_three:
            await whole.ingest.stop()
        seen = await cursors(database)

        await silence(net, artist, 1)
        changed = await sing(net, artist, 2, "Song 2, again")
        made = await sing(net, artist, 4, "Song 4")
        await net.delete(fan, LIKE, tid(2))
        await delete_account(net, leaver, 0)
        newcomer = await net.account("newcomer", pds=1)
        debut = await sing(net, newcomer, 1, "Debut")
        await relay.read_all()
        relay.begin_anew()
        for pds in net.pds:
            await net.limit_firehose(pds.index, backfillMs=1)
            assert await first_word(pds.source, seen[pds.source]) == OUTDATED
            await murmur(net, pds.index, "stranger")  # something that is not too old
        await outdated.ingest.start()
        await back.ingest.start()
        again = Program(
            "ingest --forget-cursor",
            forgotten.environ | {"PLYR_START": "live"},
            forgotten.folder / "again.log",
        )
        async with again:
            forgotten.ingest = again
            await expect_begun_anew(forgotten)
            living = [artist, fan, newcomer]
            await each(all_three, lambda whole: expect_missed(whole, leaver))
            await each(all_three, lambda whole: whole.is_right(living))
            await each(all_three, Whole.settled)
            await each(all_three, lambda whole: whole.is_right(living))
            assert relay.server.ahead >= 1
            for whole in all_three:
                versions = {e.cid: e for e in await whole.told() if e.kind is Kind.RECORD}
                for record in (changed, made, debut):
                    assert brought_by_a_read(versions[record["cid"]]), versions[record["cid"]]


async def expect_begun_anew(whole: Whole) -> None:
    """The stored cursors go, and there are others as soon as its sources have said something."""
    passers = count()

    async def gone() -> bool:
        return await cursors(whole.dsn) == {}

    async def followed() -> bool:
        for pds in whole.net.pds:
            await murmur(whole.net, pds.index, f"passer{next(passers)}")
        return len(await cursors(whole.dsn)) == len(whole.net.pds)

    await until(gone, 20, "the cursors to be forgotten")
    await until(followed, 20, "the sources to be followed again")


async def expect_missed(whole: Whole, account: Account) -> None:
    """Its PDS does not know it, and nobody has said why: out of sight, and gone once that has stayed so."""
    await whole.became("select status from repo where did = %s", account.did, rows=["not found"])
    assert await indexed(whole, account) == 1
    async with await psycopg.AsyncConnection.connect(whole.dsn) as conn:  # as when its time has passed
        await conn.execute("update repo set account_due = now() where did = %s", (account.did,))
    await whole.became("select status from repo where did = %s", account.did, rows=["deleted"])


async def indexed(whole: Whole, account: Account) -> int:
    rows = await whole.ask(
        "select count(*) from record join repo on id = repo_id where did = %s and cid is not null",
        account.did,
    )
    return rows[0]


async def said_of(net: Devnet, pds: int, accounts: list[Account]) -> list[tuple[str, str]]:
    """What a PDS still has to say of these accounts, to whoever begins at its oldest event."""
    dids = {account.did for account in accounts}
    newest, found = await net.last_seq(pds), list[tuple[str, str]]()
    async with connect(f"{net.pds[pds].source}{ENDPOINT}?cursor={OLDEST}", max_size=None) as stream:
        async for raw in stream:
            frame = decode_frame(raw if isinstance(raw, bytes) else raw.encode())
            assert isinstance(frame, Frame)
            if (did := frame.body.get("repo", frame.body.get("did"))) in dids:
                found.append((frame.type, str(did)))
            if frame.body.get("seq") == newest:
                break
    return found


async def first_word(source: str, cursor: int) -> str | None:
    """The name of the notice with which a source begins at this cursor."""
    async with connect(f"{source}{ENDPOINT}?cursor={cursor}", max_size=None) as stream:
        raw = await stream.recv(decode=False)
    frame = decode_frame(raw)
    return frame.body.get("name") if isinstance(frame, Frame) else None


def brought_by_a_read(entry: Entry) -> bool:
    """Not by a stream: its source is the host whose repo was read."""
    return entry.source.startswith("http")
