"""The index ends right after accounts moved, went, or were changed behind our back, without another word
of theirs: real PDSs, real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.service import Answers, Program, cursors, until, web
from tests.devnet import moving
from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid

pytestmark = [pytest.mark.devnet]

TRACK = "fm.plyr.track"
POST = "app.bsky.feed.post"
PATIENCE_S = 45


@dataclass
class Whole:
    """A devnet, and all of plyr beside it. `ingest` may be stopped and started."""

    net: Devnet
    dsn: str
    answers: Answers
    ingest: Program
    sync: Program

    async def one(self, query: str, *params: object) -> Any:
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            row = await (await conn.execute(query, params)).fetchone()  # type: ignore[arg-type]
            return None if row is None else row[0] if len(row) == 1 else row

    async def caught_up(self) -> None:
        newest = {pds.source: await self.net.last_seq(pds.index) for pds in self.net.pds}

        async def reached() -> bool:
            assert self.ingest.running, self.ingest.output()
            seen = await cursors(self.dsn)
            return all(seen.get(url, 0) >= seq for url, seq in newest.items())

        await until(reached, PATIENCE_S, f"the cursors to reach {newest}")

    async def titles(self) -> list[str]:
        """What everybody sees."""
        latest = await self.answers.all("fm.plyr.feed.getLatest", "tracks")
        return sorted(view["record"]["title"] for view in latest)

    async def shows(self, *titles: str) -> None:
        wanted = sorted(titles)
        shown: list[str] = []

        async def there() -> bool:
            nonlocal shown
            assert self.sync.running, self.sync.output()
            shown = await self.titles()
            return shown == wanted

        try:
            await until(there, PATIENCE_S, f"the tracks to be {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}, they are {shown}\n{await self.story()}") from None

    async def story(self) -> str:
        """Everything that was decided."""
        line = "concat_ws(' ', at::time, kind, outcome, reason)"
        return str(await self.one(f"select string_agg({line}, '\n' order by id) from decision"))

    async def states(self, *expected: str) -> None:
        async def there() -> bool:
            return await self.one("select string_agg(distinct state, ' ') from repo") == " ".join(expected)

        await until(there, PATIENCE_S, f"the repos to be {expected}")

    async def wait_for(self, query: str, did: str, wanted: Any) -> None:
        async def there() -> bool:
            return await self.one(query, did) == wanted

        await until(there, PATIENCE_S, f"{query} to be {wanted}")


@asynccontextmanager
async def opened(database: str, folder: Path) -> AsyncIterator[Whole]:
    async with Devnet(pds=2) as net:
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": database,
            "PLYR_DATA_DIR": str(folder),
            "PLYR_REWIND_EVENTS": "0",
        }
        async with (
            web(environ, folder / "web.log") as answers,
            Program("ingest", environ, folder / "ingest.log") as ingest,
            Program("sync run", environ, folder / "sync.log") as sync,
        ):
            yield Whole(net, database, answers, ingest, sync)


@pytest.fixture
async def whole(database: str, tmp_path: Path) -> AsyncIterator[Whole]:
    async with opened(database, tmp_path) as whole:
        yield whole


async def sing(net: Devnet, account: Account, n: int, title: str) -> None:
    record = {
        "title": title,
        "artist": "A",
        "fileType": "wav",
        "audioUrl": "https://audio.example.com/a.wav",
        "createdAt": "2026-03-01T12:00:00.000Z",
    }
    await net.put(account, TRACK, tid(n), record)


@pytest.mark.parametrize("first", ["the new host", "the old host"])
async def test_c11_a_move_loses_and_repeats_nothing_whichever_host_speaks_first(
    whole: Whole, first: str
) -> None:
    net = whole.net
    before = await net.account("mover")
    await sing(net, before, 1, "One")
    await whole.shows("One")
    after = await moving.copied(net, before, 1)
    if first == "the old host":  # out of sight for a while, as it says
        await moving.pointed(net, before, after)
        await moving.left(net, before)
        await moving.activated(net, after)
    else:
        await moving.pointed(net, before, after)
        await moving.activated(net, after)
        await sing(net, after, 2, "Two")
        await moving.left(net, before)
    await sing(net, after, 3, "Three")
    await whole.caught_up()
    titles = ("One", "Three") if first == "the old host" else ("One", "Three", "Two")
    await whole.shows(*titles)
    await whole.wait_for("select pds from repo where did = %s", after.did, net.pds[1].url)
    await whole.wait_for("select handle from repo where did = %s", after.did, after.handle)
    await whole.states("active")
    await whole.shows(*titles)  # and stays so, now that everything was asked
    assert await whole.one("select active, status from repo") == (True, None)
    assert await whole.one("select count(*) from repo") == 1


@pytest.mark.parametrize("heard", ["while it happens", "later"])
async def test_a_deleted_account_is_gone_though_its_host_forgets_its_events(whole: Whole, heard: str) -> None:
    net = whole.net
    artist, other = await net.account("artist"), await net.account("fan", pds=1)
    await sing(net, artist, 1, "Gone")
    await sing(net, other, 1, "Stays")
    await whole.shows("Gone", "Stays")
    if heard == "later":
        await whole.ingest.stop()
    await net.call("com.atproto.admin.deleteAccount", pds=0, body={"did": artist.did}, admin=True)
    if heard == "later":
        await whole.ingest.start()
    await whole.shows("Stays")
    await whole.wait_for(
        "select count(*) from record join repo on id = repo_id where did = %s and cid is not null",
        artist.did,
        0,
    )
    assert await whole.one("select status from repo where did = %s", artist.did) == "deleted"


async def test_what_a_host_takes_down_is_out_of_sight_until_it_gives_it_back(whole: Whole) -> None:
    net = whole.net
    artist = await net.account("artist")
    await sing(net, artist, 1, "Disputed")
    await whole.shows("Disputed")
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": artist.did}
    for applied, titles in ((True, ()), (False, ("Disputed",))):
        await net.call(
            "com.atproto.admin.updateSubjectStatus",
            pds=0,
            body={"subject": subject, "takedown": {"applied": applied, "ref": "1"}},
            admin=True,
        )
        await whole.shows(*titles)
    assert await whole.one("select count(*) from record where cid is not null") == 1


async def test_a07_what_was_written_and_deleted_while_the_stream_forgot_it_is_found(whole: Whole) -> None:
    net = whole.net
    artist = await net.account("artist")
    await sing(net, artist, 1, "One")
    await sing(net, artist, 2, "Two")
    await whole.shows("One", "Two")
    await whole.states("active")
    await whole.ingest.stop()
    await net.delete(artist, TRACK, tid(1))
    await sing(net, artist, 3, "Three")
    await net.limit_firehose(0, backfillMs=1)
    stranger = await net.account("stranger")
    await net.put(stranger, POST, tid(9), {"text": "hi", "createdAt": "2026-03-01T12:00:00.000Z"})
    await whole.ingest.start()
    await whole.shows("Three", "Two")
    await whole.states("active")
    assert "desynchronized" in await whole.story()


async def test_an_outage_of_a_host_loses_nothing(whole: Whole) -> None:
    net = whole.net
    artist = await net.account("artist")
    await sing(net, artist, 1, "One")
    await whole.shows("One")
    await net.stop_pds(0)
    other = await net.account("fan", pds=1)
    await sing(net, other, 1, "Meanwhile")
    await whole.shows("Meanwhile", "One")  # cannot tell is not gone
    await net.start_pds(0)
    await sing(net, artist, 2, "Two")
    await whole.shows("Meanwhile", "One", "Two")
    await whole.states("active")


async def test_whoever_wrote_before_we_came_is_found(database: str, tmp_path: Path) -> None:
    async with Devnet(pds=2) as net:
        artist = await net.account("artist")
        await sing(net, artist, 1, "Early")
        await sing(net, artist, 2, "Withdrawn")
        await net.delete(artist, TRACK, tid(2))
        environ = net.service_settings() | {
            "PLYR_DATABASE_URL": database,
            "PLYR_DATA_DIR": str(tmp_path),
            "PLYR_START": "live",
        }
        async with (
            web(environ, tmp_path / "web.log") as answers,
            Program("ingest", environ, tmp_path / "ingest.log") as ingest,
            Program("sync run", environ, tmp_path / "sync.log") as sync,
        ):
            whole = Whole(net, database, answers, ingest, sync)
            await whole.shows("Early")
            await whole.states("active")
