"""`plyr lexicon publish`: writes our schemas and the permission set into the account that publishes them.

Only what differs is written, each record in the place of the one that was compared. What is published and
not ours stays: a schema that somebody reads by cannot be taken back.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bin.settings import APP_PASSWORD, Settings, app_password
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from firehose.schema_account import ChangedMeanwhile, PublishFailed, SchemaAccount, locate
from lexicons.catalog import documents
from lexicons.publication import Compared, Standing, compare, groups, record, within
from lexicons.syntax import Did, Nsid

_WRITTEN = {Standing.MISSING: "new", Standing.DIFFERENT: "changed"}


class NoPassword(Exception):
    """There is no password to sign in with; the text says where one may stand."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", required=True, metavar="HANDLE|DID", help="the account that publishes")
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"file with an app password of it (default: the variable {APP_PASSWORD}, else you are asked)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument(
        "--breaking", action="store_true", help="write also what breaks those who use what is published"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        ours = documents(settings.namespace)
        return asyncio.run(_publish(args, settings, ours))
    except (NoPassword, PublishFailed) as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1


async def _publish(
    args: argparse.Namespace, settings: Settings, ours: Mapping[Nsid, Mapping[str, Any]]
) -> int:
    resolvers = [settings.handle_resolver] if settings.handle_resolver else []
    async with GuardedClient(settings.dev_loopback) as client:
        resolver = IdentityResolver(client, settings.plc_url, handle_resolvers=resolvers)
        did, pds = await locate(resolver, args.account)
        async with SchemaAccount(client, pds, did, told=_warn) as account:
            held = await account.published()
            found = compare(
                ours, {nsid: one.value for nsid, one in held.items() if within(nsid, settings.namespace)}
            )
            due = [one for one in found if one.standing in _WRITTEN]
            if not args.breaking and _breaks(due):
                return 1
            if due and not args.dry_run:
                await account.sign_in(password(args.password_file, did))
            for one in due:
                if not args.dry_run:
                    await _put(account, ours, one, held.get(one.nsid))
                print(_line(one), flush=True)
    print("\n".join(_summary(found, did, pds, written=not args.dry_run)))
    return 0


async def _put(
    account: SchemaAccount, ours: Mapping[Nsid, Mapping[str, Any]], one: Compared, before: Any
) -> None:
    try:
        await account.put(one.nsid, record(ours[one.nsid]), before)
    except ChangedMeanwhile as error:
        raise PublishFailed(
            f"{one.nsid} was written by somebody else a moment ago, run this again ({error})"
        ) from error
    except PublishFailed as error:
        raise PublishFailed(f"{one.nsid} was not written, and what follows it was not: {error}") from error


def password(file: Path | None, did: Did) -> str:
    """From the file, the environment, or whoever sits at the terminal. Raises NoPassword."""
    if file is not None:
        try:
            found = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoPassword(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
        if not found:
            raise NoPassword(f"{file} is empty: it should hold an app password of {did}")
        return found
    if (found := app_password()) is not None:
        return found
    if not sys.stdin.isatty():
        raise NoPassword(f"no app password: name a file with --password-file, or set {APP_PASSWORD}")
    found = getpass.getpass(f"App password of {did}: ").strip()
    if not found:
        raise NoPassword("no app password was given")
    return found


def _breaks(due: list[Compared]) -> bool:
    """Whether something would break; says what."""
    breaking = [one for one in due if one.breaches]
    for one in breaking:
        print(_line(one))
    if breaking:
        names = ", ".join(one.nsid for one in breaking)
        print(
            f"plyr: nothing was written: others still use what {names} promised."
            " Give what is new a new name, or publish with --breaking",
            file=sys.stderr,
        )
    return bool(breaking)


def _line(one: Compared) -> str:
    lines = [f"{one.nsid}  {_WRITTEN[one.standing]}"]
    if one.unreadable:
        lines.append(f"  what was published is no schema: {one.unreadable}")
    lines += [f"  breaks {breach}" for breach in one.breaches]
    return "\n".join(lines)


def _summary(found: list[Compared], did: Did, pds: str, *, written: bool) -> list[str]:
    count = {standing: sum(one.standing is standing for one in found) for standing in Standing}
    due = count[Standing.MISSING] + count[Standing.DIFFERENT]
    verb = "written" if written else "to write"
    lines = [f"{len(found)} schemas in {did} at {pds}: {due} {verb}, {count[Standing.SAME]} as they were"]
    if count[Standing.EXTRA]:
        extra = ", ".join(one.nsid for one in found if one.standing is Standing.EXTRA)
        lines.append(f"published, not ours, and left alone: {extra}")
    ours = [one.nsid for one in found if one.standing is not Standing.EXTRA]
    lines += ["", "In DNS these have to say whose they are:"]
    return lines + dns_lines(ours, did)


def dns_lines(nsids: list[Nsid], did: Did) -> list[str]:
    """The TXT records as a zone file has them."""
    return [f'{name}. 3600 IN TXT "did={did}"' for name in groups(nsids)]


def _warn(text: str) -> None:
    print(f"plyr: {text}", file=sys.stderr)
