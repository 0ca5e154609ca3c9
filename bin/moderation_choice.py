"""Which subject a command means, what is done about it in one transaction, and how that is told."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable

import psycopg

from appview.moderation.actions import COPYRIGHT, Action, NotKnown, Refused
from appview.moderation.decisions import Decision, Policy, decide
from bin.moderating import policy
from bin.settings import Settings
from lexicons.catalog import Catalog
from lexicons.subject import Subject, read_subject
from storage import labels
from storage import moderation as rows
from storage.moderation import Event, Proof
from storage.postgres import Connection

OPERATOR = "operator"
_HERE = "did:web:localhost"
LONGEST = 10_000  # characters of what somebody says


class BadSubject(Exception):
    """Nothing that can be judged is written so; the message says what is."""


class OtherName(Exception):
    """What would be said here is not said as those who said the rest; the message says what to set."""


def add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "subject",
        metavar="SUBJECT",
        help="number of a case, DID of an account, at:// URI of a record, or DID/CID of bytes it shows",
    )


def add_note(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--note", type=said, metavar="TEXT", help="why, for the log; never shown in public")


def add_reason(parser: argparse.ArgumentParser, example: str, default: str | None = None) -> None:
    """`default`: what stands where neither this nor the case names one."""
    more = "" if default is None else f"; default: the case's, or {default}"
    parser.add_argument("--reason", type=code, metavar="CODE", help=f"what for, as {example}{more}")


def code(text: str) -> str:
    """A reason, as an argument."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no code of small letters, as {COPYRIGHT}")
    return text


def said(text: str) -> str:
    """What somebody says, as an argument."""
    text = text.replace("\0", "").strip()
    if not 0 < len(text) <= LONGEST:
        raise argparse.ArgumentTypeError(f"must have 1 to {LONGEST:,} characters")
    return text


def act(text: str, settings: Settings, do: Callable[[Connection, Subject, Policy], Awaitable[str]]) -> int:
    """Do it about the subject, and print what is told of it; the exit code."""
    try:
        catalog = Catalog.load(settings.namespace)
        print(asyncio.run(_act(text, settings, policy(settings, catalog), do)))
    except (Refused, OtherName) as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 1
    except BadSubject as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    return 0


async def _act(
    text: str,
    settings: Settings,
    policy: Policy,
    do: Callable[[Connection, Subject, Policy], Awaitable[str]],
) -> str:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(
        settings.database_url, autocommit=True, application_name="plyr moderation"
    ) as conn:
        if settings.public_url is None and policy.labels is not None:
            await _check_name(conn, policy.labels.src)
        return await do(conn, await subject_of(conn, text), policy)


async def _check_name(conn: Connection, ours: str) -> None:
    """Raises OtherName. Whoever forgets a setting in a shell must not label as nobody whom others know: the
    service's own labels would neither show it nor take it back."""
    name = await labels.last_src(conn)
    if name is not None and name != ours:
        raise OtherName(f"labels are said as {name} here: set PLYR_PUBLIC_URL, without it we are {ours}")


async def subject_of(conn: Connection, text: str) -> Subject:
    """Raises NotKnown or BadSubject."""
    if not text.isascii() or not text.isdecimal():
        try:
            return read_subject(text)
        except ValueError as error:
            raise BadSubject(str(error)) from error
    case = await rows.case(conn, int(text)) if len(text) < 19 else None
    if case is None:
        raise NotKnown(f"there is no case {text}")
    return read_subject(case.subject)


def decided(text: str, settings: Settings, make: Callable[[Subject], Decision]) -> int:
    """Decide; the exit code."""

    async def do(conn: Connection, subject: Subject, policy: Policy) -> str:
        return told(await decide(conn, make(subject), policy), policy)

    return act(text, settings, do)


def decision(action: Action, subject: Subject, note: str | None, reason: str | None = None) -> Decision:
    return Decision(action, subject, OPERATOR, Proof.COMMAND, note=note, reason=reason)


def told(event: Event, policy: Policy) -> str:
    """What was done, in a line or two."""
    about = "" if event.case_id is None else f", case {event.case_id}"
    resolution = event.detail.get("resolution")
    lines = [f"{event.action} of {event.subject}{about}{f': {resolution}' if resolution else ''}"]
    src = ours.src if (ours := policy.labels) else "nobody"
    here = ", whom nobody elsewhere can look up: set PLYR_PUBLIC_URL" if src.startswith(_HERE) else ""
    for action, words in ((Action.LABEL, "Said"), (Action.UNLABEL, "Took back")):
        # By hand, or as what follows a decision.
        if val := event.detail.get("val" if event.action == action else action):
            lines.append(f"{words} {val}, as {src}{here}.")
    strikes = event.detail.get("strikes")
    if strikes is not None:
        lines.append(
            f"{event.did} has {strikes:,} violation{'' if strikes == 1 else 's'} of copyright"
            + (": there is a case about the account." if strikes >= policy.strikes else ".")
        )
    return "\n".join(lines)
