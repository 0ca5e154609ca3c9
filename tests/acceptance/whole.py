"""All of plyr beside a devnet of two PDSs, as tests of its wholeness start it and compare it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from storage import outbox
from storage.outbox import Entry
from tests.acceptance.service import Answers, Program, cursors, until, web
from tests.devnet.compare import differences, indexed_counts, indexed_records, listed_records, recount
from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid
from tests.devnet.relay import DevnetRelay

NS = "fm.plyr"
TRACK, LIKE, POST = f"{NS}.track", f"{NS}.like", "app.bsky.feed.post"
PATIENCE_S = 60
DATE = "2026-03-01T12:00:00.000Z"

# Somebody still has something to ask, to fetch or to compare.
UNSETTLED: LiteralString = """
    select count(*) from repo
    where account_due is not null or identity_due <= now() or resync_due is not null
        or (active and state <> 'active')"""


@dataclass
class Whole:
    """A plyr that reads the PDSs themselves if there is no `relay`; `ingest` may be stopped and started."""

    net: Devnet
    dsn: str
    answers: Answers
    ingest: Program
    sync: Program
    environ: dict[str, str]
    folder: Path
    relay: DevnetRelay | None

    async def ask(self, query: LiteralString, *params: object) -> list[Any]:
        """The rows of a query; of one column, its values."""
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            rows = await (await conn.execute(query, params)).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    async def told(self) -> list[Entry]:
        """All that was decided, as the outbox's readers hear it."""
        async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
            return [entry for batch in await outbox.after(conn, 0, rows=10_000) for entry in batch.entries]

    async def caught_up(self) -> None:
        """Returns once all that its sources have passed on is applied."""
        if self.relay is not None:
            await self.relay.read_all()
            newest = {self.relay.source: self.relay.seq}
        else:
            newest = {pds.source: await self.net.last_seq(pds.index) for pds in self.net.pds}

        async def reached() -> bool:
            assert self.ingest.running, self.ingest.output()
            seen = await cursors(self.dsn)
            return all(seen.get(url, 0) >= seq for url, seq in newest.items())

        await until(reached, PATIENCE_S, f"the cursors to reach {newest}")

    async def settled(self) -> None:
        """Returns once all that was said is applied, and nobody has anything left to ask."""
        await self.caught_up()

        async def quiet() -> bool:
            assert self.ingest.running, self.ingest.output()
            assert self.sync.running, self.sync.output()
            return await self.ask(UNSETTLED) == [0]

        try:
            await until(quiet, PATIENCE_S, "the index to settle")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.story()}") from None

    async def is_right(self, accounts: Sequence[Account]) -> None:
        """The index holds and shows what these accounts' PDSs list, counts it so, and nothing else."""
        listed = await listed_records(self.net, accounts, NS)
        expected = {uri: (record.cid, True) for uri, record in listed.items()}
        titles = sorted(r.value["title"] for r in listed.values() if r.collection == TRACK)
        counts = recount(listed.values(), NS)
        lines: list[str] = []

        async def equal() -> bool:
            async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
                lines[:] = differences(await indexed_records(conn), expected)
                lines.extend(differences(await indexed_counts(conn), counts))
            if (shown := await self.titles()) != titles:
                lines.append(f"shown: {shown} | {titles}")
            return not lines

        try:
            await until(equal, PATIENCE_S, "the index to be right (index | network)")
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *lines, await self.story()])) from None

    async def titles(self) -> list[str]:
        """The tracks that everybody sees."""
        latest = await self.answers.all(f"{NS}.feed.getLatest", "tracks")
        return sorted(view["record"]["title"] for view in latest)

    async def shows(self, *titles: str) -> None:
        async def there() -> bool:
            return await self.titles() == sorted(titles)

        try:
            await until(there, PATIENCE_S, f"the tracks to be {sorted(titles)}")
        except AssertionError as error:
            raise AssertionError(f"{error}, they are {await self.titles()}\n{await self.story()}") from None

    async def became(self, query: LiteralString, *params: object, rows: list[Any]) -> None:
        async def so() -> bool:
            return await self.ask(query, *params) == rows

        try:
            await until(so, PATIENCE_S, f"{query} of {params} to be {rows}")
        except AssertionError as error:
            now = await self.ask(query, *params)
            raise AssertionError(f"{error}, it is {now}\n{await self.story()}") from None

    async def story(self) -> str:
        """Every decision, and where the repos stand: for whoever has to find out what went wrong."""
        told = await self.ask(
            "select concat_ws(' ', at::time(0), right(did, 6), kind, outcome, '|', reason, '|', source, seq)"
            " from decision order by id"
        )
        repos = await self.ask(
            "select concat_ws(' ', right(did, 6), handle, pds, state, rev, 'active', active, status, 'due',"
            " account_due, identity_due, resync_due, 'error', resync_error, 'checked', checked_at,"
            " 'gaps', gaps) from repo order by id"
        )
        return "\n".join([*told, *repos])


@asynccontextmanager
async def opened(
    net: Devnet, database: str, folder: Path, relay: DevnetRelay | None = None, **settings: str
) -> AsyncIterator[Whole]:
    """Without a relay it reads the PDSs themselves. `settings` are environment variables."""
    folder.mkdir(exist_ok=True)
    environ = net.service_settings() | {
        "PLYR_DATABASE_URL": database,
        "PLYR_DATA_DIR": str(folder),
        "PLYR_REWIND_EVENTS": "0",
        "PLYR_DISCOVERY_HOSTS": ",".join(pds.url for pds in net.pds),
    }
    if relay is not None:
        environ["PLYR_SOURCES"] = relay.source
    environ |= settings
    async with (
        web(environ, folder / "web.log") as answers,
        Program("ingest", environ, folder / "ingest.log") as ingest,
        Program("sync run", environ, folder / "sync.log") as sync,
    ):
        yield Whole(net, database, answers, ingest, sync, environ, folder, relay)


async def each(wholes: Sequence[Whole], wait: Callable[[Whole], Coroutine[Any, Any, None]]) -> None:
    """The same for several plyrs at once."""
    await asyncio.gather(*map(wait, wholes))


async def delete_account(net: Devnet, account: Account, pds: int) -> None:
    """As its PDS's operator."""
    body = {"did": account.did}
    await net.call("com.atproto.admin.deleteAccount", pds=pds, body=body, admin=True)


async def take_down(net: Devnet, account: Account, pds: int, *, applied: bool = True) -> None:
    """As its PDS's operator, or lift it."""
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}
    body = {"subject": subject, "takedown": {"applied": applied, "ref": "a complaint"}}
    await net.call("com.atproto.admin.updateSubjectStatus", pds=pds, body=body, admin=True)


async def sing(
    net: Devnet, account: Account, n: int, title: str, audio: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A track, at the `n`th key of its author: the same key again updates it."""
    record = {"title": title, "artist": "A", "fileType": "wav", "createdAt": DATE}
    sound = {"audioUrl": "https://audio.example.com/a.wav"} if audio is None else {"audioBlob": audio}
    return await net.put(account, TRACK, tid(n), record | sound)


async def like(net: Devnet, account: Account, n: int, subject: dict[str, Any]) -> None:
    reference = {"uri": subject["uri"], "cid": subject["cid"]}
    await net.put(account, LIKE, tid(n), {"subject": reference, "createdAt": DATE})


async def silence(net: Devnet, account: Account, n: int) -> None:
    await net.delete(account, TRACK, tid(n))


async def murmur(net: Devnet, pds: int, name: str) -> None:
    """Somebody who is none of our business says something on a PDS."""
    somebody = await net.account(name, pds)
    await net.put(somebody, POST, tid(1), {"text": "hm", "createdAt": DATE})
