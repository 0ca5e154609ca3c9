"""`plyr sync rejected`: look at events that could not be applied, have them tried again, or drop them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg

from bin.settings import Settings
from firehose.events import ErrorFrame
from firehose.frames import BadFrame
from firehose.jetstream import read_any
from indexer.explain import span
from storage import outbox, rejected
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.rejected import Choice, Kept

BY_HAND = "by hand"
_LONG = 400  # characters of a field that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "show", "retry", "drop"), help="what to do with them")
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="numbers of events, as `list` tells")
    parser.add_argument("--reason", help="all events with this reason")
    parser.add_argument("--did", help="all events of this account")
    parser.add_argument("--all", action="store_true", help="every event there is (retry, drop)")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="how many to list (default: 50)")
    parser.add_argument("--before", type=int, metavar="ID", help="list those that came before this one")
    parser.add_argument("--raw", action="store_true", help="show: only the bytes as they came, to stdout")


def run(args: argparse.Namespace, settings: Settings) -> int:
    choice = Choice(args.ids or None, args.reason, args.did)
    if args.action == "show" and len(args.ids) != 1:
        print("plyr: show takes the ID of one event", file=sys.stderr)
        return 2
    if args.action in ("retry", "drop") and choice == Choice() and not args.all:
        print(f"plyr: say which: {args.action} ID…, --reason, --did or --all", file=sys.stderr)
        return 2
    return asyncio.run(_done(args, settings, choice))


async def _done(args: argparse.Namespace, settings: Settings, choice: Choice) -> int:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        match args.action:
            case "list":
                kept = await rejected.listed(conn, choice, before=args.before, limit=max(1, args.limit))
                print("\n".join(table(kept, await rejected.counts(conn), datetime.now(UTC))))
                return 0
            case "show":
                return await _show(conn, choice, raw=args.raw)
            case "retry":
                count = await rejected.hurry(conn, choice)
                print(f"{_events(count)} will be tried again within seconds, if `plyr ingest` runs.")
            case _:
                count = await _drop(conn, choice)
                print(f"{_events(count)} dropped; what came in stays in the archive.")
        return 0 if count else 1


async def _show(conn: Connection, choice: Choice, *, raw: bool) -> int:
    found = await rejected.listed(conn, choice, limit=1)
    data = await rejected.raw_of(conn, found[0].id) if found else None
    if data is None:
        print("plyr: no such event waits; it was applied or dropped", file=sys.stderr)
        return 1
    if raw:
        sys.stdout.buffer.write(data)
    else:
        print("\n".join(shown(found[0], data, datetime.now(UTC))))
    return 0


async def _drop(conn: Connection, choice: Choice) -> int:
    async with conn.transaction():
        gone = await rejected.give_up(conn, choice)
        entries = [
            Entry(
                Kind.DROPPED,
                one.source,
                one.seq,
                one.did,
                verdict=BY_HAND,
                detail={"digest": one.digest.hex()},
            )
            for one in gone
        ]
        await outbox.append(conn, entries)
    return len(gone)


def table(kept: Sequence[Kept], counts: dict[str, int], now: datetime) -> list[str]:
    """One event a line, newest first, under how many there are by reason."""
    if not counts:
        return ["No event waits: everything that came was applied."]
    total = ", ".join(f"{reason} {n:,}" for reason, n in sorted(counts.items()))
    lines = [f"{_events(sum(counts.values()))} could not be applied: {total}", ""]
    if not kept:
        return [*lines, "None of them is meant by this choice."]
    lines.append(f"{'ID':>8}  {'came (UTC)':<19}  {'tries':>5}  {'again':<8}  reason and account")
    for one in kept:
        head = f"{one.id:>8}  {one.rejected_at:%Y-%m-%d %H:%M:%S}  {one.attempts:>5}  {_again(one, now):<8}"
        lines.append(f"{head}  {one.reason}  {one.did or '?'}")
        lines.append(f"{'':>48}{one.detail[:_LONG]}")
    if sum(counts.values()) > len(kept):
        lines.append(f"older ones: --before {kept[-1].id}")
    return lines


def shown(one: Kept, raw: bytes, now: datetime) -> list[str]:
    """Everything about one event, as far as its bytes can be read."""
    lines = [
        f"event {one.id}: {one.reason}",
        f"  {one.detail}",
        f"  from {one.source}" + ("" if one.seq is None else f", seq {one.seq:,}"),
        f"  account {one.did or 'unknown'}",
        f"  came {one.rejected_at:%Y-%m-%d %H:%M:%S} UTC, {one.bytes:,} bytes",
        f"  tried {one.attempts:,} time{'' if one.attempts == 1 else 's'}, again: {_again(one, now)}",
        "",
    ]
    try:
        frame = read_any(raw)
    except BadFrame as error:
        return [*lines, f"Its bytes cannot be read: {error.reason}", f"  {raw[:64].hex(' ')} …"]
    if isinstance(frame, ErrorFrame):
        return [*lines, f"It is the error {frame.error}: {frame.message or ''}"]
    lines.append(f"It is {frame.type}, with")
    lines += [f"  {key}: {_field(value)}" for key, value in sorted(frame.body.items())]
    lines += ["", f"the bytes: plyr sync rejected show {one.id} --raw"]
    return [*lines, f"the account: plyr sync explain {one.did}"] if one.did else lines


def _field(value: Any) -> str:
    """A value of a frame as text; long bytes only by their length."""
    if isinstance(value, bytes) and len(value) > 64:
        return f"{len(value):,} bytes"
    text = orjson.dumps(value, default=_hex).decode()
    return text if len(text) <= _LONG else f"{text[:_LONG]} …"


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)


def _again(one: Kept, now: datetime) -> str:
    if one.next_attempt_at is None:
        return "never"
    seconds = (one.next_attempt_at - now).total_seconds()
    return "now" if seconds <= 0 else span(seconds)


def _events(count: int) -> str:
    return f"{count:,} event" + ("" if count == 1 else "s")
