"""`plyr keys list`: the names of the keys, never the keys themselves."""

from __future__ import annotations

import argparse
import asyncio

import psycopg

from appview.auth import reseal
from bin.settings import Settings
from bin.signing_in import key_ring
from storage import client_keys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    del args
    return asyncio.run(_list(settings))


async def _list(settings: Settings) -> int:
    assert settings.database_url
    ring = key_ring(settings)
    where = "PLYR_ENCRYPTION_KEYS" if settings.encryption_keys else str(settings.key_file)
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        counts = await reseal.count_by_key(conn, ring)
        signing = await client_keys.every(conn)
    print(f"Encryption keys, in {where}:")
    for number, name in enumerate(ring.names):
        print(f"  {name}  seals {counts[name]:,}{'  (new things, too)' if number == 0 else ''}")
    if counts[None]:
        print(f"  none of them opens {counts[None]:,}")
    print("Signing keys of the OAuth client, in the database:")
    for key in signing:
        print(f"  {key.kid}  made {key.age_s / 86400:,.1f} days ago")
    if not signing:
        print("  none; one is made where plyr is reached by https")
    return 1 if counts[None] else 0
