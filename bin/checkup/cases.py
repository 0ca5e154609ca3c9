"""What waits for the people who judge."""

from __future__ import annotations

from collections.abc import Sequence

from bin.checkup.verdict import Finding, ok, warn
from storage import moderation as rows
from storage.moderation import Waiting
from storage.postgres import Connection

SUBJECT = "cases"


async def cases(conn: Connection) -> Sequence[Finding]:
    return [told(await rows.waiting(conn))]


def told(waiting: Waiting) -> Finding:
    if not waiting.open:
        return ok(SUBJECT, "none is open")
    text = f"{waiting.open:,} open, the oldest since {waiting.since:%Y-%m-%d}"
    if waiting.late:
        return warn(
            SUBJECT,
            f"{text}; {waiting.late:,} notices are decided late",
            "plyr moderation cases --state open",
        )
    return ok(SUBJECT, text)
