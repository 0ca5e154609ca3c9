"""`plyr lexicon check`: compares our schemas with what is published, or with an older folder of them.

Exit code 1 where they differ, or where ours break who uses the others: for cron and for CI.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bin.settings import Settings
from firehose.dns import Dns, DnsFailed
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from firehose.schema_account import PublishFailed, SchemaAccount, locate
from lexicons.catalog import documents
from lexicons.publication import Compared, Standing, authority, compare, group, groups, within
from lexicons.syntax import Did, Nsid

_TOLD = {
    Standing.MISSING: "ours, not published",
    Standing.EXTRA: "published, not ours",
    Standing.DIFFERENT: "published otherwise",
}
_TOLD_OF_FOLDER = {
    Standing.MISSING: "new",
    Standing.EXTRA: "gone: others may still use it",
    Standing.DIFFERENT: "changed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--account", metavar="HANDLE|DID", help="where to look (default: the accounts that DNS names)"
    )
    where.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="an older version of the folder lexicons/ instead; then only what breaks counts",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        ours = documents(settings.namespace)
        if args.against is not None:
            return _against(args.against, settings.namespace, ours)
        return asyncio.run(_check(args.account, settings, ours))
    except PublishFailed as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1


def _against(folder: Path, namespace: str, ours: Mapping[Nsid, Mapping[str, Any]]) -> int:
    """A new schema breaks nobody, and a change that keeps its promises doesn't either."""
    older = documents(namespace, folder)
    if not older:
        print(f"plyr: no schemas of {namespace} below {folder}", file=sys.stderr)
        return 1
    found = compare(ours, older)
    print("\n".join(_lines(found, _TOLD_OF_FOLDER)))
    return 1 if any(one.breaches or one.standing is Standing.EXTRA for one in found) else 0


async def _check(account: str | None, settings: Settings, ours: Mapping[Nsid, Mapping[str, Any]]) -> int:
    resolvers = [settings.handle_resolver] if settings.handle_resolver else []
    async with GuardedClient(settings.dev_loopback) as client:
        resolver = IdentityResolver(client, settings.plc_url, handle_resolvers=resolvers)
        if account is not None:
            did, pds = await locate(resolver, account)
            held = await _published(client, did, pds, settings.namespace)
            unnamed: list[str] = []
        else:
            named = await authorities(Dns(), groups(ours))
            unnamed = [name for name, did in named.items() if did is None]
            held: dict[Nsid, object] = {}
            for did in sorted({did for did in named.values() if did is not None}):
                _, pds = await locate(resolver, did)
                theirs = await _published(client, did, pds, settings.namespace)
                held |= {nsid: value for nsid, value in theirs.items() if named.get(group(nsid)) == did}
    found = compare(ours, held)
    for name in unnamed:
        print(f"{name}  no TXT record that names one account")
    print("\n".join(_lines(found, _TOLD)))
    return 1 if unnamed or any(one.standing is not Standing.SAME for one in found) else 0


async def authorities(dns: Dns, names: Iterable[str]) -> dict[str, Did | None]:
    """Whose the schemas of each group are, as DNS says. Raises PublishFailed where it cannot be asked."""
    try:
        return {name: authority(await dns.txt(name)) for name in names}
    except DnsFailed as error:
        raise PublishFailed(
            f"cannot ask whose the schemas are, name an account with --account: {error}"
        ) from error


async def _published(client: GuardedClient, did: Did, pds: str, namespace: str) -> dict[Nsid, object]:
    async with SchemaAccount(client, pds, did) as account:
        held = await account.published()
    return {nsid: one.value for nsid, one in held.items() if within(nsid, namespace)}


def _lines(found: list[Compared], told: Mapping[Standing, str]) -> list[str]:
    """What differs, a line each, and what that breaks; then the sum."""
    lines: list[str] = []
    for one in found:
        if one.standing is Standing.SAME:
            continue
        lines.append(f"{one.nsid}  {told[one.standing]}")
        if one.unreadable:
            lines.append(f"  what is published is no schema: {one.unreadable}")
        lines += [f"  breaks {breach}" for breach in one.breaches]
    differ = sum(one.standing is not Standing.SAME for one in found)
    breaking = sum(len(one.breaches) for one in found)
    return [*lines, f"{len(found)} schemas: {differ} differ, {breaking} changes break somebody"]
