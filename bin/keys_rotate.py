"""`plyr keys rotate`: a new encryption key, and everything sealed with it; the old ones still open."""

from __future__ import annotations

import argparse
import asyncio
import sys

import psycopg

from appview.auth import kept_keys, reseal
from appview.auth.keyring import KeyFile, KeyRing, new_key
from appview.moderation import labels as label_keys
from bin.settings import Settings
from bin.signing_in import key_ring
from storage import audit
from storage.audit import Event


def add_arguments(parser: argparse.ArgumentParser) -> None:
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--client",
        action="store_true",
        help="a new signing key of the OAuth client instead; it signs in 10 minutes",
    )
    instead.add_argument(
        "--labels", action="store_true", help="a new signing key of our labels instead; it signs at once"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_rotate(settings, client=args.client, labels=args.labels))


async def _rotate(settings: Settings, *, client: bool, labels: bool) -> int:
    assert settings.database_url
    ring = key_ring(settings)
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        if client:
            kid = await kept_keys.add(conn, ring)
            await audit.add(conn, Event.KEYS_ROTATED, client="operator", key=kid)
            print(
                f"Made {kid}. It is published now and signs in 10 minutes; older keys go on for older grants."
            )
            return 0
        if labels:
            public = await label_keys.rotate(conn, ring)
            await audit.add(conn, Event.KEYS_ROTATED, client="operator", key=public)
            print(f"Made {public}. It signs now; older labels are signed anew when they are read.")
            return 0
        if settings.encryption_keys:
            print(f"The keys are given: sealing everything with the first one, {ring.names[0]}.")
        else:
            file = KeyFile(settings.key_file)
            file.write([new_key(), *file.read()])
            print(f"Made {ring.names[0]}, now the first in {settings.key_file}.")
        return await sealed_anew(conn, ring)


async def sealed_anew(conn: psycopg.AsyncConnection, ring: KeyRing) -> int:
    """Seal everything with the first key, and say how that went."""
    done = await reseal.reseal(conn, ring)
    await audit.add(conn, Event.KEYS_ROTATED, client="operator", key=ring.names[0], sealed=done.count)
    print(f"Sealed {done.count:,} secret{'' if done.count == 1 else 's'} anew.")
    if done.stuck:
        print(f"plyr: no key opens {done.stuck:,} others; they stay as they are", file=sys.stderr)
    return 1 if done.stuck else 0
