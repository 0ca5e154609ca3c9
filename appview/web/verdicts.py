"""What the form of a case offers, and what each of its buttons means; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appview.moderation.actions import COPYRIGHT, OTHER, Action, IllegalMove, Listing, Standing
from lexicons.subject import Subject, SubjectKind
from storage.moderation import OpenedBy, Resolution

REASONS = {
    COPYRIGHT: "Copyright",
    "spam": "Spam",
    "misleading": "Misleading",
    "sexual": "Sexual",
    "rude": "Rude or harassing",
    "violation": "Against the law or the rules",
    OTHER: "Something else",
}


@dataclass(frozen=True, slots=True)
class Button:
    """`act` is what the form sends, `key` its access key, `look` a class of CSS."""

    act: str
    says: str
    key: str
    look: str = "quiet"


@dataclass(frozen=True, slots=True)
class Act:
    """What a button does; `by_reason`: for which reason is part of it."""

    action: Action
    resolution: Resolution | None = None
    by_reason: bool = False


_ACTS = {
    "takedown": Act(Action.TAKEDOWN, by_reason=True),
    "violation": Act(Action.RESOLVE, Resolution.VIOLATION, by_reason=True),
    "false_positive": Act(Action.RESOLVE, Resolution.FALSE_POSITIVE),
    "original_artist": Act(Action.RESOLVE, Resolution.ORIGINAL_ARTIST),
    "no_action": Act(Action.RESOLVE, Resolution.NO_ACTION),
    "restore_false_positive": Act(Action.RESTORE, Resolution.FALSE_POSITIVE),
    "restore_original_artist": Act(Action.RESTORE, Resolution.ORIGINAL_ARTIST),
    "restore_no_action": Act(Action.RESTORE, Resolution.NO_ACTION),
    "delist": Act(Action.DELIST, by_reason=True),
    "relist": Act(Action.RELIST),
    "note": Act(Action.NOTE),
}
_CLEARED = {
    "false_positive": ("false positive", "p"),
    "original_artist": ("original artist", "o"),
    "no_action": ("no action", "n"),
}


def act(name: str) -> Act:
    """Raises IllegalMove."""
    found = _ACTS.get(name)
    if found is None:
        raise IllegalMove("that is none of what can be decided here")
    return found


def buttons(
    subject: Subject, standing: Standing, *, is_open: bool, listing: Listing | None
) -> Iterator[Button]:
    """Those that may be pressed now. `listing`: of a track."""
    is_bytes = subject.kind is SubjectKind.BLOB
    if standing is not Standing.DOWN:
        yield Button("takedown", "Violation: take it down", "v", "danger")
    if is_open:
        says = {
            Standing.CLEAR: "Violation: it stays" if is_bytes else "Violation: only label it",
            Standing.JUDGED: "Violation: as before",
            Standing.DOWN: "Violation: it stays down",
        }
        yield Button("violation", says[standing], "l")
    for name, (says_so, key) in _CLEARED.items():
        if standing is Standing.CLEAR and is_open:
            yield Button(name, says_so.capitalize(), key, "")
        elif standing is not Standing.CLEAR:
            yield Button(f"restore_{name}", f"Restore: {says_so}", key, "")
    if listing is Listing.UNLISTED:
        yield Button("relist", "List it again", "u")
    elif listing is Listing.LISTED:
        yield Button("delist", "Only unlist it", "u")
    yield Button("note", "Only note it", "m")


def reasons(reason: str | None, opened_by: str) -> list[tuple[str, str, bool]]:
    """Code, words, and whether it is what the case seems to be about."""
    about = reason or (COPYRIGHT if opened_by in (OpenedBy.SCAN, OpenedBy.NOTICE) else OTHER)
    known = REASONS if about in REASONS else {about: about.replace("_", " ").capitalize(), **REASONS}
    return [(code, says, code == about) for code, says in known.items()]
