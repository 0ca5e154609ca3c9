"""What was seen of an account and what was decided about it, as one list in order of time. Pure.

Entries of the outbox say what was seen; commits come with their records as one line. What decisions tell
better (states, accounts, identities) is left to them. Of one transaction, what was seen comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from storage.decisions import Decided
from storage.explain import Seen
from storage.outbox import Entry, Kind

MOST_RECORDS = 3  # named in one line
_TOLD = frozenset({Kind.REPO, Kind.COMMIT, Kind.SYNC, Kind.DOUBT, Kind.RECORD, Kind.REJECTED, Kind.DROPPED})


@dataclass(frozen=True, slots=True)
class Happening:
    """`topic`: one word; `text`: a sentence; `source` said it, at `seq` of its own numbers."""

    at: datetime
    topic: str
    text: str
    source: str | None
    seq: int | None


def timeline(seen: Sequence[Seen], decided: Sequence[Decided], *, limit: int) -> list[Happening]:
    """The newest `limit` of both, oldest first. Both are given newest first."""
    told = _of_seen([s for s in reversed(seen) if s.entry.kind in _TOLD])
    told += [Happening(d.at, d.kind, _sentence(d), d.source, d.seq) for d in reversed(decided)]
    return sorted(told, key=lambda h: h.at)[-limit:]


def path(entry: Entry) -> str:
    return f"{entry.collection}/{entry.rkey}"


def _sentence(decided: Decided) -> str:
    """The reason for an identity says all: its outcome is the handle."""
    return decided.reason if decided.kind == "identity" else f"{decided.outcome}: {decided.reason}"


def _of_seen(seen: Sequence[Seen]) -> list[Happening]:
    """One line each, and one for what belongs together. Oldest first."""
    lines: list[Happening] = []
    n = 0
    while n < len(seen):
        first = seen[n]
        records: list[Entry] = []
        n += 1
        if first.entry.kind is Kind.RECORD:
            records.append(first.entry)
        if first.entry.kind in (Kind.COMMIT, Kind.RECORD):
            while n < len(seen) and _continues(seen[n], first, len(records)):
                records.append(seen[n].entry)
                n += 1
        topic, text = _said(first.entry, records)
        lines.append(Happening(first.at, topic, text, first.entry.source, first.entry.source_seq))
    return lines


def _continues(seen: Seen, first: Seen, records: int) -> bool:
    """Whether this is a record of the same commit, or of the same read of the whole repo."""
    entry, offset = seen.entry, 0 if first.entry.kind is Kind.RECORD else 1
    return (
        entry.kind is Kind.RECORD
        and seen.seq == first.seq + records + offset
        and (entry.source, entry.source_seq) == (first.entry.source, first.entry.source_seq)
        and (first.entry.kind is Kind.RECORD or entry.rev == first.entry.rev)
    )


def _said(entry: Entry, records: Sequence[Entry]) -> tuple[str, str]:
    match entry.kind:
        case Kind.REPO:
            return "found", "tracked from here on"
        case Kind.COMMIT:
            text = f"rev {entry.rev}, verified"
            return "commit", f"{text}: {_records(records)}" if records else f"{text}; no record of ours in it"
        case Kind.SYNC:
            return "sync", f"its host says that the repo is at rev {entry.rev}; verified"
        case Kind.DOUBT:
            return "doubt", f"{entry.verdict}: {entry.reason}"
        case Kind.REJECTED:
            return "rejected", f"set aside, {entry.verdict}: {entry.reason}"
        case Kind.DROPPED:
            return "rejected", "an event that was set aside is settled: applied, or given up"
        case _:
            return "records", _records(records)


def _records(records: Sequence[Entry]) -> str:
    named = [_record(entry) for entry in records[:MOST_RECORDS]]
    if len(records) > MOST_RECORDS:
        named.append(f"and {len(records) - MOST_RECORDS:,} more")
    return ", ".join(named)


def _record(entry: Entry) -> str:
    text = f"{entry.action} {path(entry)}"
    match entry.verdict:
        case "invalid":
            return f"{text} (not shown: {entry.reason})"
        case "unverified":
            return f"{text} (not proven)"
        case _:
            return text
