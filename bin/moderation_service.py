"""`plyr moderation-service`: scans and labels for other programs, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from aiohttp import web

from appview.moderation.audd import Audd
from appview.moderation.machine import Machine
from appview.protocol import make_runner
from bin.moderating import policy
from bin.settings import Settings, variable
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.postgres import make_pool

_SHUTDOWN_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, settings: Settings) -> int:
    """It starts without a key, too, and is closed then: whoever watches it sees why."""
    if settings.moderation_key is None:
        print(
            f"plyr: {variable('moderation_key')} is not set: everything but /health is closed",
            file=sys.stderr,
        )
    catalog = Catalog.load(settings.namespace)
    if settings.public_url is None:
        print(
            f"plyr: {variable('public_url')} is not set: no labels, as nobody could look up whose they are",
            file=sys.stderr,
        )
    try:
        asyncio.run(_serve(settings, catalog))
    except OSError as error:
        where = f"{settings.host}:{settings.moderation_port}"
        print(f"plyr: cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings, catalog: Catalog) -> None:
    assert settings.database_url
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key, token = settings.moderation_key, settings.audd_token
    async with (
        make_pool(settings.database_url, max_size=4, name="plyr moderation-service") as pool,
        GuardedClient(settings.dev_loopback) as http,
    ):
        audd = None if token is None else Audd(http, settings.audd_url, token.get_secret_value())
        secret = None if key is None else key.get_secret_value()
        machine = Machine(pool, policy(settings, catalog, for_others=True), audd, secret)
        runner = make_runner(machine.app(), shutdown_timeout_s=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.moderation_port).start()
            print(f"moderating at http://{settings.host}:{runner.addresses[0][1]}", flush=True)
            await stop.wait()
        finally:
            await runner.cleanup()
