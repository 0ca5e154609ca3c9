"""`plyr doctor`: looks at everything that can be amiss, and says what to do about it. Changes nothing.

One line a matter: `ok`, `skip` (it does not apply here), `warn`, `fail`. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import orjson
import psycopg

from bin.checkup import cases, database, disks, keys, labelers, network, scans, tables, work
from bin.checkup.verdict import Check, Finding, Verdict, examine, fail, skipped
from bin.checkup.wishes import wishes
from bin.database import NoDatabase, opened
from bin.settings import Settings
from storage.binaries import EmbeddedFailed
from storage.postgres import Connection

Look = Callable[[Connection], Awaitable[Sequence[Finding]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")


def run(args: argparse.Namespace, settings: Settings) -> int:
    findings = [*wishes(settings), *_looked(settings)]
    failed = sum(each.verdict is Verdict.FAIL for each in findings)
    if args.json:
        told = {"findings": findings, "failed": failed}
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(lines(findings)))
    return 1 if failed else 0


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    for each in findings:
        text = f"{each.verdict:<4}  {each.subject:<9}  {each.text}"
        yield text if each.todo is None else f"{text} → {each.todo}"
    counts = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    yield ""
    yield f"{counts[Verdict.FAIL]} failed, {counts[Verdict.WARN]} to look at, {counts[Verdict.OK]} well."


def _looked(settings: Settings) -> list[Finding]:
    with contextlib.ExitStack() as stack:
        try:
            ready = stack.enter_context(opened(settings, make=False))
        except NoDatabase as error:
            found = [skipped("database", str(error))]
        except EmbeddedFailed as error:
            found = [fail("database", str(error), f"see {settings.data_dir / 'postgres.log'}")]
        else:
            found = _reached(ready)
            if not found:
                checks = [*_of_database(ready), *_others(ready)]
                return network.one_is_enough(examine(checks))
        return network.one_is_enough([*found, *examine(_others(settings))])


def _reached(settings: Settings) -> list[Finding]:
    """Why the database cannot be asked; nothing, where it can."""

    async def look() -> Sequence[Finding]:
        try:
            async with await _connect(settings):
                return []
        except psycopg.OperationalError as error:
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return [fail("database", text, "see that it runs, and PLYR_DATABASE_URL")]

    return examine([Check("database", look)])


async def _connect(settings: Settings) -> Connection:
    assert settings.database_url
    return await psycopg.AsyncConnection.connect(
        settings.database_url, autocommit=True, connect_timeout=10, application_name="plyr doctor"
    )


def _of_database(settings: Settings) -> list[Check]:
    def check(subject: str, look: Look) -> Check:
        async def connected() -> Sequence[Finding]:
            async with await _connect(settings) as conn:
                return await look(conn)

        return Check(subject, connected)

    return [
        check("database", database.reachable),
        check("schema", database.migrated),
        check("clocks", database.on_time),
        check("locks", database.locks),
        check("tables", tables.hot_tables),
        check("keys", partial(keys.keys, settings)),
        check("alarms", lambda conn: work.alarmed(conn, settings)),
        check("images", work.pictures),
        check("scans", partial(scans.scans, settings)),
        check("cases", cases.cases),
        check("labelers", partial(labelers.labelers, settings)),
    ]


def _others(settings: Settings) -> list[Check]:
    return [
        Check("storage", partial(disks.blobs, settings)),
        Check("disk", partial(disks.room, settings)),
        *(Check("source", partial(network.source, url)) for url in settings.sources),
        Check("directory", partial(network.directory, settings.plc_url)),
        Check("dns", partial(network.name, settings)),
        Check("did", partial(network.identity, settings)),
        Check("lexicons", partial(network.schemas, settings)),
        Check("labeler", partial(labelers.declared, settings)),
    ]
