"""`plyr labeler publish`: writes the record that declares our labels, where it is missing or differs.

Clients look for it in the repo of the DID that labels are said by. A did:web has a repo only where a PDS
keeps one for it, and our DID document names that PDS.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from appview.moderation import declaration
from bin.lexicon_publish import NoPassword, password
from bin.settings import APP_PASSWORD, Settings
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from firehose.schema_account import PublishFailed, SchemaAccount, locate
from lexicons.catalog import Catalog

HOMELESS = (
    "{did} has no repo: nobody hosts one for a did:web unless a PDS does. So there is nowhere to declare our"
    " labels, and clients that look for labelers by that record do not find us. Labels are said and followed"
    " all the same. To have a repo, make an account under this DID on a PDS, and name that PDS with"
    " PLYR_SERVICE_PDS and PLYR_SERVICE_SIGNING_KEY (docs/labels.md)"
)
NAMELESS = (
    "PLYR_PUBLIC_URL is not set: without it we are {did}, whom nobody elsewhere can look up, and there is"
    " nothing to declare"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"file with an app password of it (default: the variable {APP_PASSWORD}, else you are asked)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the record, ask nobody, and write nothing"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        ours = declaration.record(Catalog.load(settings.namespace).collections, datetime.now(UTC))
        if args.dry_run:
            print(orjson.dumps(ours, option=orjson.OPT_INDENT_2).decode())
        elif settings.public_url is not None and settings.service_pds is not None:
            print(asyncio.run(_publish(args.password_file, settings, ours)))
    except (NoPassword, PublishFailed) as error:
        _warn(str(error))
        return 1
    if settings.public_url is None or settings.service_pds is None:
        why = NAMELESS if settings.public_url is None else HOMELESS
        _warn(why.format(did=settings.service_did))
        return 1
    return 0


async def _publish(file: Path | None, settings: Settings, ours: dict[str, Any]) -> str:
    async with GuardedClient(settings.dev_loopback) as client:
        resolver = IdentityResolver(client, settings.plc_url)
        did, pds = await locate(resolver, settings.service_did)
        where = f"at://{did}/{declaration.COLLECTION}/{declaration.RKEY} at {pds}"
        async with SchemaAccount(client, pds, did, told=_warn) as account:
            before = await account.record(declaration.COLLECTION, declaration.RKEY)
            if before is not None and declaration.is_same(before.value, ours):
                return f"{where} is as it was"
            await account.sign_in(password(file, did))
            await account.put_record(declaration.COLLECTION, declaration.RKEY, ours, before)
    return f"{where} is written"


def _warn(text: str) -> None:
    print(f"plyr: {text}", file=sys.stderr)
