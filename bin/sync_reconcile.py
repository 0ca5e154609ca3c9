"""`plyr sync reconcile`: compares what we hold with what the accounts' PDSs say, now."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence

from bin import logs
from bin.settings import Settings
from firehose.hosts import SyncHost
from firehose.identity import IdentityResolver
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from indexer.discover import track
from indexer.reconcile import Checked, Found, Reconciler
from lexicons.syntax import Did, is_did
from storage.postgres import make_pool

PERSON = "a person"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dids",
        nargs="*",
        metavar="DID",
        help="accounts to look at; one that is new is tracked from now on (default: all that we track)",
    )
    parser.add_argument("--quiet", action="store_true", help="only the sums")


def run(args: argparse.Namespace, settings: Settings) -> int:
    if wrong := [text for text in args.dids if not is_did(text)]:
        print(f"plyr: no DID: {wrong[0]}", file=sys.stderr)
        return 2
    if settings.log_level == "info":  # what its log would say, it prints
        logs.configure(settings.log_format, "warning")
    found = asyncio.run(_compared(settings, [Did(text) for text in args.dids], quiet=args.quiet))
    print(summary(found))
    return 1 if found[Found.UNREACHABLE] else 0


async def _compared(settings: Settings, dids: Sequence[Did], *, quiet: bool) -> Counter[Found]:
    assert settings.database_url
    resolvers = [settings.handle_resolver] if settings.handle_resolver else []
    async with (
        make_pool(settings.database_url, max_size=4, name="plyr sync reconcile") as pool,
        GuardedClient(settings.dev_loopback) as client,
    ):
        lanes = Lanes()
        reconciler = Reconciler(
            pool=pool,
            resolver=IdentityResolver(client, settings.plc_url, handle_resolvers=resolvers),
            host=lambda origin: SyncHost(client, origin, lanes),
            tell=_ignore if quiet else _told,
        )
        if not dids:
            return await reconciler.everybody()
        async with pool.connection() as conn, conn.transaction():
            new = await track(conn, dids, PERSON, "a person named it")
        for did in new:
            print(f"{did}  was not tracked, is from now on: its repo is read soon")
        found = await reconciler.named([did for did in dids if did not in new])
        found[Found.UNKNOWN] += len(new)
        return found


def _told(checked: Checked) -> None:
    """One line for whoever is not simply in step."""
    if checked.found is not Found.IN_STEP:
        print(f"{checked.held.did}  {checked.found}: {checked.told}")


def _ignore(checked: Checked) -> None:
    del checked


def summary(found: Counter[Found]) -> str:
    """One line, as `3 repos: 2 in step, 1 behind`."""
    total = found.total()
    parts = [f"{found[kind]:,} {kind}" for kind in Found if found[kind]]
    return f"{total:,} {'repo' if total == 1 else 'repos'}: {', '.join(parts) or 'nothing to compare'}"
