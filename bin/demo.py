"""`plyr demo`: a small real network on this machine, artists and listeners in it, and plyr reading it.

Everybody in it is invented; all else is real: accounts, signed repos, uploaded audio, written
through the PDSs' own XRPC and read back from their firehoses. Nothing is kept: the network and
the database are gone when it stops.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from bin.cli import main
from bin.settings import ROOT, Settings, environment
from bin.status import end_with_parent
from tests.devnet.cast import CAST, Written, write_everything
from tests.devnet.install import InstallFailed, find_tools
from tests.devnet.network import Devnet, DevnetFailed

PDSS = 2
VISIBLE_S = 30
STOP_S = 8
LISTENING = re.compile(r"^listening on (http://\S+?),? ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, help="port of the web server; 0 takes a free one [8000]")


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        find_tools(os.environ)
        return asyncio.run(_demo(args, settings))
    except (InstallFailed, DevnetFailed) as failure:
        print(f"plyr: {failure}", file=sys.stderr)
        return 1


async def _demo(args: argparse.Namespace, settings: Settings) -> int:
    work = asyncio.create_task(_show(settings, settings.port if args.port is None else args.port))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        print("stopped; the network and all that was on it are gone", flush=True)
        return 0


async def _show(settings: Settings, port: int) -> int:
    """Until `up` ends, which it does when it cannot start, or until it is cancelled."""
    print("starting a network on this machine: a PLC directory and two PDSs", flush=True)
    async with Devnet(pds=PDSS, alone=True) as net:
        written = await write_everything(net, CAST, settings.namespace)
        print(
            f"{len(written.accounts)} people wrote {len(written.songs)} tracks, {len(written.lists)} lists,"
            f" {sum(len(p.likes) for p in CAST)} likes and {sum(len(p.says) for p in CAST)} comments",
            flush=True,
        )
        with _data_folder() as folder:
            mine = {"data_dir": folder, "port": port, "database_url": None, "public_url": None}
            variables = environment(settings.model_copy(update=mine)) | net.service_settings()
            async with _up(variables) as process:
                return await _tell(process, written, settings.namespace, folder)


async def _tell(process: asyncio.subprocess.Process, written: Written, namespace: str, folder: Path) -> int:
    """Passes on what `up` says; once it listens and shows the tracks, says what to try."""
    assert process.stdout is not None
    hints: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as tasks:
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            print(text, flush=True)
            found = LISTENING.match(text + " ")
            if found and hints is None:
                hints = tasks.create_task(_hint(found[1], written, namespace, folder))
        if hints is not None:
            hints.cancel()
    return await process.wait()


async def _hint(origin: str, written: Written, namespace: str, folder: Path) -> None:
    if await _visible(f"{origin}/xrpc/{namespace}.feed.getLatest", len(written.songs)):
        print("\n".join(["", *suggestions(origin, written, namespace, folder), ""]), flush=True)
    else:
        print(f"plyr: the tracks did not show up within {VISIBLE_S} s, see {origin}/", file=sys.stderr)


async def _visible(url: str, count: int) -> bool:
    """Whether all tracks are answered, asked until they are or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(VISIBLE_S), aiohttp.ClientSession() as session:
            while True:
                async with session.get(url) as answer:
                    if len((await answer.json()).get("tracks", [])) >= count:
                        return True
                await asyncio.sleep(0.2)
    return False


def suggestions(origin: str, written: Written, namespace: str, folder: Path) -> list[str]:
    """What to open in a browser or with curl, and what to ask the command line, one line each."""
    song = written.songs["Night Tram No. 7"]["uri"]
    artist = written.accounts["maralind"].handle

    def query(name: str, **params: str | int) -> str:
        return f"{origin}/xrpc/{namespace}.{name}" + (f"?{urlencode(params, safe=':/')}" if params else "")

    return [
        "try, in a browser or with curl:",
        f"  the page for people     {origin}/",
        f"  the latest tracks       {query('feed.getLatest', limit=5)}",
        f"  the most liked          {query('feed.getTop', limit=5)}",
        f"  find a track            {query('feed.searchTracks', q='alvaro')}",
        f"  one track               {query('feed.getTrack', uri=song)}",
        f"  who likes it            {query('feed.getLikes', uri=song)}",
        f"  what they say, and when {query('feed.getComments', uri=song)}",
        f"  an artist               {query('actor.getProfile', actor=artist)}",
        f"  her albums              {query('graph.getActorLists', actor=artist, listType='album')}",
        f"  an album                {query('graph.getList', list=written.lists['Low Water'])}",
        f"  what is read, how fresh {query('server.describe')}",
        "and in another terminal:",
        f"  how whole the index is  ./bin/plyr sync status --data-dir {folder}",
        f"  how an account came in  ./bin/plyr sync explain {artist} --data-dir {folder}",
        f"  is it what happened     ./bin/plyr replay --verify --data-dir {folder}",
        "Ctrl-C stops everything.",
    ]


@contextlib.contextmanager
def _data_folder() -> Iterator[Path]:
    """A folder that the database's user can reach, gone at the end with the database."""
    folder = Path(tempfile.mkdtemp(prefix="plyr-demo-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _up(variables: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """`plyr up` as a child in a session of its own: it stops when its stdin closes, at our death too."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bin.demo",
        cwd=ROOT,
        env=others | {"PYTHONPATH": str(ROOT)} | dict(variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _run_up() -> int:
    """The child's side: `plyr up`, ended by the end of stdin."""
    end_with_parent(sys.stdin.fileno(), grace_s=STOP_S)
    return main(["up"])


if __name__ == "__main__":
    sys.exit(_run_up())
