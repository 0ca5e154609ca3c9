"""How scans for the recordings of others go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bin import scanning
from bin.checkup.verdict import Finding, ok, warn
from bin.settings import Settings
from storage import scans as rows
from storage.postgres import Connection
from storage.scans import Resolution, ScanState

SUBJECT = "scans"


async def scans(settings: Settings, conn: Connection) -> Sequence[Finding]:
    return told(scanning.off(settings), await rows.counts(conn), await rows.refused_until(conn))


def told(off: str | None, counts: Mapping[str, int], refused_until: datetime | None) -> list[Finding]:
    """`counts` as of storage.scans."""
    found: list[Finding] = []
    if off is None and refused_until is not None:
        text = f"AuDD answers no more, and is asked again at {refused_until:%Y-%m-%d %H:%M} UTC"
        found.append(warn(SUBJECT, text, "look at your quota there, and at PLYR_AUDD_TOKEN"))
    errors, pending = counts.get(ScanState.ERROR, 0), counts.get(Resolution.PENDING, 0)
    told = f"{sum(counts.values()):,} known, {pending:,} flagged that nobody looked at"
    if off is not None:
        told += f"; AuDD is not asked: {off}"
    if errors:
        found.append(warn(SUBJECT, f"{told}; {errors:,} have no verdict yet", "plyr jobs list --kind scan"))
    return found or [ok(SUBJECT, told)]
