"""What can be done about a subject, and when. Pure.

A case is what a person has to look at; a subject has at most one that is open:

    none ──open, notice──▶ open ──resolve, takedown, restore──▶ resolved ──appeal──▶ open, the same case
                             ▲                                     │
                             └───────────open, notice──────────────┘ a new case

What stands against a subject follows the decisions about it:

    clear ──resolve violation──▶ judged ──takedown──▶ down ──restore──▶ clear
      └──────takedown──▶ down      └──restore──▶ clear

Beside that a track is listed or not, whatever else is decided about it:

    listed ──delist──▶ unlisted ──relist──▶ listed

    Refused
    ├── IllegalMove   it is none of what may be done now
    ├── Outdated      somebody else decided since it was looked at
    └── NotKnown      there is no such account, record or blob here
"""

from __future__ import annotations

from enum import StrEnum

from lexicons.subject import Subject, SubjectKind
from lexicons.syntax import Nsid
from storage.moderation import NoticeState, Resolution


class Action(StrEnum):
    """OPEN: a case was opened, or seen again. SUIT: the claimant went to court about a counter-notice."""

    OPEN = "open"
    NOTE = "note"
    TAKEDOWN = "takedown"
    RESTORE = "restore"
    RESOLVE = "resolve"
    DELIST = "delist"
    RELIST = "relist"
    LABEL = "label"
    UNLABEL = "unlabel"
    NOTICE = "notice"
    COUNTER_NOTICE = "counter_notice"
    SUIT = "suit"
    APPEAL = "appeal"


class CaseState(StrEnum):
    NONE = "none"
    OPEN = "open"
    RESOLVED = "resolved"


class Standing(StrEnum):
    """JUDGED: a case ended as a violation, or the label that says so holds."""

    CLEAR = "clear"
    JUDGED = "judged"
    DOWN = "down"


class Listing(StrEnum):
    """UNLISTED: only among its artist's own, and where somebody names it."""

    LISTED = "listed"
    UNLISTED = "unlisted"


class Refused(Exception):
    """Nothing was done; the message tells a person why."""


class IllegalMove(Refused):
    pass


class Outdated(Refused):
    pass


class NotKnown(Refused):
    pass


_N, _O, _R = CaseState.NONE, CaseState.OPEN, CaseState.RESOLVED
_SAME = {_N: _N, _O: _O, _R: _R}

# Of a case, by what is done: from which state to which.
CASE_MOVES: dict[Action, dict[CaseState, CaseState]] = {
    Action.OPEN: {_N: _O, _O: _O, _R: _O},
    Action.NOTE: _SAME,
    Action.TAKEDOWN: {_N: _R, _O: _R, _R: _R},
    Action.RESTORE: {_N: _R, _O: _R, _R: _R},
    Action.RESOLVE: {_O: _R},
    Action.DELIST: _SAME,
    Action.RELIST: _SAME,
    Action.LABEL: _SAME,
    Action.UNLABEL: _SAME,
    Action.NOTICE: {_N: _O, _O: _O, _R: _O},
    Action.COUNTER_NOTICE: {_O: _O, _R: _R},
    Action.SUIT: {_O: _O, _R: _R},
    Action.APPEAL: {_O: _O, _R: _O},
}

# Of whether a track is listed.
LISTING_MOVES: dict[Action, dict[Listing, Listing]] = {
    Action.DELIST: {Listing.LISTED: Listing.UNLISTED},
    Action.RELIST: {Listing.UNLISTED: Listing.LISTED},
}

# Of what stands against a subject, by what it may be while this is done. Others may be done whatever stands.
_ANY = frozenset(Standing)
WHILE: dict[tuple[Action, Resolution | None], frozenset[Standing]] = {
    (Action.TAKEDOWN, None): frozenset({Standing.CLEAR, Standing.JUDGED}),
    **{
        (Action.RESTORE, each): frozenset({Standing.JUDGED, Standing.DOWN})
        for each in Resolution
        if each is not Resolution.VIOLATION
    },
    (Action.RESOLVE, Resolution.VIOLATION): _ANY,
    (Action.RESOLVE, Resolution.NO_ACTION): _ANY,
    (Action.RESOLVE, Resolution.FALSE_POSITIVE): frozenset({Standing.CLEAR}),
    (Action.RESOLVE, Resolution.ORIGINAL_ARTIST): frozenset({Standing.CLEAR}),
}

# Of the notices about a subject: where they are led, by what was decided, and from where.
NOTICE_MOVES: dict[NoticeState, frozenset[NoticeState]] = {
    NoticeState.UPHELD: frozenset({NoticeState.RECEIVED}),
    NoticeState.REJECTED: frozenset({NoticeState.RECEIVED}),
    NoticeState.COUNTERED: frozenset({NoticeState.UPHELD}),
    NoticeState.SUED: frozenset({NoticeState.COUNTERED}),
    NoticeState.RESTORED: frozenset(
        {NoticeState.RECEIVED, NoticeState.UPHELD, NoticeState.COUNTERED, NoticeState.SUED}
    ),
}

# Whoever decides has to have seen these.
DECIDING = frozenset(Action) - {Action.NOTE, Action.OPEN}

COPYRIGHT = "copyright"
REPEAT_INFRINGER = "repeat_infringer"
OTHER = "other"

# A picture that stays in sight though it is a violation for one of these is sensitive.
SENSITIVE = frozenset({"sexual", "porn", "nudity", "graphic-media"})

# What others are told of a violation, by what it was resolved for.
LABELS = {COPYRIGHT: "copyright-violation"}


def move(action: Action, resolution: Resolution | None, case: CaseState, standing: Standing) -> CaseState:
    """What becomes of the case. Raises IllegalMove."""
    if action in (Action.RESTORE, Action.RESOLVE, Action.TAKEDOWN):
        allowed = WHILE.get((action, resolution))
        if allowed is None:
            raise IllegalMove(f"{_words(action)} takes no resolution {resolution}")
        if standing not in allowed:
            raise IllegalMove(_WHY[action, standing])
    after = CASE_MOVES[action].get(case)
    if after is None:
        there = "there is no case" if case is CaseState.NONE else "the case is resolved"
        needed = "one that is open" if action is Action.RESOLVE else "one"
        raise IllegalMove(f"{there}, and {_words(action)} needs {needed}")
    return after


def move_listing(action: Action, listing: Listing) -> Listing:
    """Where a track is after this. Raises IllegalMove."""
    after = LISTING_MOVES[action].get(listing)
    if after is None:
        raise IllegalMove(f"it is {listing} already")
    return after


def check_subject(action: Action, subject: Subject, val: str | None, *, track: Nsid) -> None:
    """Whether this can be done about something of this kind at all. `track`: the collection of tracks. Raises
    IllegalMove."""
    if action in LISTING_MOVES and subject.collection != track:
        raise IllegalMove("only tracks are listed, and so only they are unlisted")
    if subject.kind is SubjectKind.BLOB and action in (Action.LABEL, Action.UNLABEL):
        raise IllegalMove("bytes alone have no labels; the records that show them do")
    if action in (Action.LABEL, Action.UNLABEL) and val in LABELS.values():
        raise IllegalMove(f"{val} follows a resolution: use resolve, takedown or restore")


def label_of(subject: Subject, reason: str | None) -> str | None:
    """What a violation for this reason says of the subject to others; None: nothing."""
    return None if subject.kind is SubjectKind.BLOB or reason is None else LABELS.get(reason)


_WHY = {
    (Action.TAKEDOWN, Standing.DOWN): "it is down already",
    (Action.RESTORE, Standing.CLEAR): "nothing stands against it that could be taken back",
    (Action.RESOLVE, Standing.DOWN): "it is down: restore it, which resolves the case, too",
    (Action.RESOLVE, Standing.JUDGED): "there is a violation: restore it, which resolves the case, too",
}


def _words(action: Action) -> str:
    return action.replace("_", "-")
