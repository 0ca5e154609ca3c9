"""What the pages of cases show, out of rows; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from appview.web.home import ago, clock
from lexicons.datamodel import InvalidData, decode, to_json
from lexicons.syntax import Did, Nsid, Rkey
from storage.moderation import Notice
from storage.moderation_views import CaseView, Flag, Happened
from storage.scans import Match, Source

RESOLUTIONS = {
    "violation": "Violation",
    "false_positive": "False positive",
    "original_artist": "Original artist",
    "no_action": "No action",
}
OPENED_BY = {
    "scan": "a scan",
    "report": "a report",
    "notice": "a notice",
    "appeal": "an appeal",
    "hand": "a moderator",
    "strikes": "a count of violations",
}
_BYTES = {"audio": "sound", "image": "picture"}
_NAMED = ("title", "name", "displayName", "text")
_PROOFS = {
    "session": "signed in",
    "service": "through their PDS",
    "key": "by a program's key",
    "command": "on the command line",
    "self": "by itself",
}
_DONE = {
    "open": "Opened",
    "takedown": "Taken down",
    "restore": "Restored",
    "resolve": "Decided",
    "delist": "Unlisted",
    "relist": "Listed again",
    "label": "Labelled",
    "unlabel": "Label taken back",
    "appeal": "Appealed",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Where a song was found: in our sound, as a clock and in seconds, and in theirs."""

    at: str
    at_s: float | None
    theirs: str | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class Song:
    """A recording that parts of a sound are taken for. `weight`: how much of it, or how sure. `uri` and
    `track_id` are of a track that is here."""

    artist: str
    title: str
    album: str | None
    isrc: str | None
    weight: str
    parts: tuple[Part, ...]
    uri: str | None
    track_id: int | None


def record_of(case: CaseView) -> Mapping[str, Any]:
    """The record, as JSON has it; empty where there is none, or none that can be read."""
    try:
        value = None if case.block is None else to_json(decode(case.block))
    except InvalidData:
        return {}
    return value if isinstance(value, dict) else {}


def name_of(case: CaseView) -> str:
    """What a case is about, in the words of whoever made it."""
    record = record_of(case)
    found = next((str(record[name]) for name in _NAMED if record.get(name)), None)
    if found is not None:
        return _cut(found)
    if case.subject.startswith(f"{case.did}/"):
        return _name_of_bytes(case)
    return f"@{case.handle}" if case.handle is not None and case.subject == case.did else case.subject


def _name_of_bytes(case: CaseView) -> str:
    what = _BYTES.get(case.area or "", "file")
    if case.shown_with is not None:
        return f"The {what} of {_cut(case.shown_with)}"
    return case.subject if case.handle is None else f"A {what} by @{case.handle}"


def _cut(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"


def summary(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Open cases, and the others by what was made of them."""
    return [
        ("Open", counts.get("open", 0)),
        *((says, counts.get(name, 0)) for name, says in RESOLUTIONS.items()),
    ]


def line(case: CaseView, now: datetime) -> Mapping[str, Any]:
    """A case in a list."""
    since = case.opened_at if case.resolved_at is None else case.resolved_at
    facts = [f"from {OPENED_BY[case.opened_by]}", ago((now - since).total_seconds())]
    if case.violations:
        facts.append(f"{case.violations} other {'violation' if case.violations == 1 else 'violations'}")
    return {
        "id": case.id,
        "name": name_of(case),
        "by": f"@{case.handle}" if case.handle else case.did,
        "taken_for": None if case.dominant is None else heard(case.dominant),
        "percent": None if case.dominant_share is None else round(case.dominant_share * 100),
        "resolution": RESOLUTIONS.get(case.resolution or "", ""),
        "state": case.resolution or "open",
        "facts": facts,
    }


def heard(match: Match) -> str:
    return " by ".join(filter(None, (match.title, match.artist)))


def songs(
    flag: Flag, at_s: float | None, collection: Nsid, tracks: Mapping[tuple[Did, Rkey], int]
) -> list[Song]:
    """The recordings of a scan, tracks that are here first, then the most frequent, each with the parts that
    it was found in; those at `at_s` are what is being listened to. `tracks`: ids, of this `collection`."""
    grouped: dict[tuple[str | None, ...], list[Match]] = {}
    for match in flag.matches:
        name = match.did, match.rkey, match.artist.casefold(), match.title.casefold()
        grouped.setdefault(name, []).append(match)
    starts = {match.offset_ms for match in flag.matches if match.source is Source.AUDD}
    found: list[Song] = []
    for group in sorted(grouped.values(), key=lambda each: (each[0].did is None, -len(each))):
        first = group[0]
        here = first.did is not None and first.rkey is not None
        found.append(
            Song(
                first.artist,
                first.title,
                next((each.album for each in group if each.album), None),
                next((each.isrc for each in group if each.isrc), None),
                _sure(group)
                if here
                else f"{100 * len({each.offset_ms for each in group}) / len(starts):.0f} %",
                tuple(_part(each, at_s) for each in group),
                f"at://{first.did}/{collection}/{first.rkey}" if here else None,
                tracks.get((first.did, first.rkey)) if first.did and first.rkey else None,
            )
        )
    return found


def _sure(group: Sequence[Match]) -> str:
    length_s = sum(each.length_ms or 0 for each in group) // 1000
    return f"{clock(length_s)} long, {100 * max(each.confidence or 0 for each in group):.0f} % sure"


def _part(match: Match, at_s: float | None) -> Part:
    if match.offset_ms is None:
        return Part("somewhere", None, match.timecode, False)
    start_s = match.offset_ms / 1000
    return Part(clock(int(start_s)), start_s, match.timecode, start_s == at_s)


def next_part(flag: Flag, at_s: float | None) -> float | None:
    """Where the first match begins after that moment; behind the last, the first."""
    starts = sorted({match.offset_ms / 1000 for match in flag.matches if match.offset_ms is not None})
    after = [each for each in starts if at_s is None or each > at_s]
    return (after or starts or [None])[0]


def compared(case: CaseView, flag: Flag) -> list[tuple[str, str, str]]:
    """What the record says beside what its sound is taken for: name, ours, theirs."""
    record, theirs = record_of(case), flag.dominant
    ours = {"Artist": record.get("artist"), "Title": record.get("title"), "Album": record.get("album")}
    ours["ISRC"] = record.get("isrc")
    there = {"Artist": theirs.artist, "Title": theirs.title, "Album": theirs.album, "ISRC": theirs.isrc}
    return [(name, str(ours[name] or "–"), there[name] or "–") for name in there]


def log(events: Sequence[Happened]) -> Iterator[Mapping[str, Any]]:
    """Lines of the history."""
    for each in events:
        yield {
            "at": f"{each.at:%Y-%m-%d %H:%M} UTC",
            "case": each.case_id,
            "did": _done(each),
            "actor": f"@{each.actor_handle}" if each.actor_handle else each.actor,
            "proof": _PROOFS[each.proof],
            "reason": each.reason,
            "note": each.note,
        }


def notice(row: Notice, now: datetime) -> Mapping[str, Any]:
    """Who claims a right, what was answered, and until when something has to be done."""
    return {
        "claimant": row.claimant,
        "statement": row.statement,
        "state": row.state,
        "received": day(row.received_at),
        "answer": row.answer,
        "answered": None if row.answered_at is None else day(row.answered_at),
        "due": None if row.due is None else day(row.due),
        "is_late": row.due is not None and row.due < now,
    }


def day(time: datetime) -> str:
    return f"{time.day} {time:%b %Y}"


def _done(event: Happened) -> str:
    said = _DONE.get(event.action) or event.action.replace("_", " ").capitalize()
    found = RESOLUTIONS.get(event.resolution or "")
    return said if found is None or event.action == "takedown" else f"{said}: {found.lower()}"


def written(case: CaseView) -> str | None:
    """The whole record, for people."""
    record = record_of(case)
    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode() if record else None
