"""`plyr keys forget`: the old encryption keys leave the file, after the last secret that needs them."""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from appview.auth import reseal
from appview.auth.keyring import KeyFile
from bin.keys_rotate import sealed_anew
from bin.settings import Settings
from bin.signing_in import key_ring
from storage import audit
from storage.audit import Event


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    del args
    if settings.encryption_keys:
        print("plyr: the keys are given: take the old ones out of PLYR_ENCRYPTION_KEYS", file=sys.stderr)
        return 1
    return asyncio.run(_forget(settings))


async def _forget(settings: Settings) -> int:
    assert settings.database_url
    ring, file = key_ring(settings), KeyFile(settings.key_file)
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        if await sealed_anew(conn, ring):
            return 1
        left = await reseal.count_by_key(conn, ring)
        if set(left) - {ring.names[0]}:
            print("plyr: old keys are still in use; try again in a minute", file=sys.stderr)
            return 1
        old = ring.names[1:]
        file.write(file.read()[:1])
        await audit.add(conn, Event.KEYS_FORGOTTEN, client="operator", keys=len(old))
    print(f"Forgot {len(old)} key{'' if len(old) == 1 else 's'}: {', '.join(old) or 'there was only one'}.")
    return 0
