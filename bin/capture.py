"""`plyr capture`: records a firehose into a file that `plyr verify` and the tests can read."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bin.view import in_words
from firehose.capture import MAX_FRAME, CaptureWriter
from firehose.events import ErrorFrame
from firehose.frames import BadFrame, decode_frame, seq_of
from firehose.relay import BadSource, Source, SourceKind, SourceStatus, parse_source, stream

_FLUSH_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plyr capture`."""
    parser.add_argument(
        "url", metavar="URL", help="relay or PDS to listen to, as wss://relay1.us-east.bsky.network"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="new file to write")
    parser.add_argument("--frames", type=_positive, metavar="N", help="stop after N frames")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    parser.add_argument("--cursor", type=int, metavar="C", help="start at this seq; without it, now")


def run(args: argparse.Namespace, _settings: object = None) -> int:
    """0 if frames were written, also when stopped by Ctrl-C; 1 if none came; 2 if it cannot start."""
    try:
        source = _firehose(args.url)
        file = args.file.open("xb")
    except BadSource as error:
        print(f"plyr capture: {error}", file=sys.stderr)
        return 2
    except FileExistsError:
        print(f"plyr capture: {args.file} exists already, and is not overwritten", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"plyr capture: cannot write {args.file}: {error.strerror}", file=sys.stderr)
        return 2
    progress = Progress(cursor=args.cursor)
    with CaptureWriter(file) as writer:
        asyncio.run(_record(source, writer, progress, args.frames, args.seconds))
    if progress.frames == 0:
        args.file.unlink()
        print(f"plyr capture: no frame came from {source.url}", file=sys.stderr)
        return 1
    print(
        f"{progress.frames} frames, seq {progress.first_seq} to {progress.last_seq}, "
        f"{progress.bytes:,} bytes received, {args.file.stat().st_size:,} in {args.file}"
    )
    return 0


def _firehose(url: str) -> Source:
    source = parse_source(url)
    if source.kind is not SourceKind.FIREHOSE:
        raise BadSource(f"source is no firehose, and sends no frames to record: {url}")
    return source


@dataclass(slots=True)
class Progress:
    """What was recorded so far. `cursor` is where a new connection starts: it repeats that one frame."""

    cursor: int | None
    frames: int = 0
    bytes: int = 0
    first_seq: int | None = None
    last_seq: int | None = None

    def take(self, raw: bytes) -> bool:
        """True if the frame belongs in the file: a repeated seq after a reconnect does not."""
        try:
            frame = decode_frame(raw)
            seq = None if isinstance(frame, ErrorFrame) else seq_of(frame)
        except BadFrame as error:
            seq = error.seq if error.seq == (self.last_seq or -1) + 1 else None
        if seq is not None:
            if self.last_seq is not None and seq <= self.last_seq:
                return False
            self.first_seq = seq if self.first_seq is None else self.first_seq
            self.last_seq = seq
            self.cursor = seq
        if not 0 < len(raw) <= MAX_FRAME:
            return False
        self.frames += 1
        self.bytes += len(raw)
        return True


async def _record(
    source: Source,
    writer: CaptureWriter,
    progress: Progress,
    max_frames: int | None,
    max_seconds: float | None,
) -> None:
    """Writes frames until there are enough, the time is over, or the person stops it."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    status = SourceStatus(source.url)
    try:
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(_read(source, status, writer, progress, max_frames, stopped.set))
            teller = tasks.create_task(_tell(status, writer, progress))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max_seconds):
                    await stopped.wait()
            reader.cancel()
            teller.cancel()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _read(
    source: Source,
    status: SourceStatus,
    writer: CaptureWriter,
    progress: Progress,
    max_frames: int | None,
    stop: Callable[[], None],
) -> None:
    async with contextlib.aclosing(stream(source, lambda: progress.cursor, status)) as chunks:
        async for chunk in chunks:
            for raw in chunk:
                if progress.take(raw):
                    writer.write(raw)
                if max_frames is not None and progress.frames >= max_frames:
                    stop()
                    return


async def _tell(status: SourceStatus, writer: CaptureWriter, progress: Progress) -> None:
    """Makes what was written safe every second, and tells a person about it."""
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    told: str | None = None
    try:
        while True:
            await asyncio.sleep(_FLUSH_S)
            writer.flush()
            if status.last_error is not None and status.last_error != told:
                told = status.last_error
                clear = "\r\033[K" if terminal else ""
                print(f"{clear}plyr capture: {in_words(told)}; trying again", file=sys.stderr)
            if terminal:
                rate = progress.frames / (time.monotonic() - started)
                line = f"{progress.frames} frames, {progress.bytes:,} bytes, {rate:,.0f}/s"
                print(f"\r\033[K{line}, seq {progress.last_seq}", end="", file=sys.stderr, flush=True)
    finally:
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
