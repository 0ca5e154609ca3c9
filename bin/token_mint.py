"""`plyr token mint`: a key to read as somebody, made on this machine without asking them or their PDS.

For tests and CI. It can do nothing at anybody's PDS: there is no grant behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from appview.auth import secret
from appview.auth.secret import Key
from bin.settings import Settings
from lexicons.syntax import Did, is_atproto_did
from storage import audit, sessions
from storage.audit import Event
from storage.sessions import Kind, NewSession


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--did", required=True, help="the account that it speaks for")
    parser.add_argument("--hours", type=_hours, default=24.0, metavar="N", help="how long it lives [24]")
    parser.add_argument("--name", help="what it is for, for the audit log")


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 8760:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours up to a year")
    return hours


def run(args: argparse.Namespace, settings: Settings) -> int:
    if not is_atproto_did(args.did):
        print(f"plyr: {args.did!r} is no DID of an account, as did:plc:…", file=sys.stderr)
        return 2
    print(asyncio.run(_mint(settings, Did(args.did), args.hours, args.name)))
    return 0


async def _mint(settings: Settings, did: Did, hours: float, name: str | None) -> str:
    assert settings.database_url
    key = Key(secret.fresh())
    new = NewSession(
        kind=Kind.MINTED,
        did=did,
        handle=None,
        scope="",
        issuer=None,
        credentials=None,
        life_s=hours * 3600,
        name=name,
        token_hash=key.digest,
        prefix=key.prefix,
    )
    async with (
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn,
        conn.transaction(),
    ):
        id = await sessions.add(conn, new)
        await audit.add(conn, Event.TOKEN_MINTED, did=did, session=id, client="operator", name=name)
    return key.text
