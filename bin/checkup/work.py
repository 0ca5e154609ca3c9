"""What waits: alarms of the index and the jobs, and pictures without renditions."""

from __future__ import annotations

from collections.abc import Sequence

from appview.jobs.images import AT_ONCE
from appview.media.images import WIDTHS
from bin.checkup.network import cursors
from bin.checkup.verdict import Finding, ok, warn
from bin.settings import Settings
from bin.sync_status import thresholds
from indexer.alarms import Alarm, alarms
from storage import health, images
from storage.images import Undrawable
from storage.postgres import Connection

MOST = 1000


async def alarmed(conn: Connection, settings: Settings) -> list[Finding]:
    """The sources' cursors, and every alarm of `plyr sync status`."""
    limits = thresholds(settings)
    found = await health.ask(conn)
    return [*cursors(settings.sources, found.sources, limits), *told(alarms(found, limits))]


def told(found: Sequence[Alarm]) -> list[Finding]:
    return [warn("alarms", f"{alarm.name}: {alarm.text}", alarm.command) for alarm in found] or [
        ok("alarms", "none")
    ]


async def pictures(conn: Connection) -> list[Finding]:
    missing = await images.missing(conn, WIDTHS, limit=MOST)
    return renditions(len(missing), await images.undrawable(conn, limit=MOST))


def renditions(missing: int, undrawable: Sequence[Undrawable]) -> list[Finding]:
    """`missing`, at most MOST, are left to the job."""
    found: list[Finding] = []
    if missing:
        count = f"{missing:,} or more" if missing >= MOST else f"{missing:,}"
        text = f"{count} lack a rendition; images.render draws {AT_ONCE} an hour"
        found.append(warn("images", text, "see that it runs: plyr jobs list --kind images.render"))
    if undrawable:
        text = f"{len(undrawable):,} cannot be drawn, as {undrawable[0].sha256}: {undrawable[0].error}"
        found.append(warn("images", text, "plyr blobs audit; restore them from a backup"))
    return found or [ok("images", "all have their renditions")]
