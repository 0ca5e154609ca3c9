"""`plyr archive sql STATEMENT`: one question to the archive, answered as a table, JSON lines or CSV."""

from __future__ import annotations

import argparse
import asyncio
import sys

import duckdb
import psycopg

from bin.settings import Settings
from storage import archive, segment
from storage.question import Refused, answer
from storage.segment import BrokenSegment, Segment

EXAMPLE = "from event limit 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "statement", nargs="?", help=f'what to ask, as "{EXAMPLE}"; without it: read from standard input'
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_const", dest="shape", const="json", help="one object a line")
    shape.add_argument("--csv", action="store_const", dest="shape", const="csv", help="with a line of names")
    parser.add_argument(
        "--rows", type=int, default=200, help="of a table show at most so many (default: 200)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    if args.statement is None and sys.stdin.isatty():
        print("plyr: the statement, then Ctrl-D:", file=sys.stderr)
    statement = args.statement if args.statement is not None else sys.stdin.read()
    try:
        segments = asyncio.run(_segments(settings))
        if not segments:
            print("plyr: no event is sealed yet; plyr archive seal does it now", file=sys.stderr)
        files = [settings.archive_folder / one.path for one in segments]
        with segment.connect(threads=2) as db:
            for text in answer(db, files, statement, shape=args.shape or "table", rows=args.rows):
                sys.stdout.write(text)
    except (Refused, BrokenSegment) as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    except duckdb.Error as error:  # before the statement's turn comes: a file cannot be read
        reason = str(error).strip().splitlines()[0]
        print(f"plyr: {reason}; plyr archive status --check tells more", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has seen enough
        return 0
    return 0


async def _segments(settings: Settings) -> list[Segment]:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await archive.segments(conn)
