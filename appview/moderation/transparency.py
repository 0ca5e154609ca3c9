"""What everybody may know of our judgements: how many, of which kind, in which month, and how soon.

Contract: only counts, made of the cases and the append-only log, so that they cannot say anything else than
what was done; nobody's name, words or record is in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appview.moderation.actions import Action
from storage.moderation import Resolution
from storage.transparency import Tally, What

PUBLIC = (
    Action.TAKEDOWN, Action.RESTORE, Action.DELIST, Action.RELIST,
    Action.NOTICE, Action.COUNTER_NOTICE, Action.SUIT, Action.APPEAL,
)  # fmt: skip
_HOUR_S = 3600.0


class Month(msgspec.Struct):
    """`opened`: cases by how they came; `decided`: cases by that, and by what was found; `actions`: by name.
    `median_hours`: between opening and decision."""

    month: str
    opened: dict[str, int]
    decided: dict[str, dict[str, int]]
    actions: dict[str, int]
    median_hours: float | None = None

    def found(self, resolution: str) -> int:
        return sum(each.get(resolution, 0) for each in self.decided.values())


class Ledger(msgspec.Struct):
    """`months` without a gap, the oldest first. `decided`: of all of them."""

    opened: int
    open: int
    decided: dict[str, int]
    months: list[Month]


def ledger(tallies: Sequence[Tally], this_month: str) -> Ledger:
    """All months from the first that there is anything of to this one."""
    first = min((each.month for each in tallies), default=this_month)
    months = {name: Month(name, {}, {}, {}) for name in between(first, max(first, this_month))}
    for each in tallies:
        month = months.setdefault(each.month, Month(each.month, {}, {}, {}))
        match each.what:
            case What.OPENED:
                month.opened[each.kind] = each.count
            case What.DECIDED:
                month.decided.setdefault(each.kind, {})[each.resolution or ""] = each.count
            case What.DONE:
                month.actions[each.kind] = each.count
            case What.TOOK:
                month.median_hours = round((each.median_s or 0) / _HOUR_S, 1)
    found = [months[name] for name in sorted(months)]
    decided = {str(name): sum(month.found(name) for month in found) for name in Resolution}
    opened = sum(sum(month.opened.values()) for month in found)
    return Ledger(opened, opened - sum(decided.values()), decided, found)


def between(first: str, last: str) -> list[str]:
    """The months from one to another, both included."""
    year, month = (int(part) for part in first.split("-"))
    found = [first]
    while found[-1] < last:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        found.append(f"{year:04d}-{month:02d}")
    return found
