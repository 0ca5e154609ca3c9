"""`plyr sync explain`: why a repo or record looks as it does, from the database alone."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime

import psycopg

from bin.settings import Settings
from indexer.explain import explain, explain_record, unknown
from lexicons.syntax import Nsid, Rkey, is_at_uri, is_did, is_handle
from storage import explain as tables
from storage import sync


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", metavar="DID|HANDLE|AT-URI", help="the account or record")
    parser.add_argument(
        "--limit", type=int, default=30, metavar="N", help="how much of what happened to tell (default: 30)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    subject = args.subject.removeprefix("@")
    authority, collection, rkey = subject, "", ""
    if subject.startswith("at://"):
        authority, _, path = subject.removeprefix("at://").partition("/")
        collection, _, rkey = path.partition("/")
    if not (is_did(authority) or is_handle(authority)) or (rkey and not is_at_uri(subject)):
        print(f"plyr: no DID, handle or AT-URI: {subject}", file=sys.stderr)
        return 2
    lines = asyncio.run(_told(settings, authority, collection, rkey, max(1, args.limit)))
    known = lines is not None
    print("\n".join(lines or unknown(authority)))
    return 0 if known else 1


async def _told(
    settings: Settings, authority: str, collection: str, rkey: str, limit: int
) -> list[str] | None:
    assert settings.database_url
    async with (
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn,
        conn.transaction(),  # of one moment
    ):
        await sync.one_view(conn)
        did = await tables.find(conn, authority)
        facts = None if did is None else await tables.facts(conn, did, limit=limit)
        if facts is None:
            return None
        now = datetime.now(UTC)
        if not rkey:
            return explain(facts, now, limit=limit)
        version = await tables.record(conn, facts.account.id, Nsid(collection), Rkey(rkey))
        uri = f"at://{facts.account.did}/{collection}/{rkey}"
        return explain_record(facts, uri, version, now, limit=limit)
