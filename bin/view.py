"""How `plyr up` shows itself: what is known, as lines of text. Pure: it is given the time and the width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bin.status import SourceStatus
from bin.supervisor import Part, PartState

# The number that Python puts before the system's words tells a person nothing.
_ERRNO = re.compile(r"\[Errno -?\d+\] ")


@dataclass(frozen=True)
class View:
    """Everything that is shown. `database` says how the database is doing, as a phrase."""

    version: str
    uptime_s: float
    ingest: Part
    sync: Part
    worker: Part
    scheduler: Part
    web: Part
    database: str


def live(view: View, width: int, now: float) -> list[str]:
    """The block that is drawn over and over on a terminal, one line per thing to watch."""
    rows = [(f"plyr {view.version}", f"{_address(view)}up {duration(view.uptime_s)}, Ctrl-C stops")]
    sources = view.ingest.status.get("sources", [])
    if view.ingest.state is PartState.RUNNING and sources:
        rows += [(_host(source), _source(source)) for source in sources]
    else:
        rows.append(("ingest", _state(view.ingest, now)))
    rejected = view.ingest.status.get("rejected", 0)
    if rejected:
        rows.append(("rejected", f"{rejected:,} events wait in rejected_event with their reasons"))
    rows.append(("sync", _sync(view.sync, now)))
    rows.append(("worker", _worker(view.worker, now)))
    rows.append(("scheduler", _scheduler(view.scheduler, now)))
    rows.append(("web", _web(view.web, now)))
    rows.append(("database", view.database))
    name_width = max(len(name) for name, _ in rows)
    return [f"{name:<{name_width}}  {text}"[: max(width - 1, 20)] for name, text in rows]


def plain(view: View, now: float) -> str:
    """The same on one line, for a log."""
    sources = view.ingest.status.get("sources", [])
    if view.ingest.state is PartState.RUNNING and sources:
        parts = [f"{_host(source)} {_source(source)}" for source in sources]
    else:
        parts = [f"ingest {_state(view.ingest, now)}"]
    rejected = view.ingest.status.get("rejected", 0)
    if rejected:
        parts.append(f"{rejected:,} rejected")
    parts += [
        f"sync {_sync(view.sync, now)}",
        f"worker {_worker(view.worker, now)}",
        f"scheduler {_scheduler(view.scheduler, now)}",
        f"web {_web(view.web, now)}",
        f"database {view.database}",
    ]
    return " | ".join(parts)


def states(view: View) -> Sequence[str]:
    """A change of these is worth a line at once; what a supervisor tells by itself is left out."""
    sources = view.ingest.status.get("sources", [])
    parts = (view.ingest, view.sync, view.worker, view.scheduler, view.web)
    return [
        *(f"{part.name} {part.state is PartState.RUNNING}" for part in parts),
        *(f"{source.get('url')} {source.get('state')}" for source in sources),
    ]


def duration(seconds: float) -> str:
    """Two units at most: 45 s, 3 min 12 s, 2 h 5 min, 4 d 3 h."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 1:
        return f"{whole} s"
    if hours < 1:
        return f"{minutes} min {whole % 60} s"
    if days < 1:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def in_words(error: str) -> str:
    """A system's error without its number."""
    return _ERRNO.sub("", error)


def size(count: int) -> str:
    """Bytes as 812 bytes, 12.3 kB, 4.5 MB, 1.2 GB."""
    for unit, most in (("kB", 1e6), ("MB", 1e9)):
        if 1000 <= count < most:
            return f"{count / most * 1000:,.1f} {unit}"
    return f"{count:,} bytes" if count < 1000 else f"{count / 1e9:,.1f} GB"


def _address(view: View) -> str:
    address = view.web.status.get("address")
    return f"{address}  " if address else ""


def _host(source: SourceStatus) -> str:
    return urlsplit(source.get("url", "")).netloc or "source"


def _source(source: SourceStatus) -> str:
    said = [source.get("state", "unknown")]
    seq, lag_s, error = source.get("seq"), source.get("lag_s"), source.get("error")
    if seq is not None:
        said.append(f"seq {seq:,}")
    if lag_s is not None:
        said.append(f"{lag_s:.1f} s behind" if lag_s < 60 else f"{duration(lag_s)} behind")
    if error:
        said.append(in_words(error))
    elif "events_per_s" in source:
        said.append(f"{source['events_per_s']:,.0f} events/s")
    return ", ".join(said)


def _sync(part: Part, now: float) -> str:
    """How whole the index is: repos in step of all, what is not and why, and how fast that changes."""
    if part.state is not PartState.RUNNING:
        return _state(part, now)
    repos = part.status.get("repos", {})
    said = [f"{repos.get('active', 0):,} of {sum(repos.values()):,} repos in step"]
    said += [f"{repos[state]:,} {state}" for state in sorted(repos) if state != "active" and repos[state]]
    if due := part.status.get("due"):
        said.append(f"{due:,} due")
    if per_s := part.status.get("resyncs_per_s"):
        said.append(f"{per_s:,.1f} read/s")
    if "score" in part.status:
        said.append(f"{part.status['score']:.2%} complete at the last sweep")
    return ", ".join(said)


def _worker(part: Part, now: float) -> str:
    if part.state is not PartState.RUNNING:
        return _state(part, now)
    running, unfinished = part.status.get("running", 0), part.status.get("unfinished", 0)
    if not running and not unfinished:
        return "nothing to do"
    doing = "1 job being done" if running == 1 else f"{running:,} jobs being done"
    return f"{doing}, {unfinished:,} not finished" if unfinished > running else doing


def _scheduler(part: Part, now: float) -> str:
    if part.state is not PartState.RUNNING:
        return _state(part, now)
    return "keeps time" if part.status.get("leads") else "another one keeps time"


def _web(part: Part, now: float) -> str:
    if part.state is not PartState.RUNNING:
        return _state(part, now)
    said = ["serving"]
    if "requests" in part.status:
        said.append(f"{part.status['requests']:,} requests")
    if "requests_per_s" in part.status:
        said.append(f"{part.status['requests_per_s']:,.1f}/s")
    return ", ".join(said)


def _state(part: Part, now: float) -> str:
    if part.state is PartState.WAITING:
        return f"ended, starts again in {max(part.retry_at - now, 0):.0f} s"
    return str(part.state)
