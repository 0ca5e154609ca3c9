"""`plyr transcoder`: makes MP3, WAV and M4A for others, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from aiohttp import web

from appview.media.failures import NoFfmpeg
from appview.media.ffmpeg import find
from appview.media.transcoder import TranscoderConfig, build_transcoder
from bin.settings import Settings, variable

_SHUTDOWN_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="how many to work on at once, each on all cores [1]"
    )
    parser.add_argument(
        "--max-mb", type=int, default=2048, metavar="N", help="largest file to take, in MiB [2048]"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Exit code 2 where no key is set: without one it would work for everybody."""
    key = settings.transcoder_key.get_secret_value() if settings.transcoder_key else ""
    if not key:
        print(
            f"plyr: set {variable('transcoder_key')}: without a key everybody could use it", file=sys.stderr
        )
        return 2
    config = TranscoderConfig(
        key=key,
        scratch=settings.data_dir / "scratch",
        max_bytes=args.max_mb << 20,
        jobs=args.jobs,
    )
    try:
        find()
        asyncio.run(_serve(config, settings.host, settings.transcoder_port))
    except NoFfmpeg as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{settings.host}:{settings.transcoder_port}"
        print(f"plyr: cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: TranscoderConfig, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        build_transcoder(config), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        print(f"transcoding at http://{host}:{runner.addresses[0][1]}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
