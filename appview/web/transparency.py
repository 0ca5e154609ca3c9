"""`/transparency`: what we judged, counted by month, as a page and as JSON. Nobody is named there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic

import msgspec
from aiohttp import hdrs, web

from appview.moderation.transparency import PUBLIC, Ledger, Month, ledger
from appview.rest.answers import answer_json, rest
from appview.rest.spec import described
from appview.web.bars import WIDTH, Plot, plot
from appview.web.case_page import OPENED_BY, RESOLUTIONS
from appview.web.site import Site
from storage import transparency
from storage.moderation import OpenedBy
from storage.reader import ReadFailed, Reads

FRESH_S = 60.0
# Months that are drawn, and how wide: beside one another on a desk, and on a phone.
_PLOTTED = {"broad": (12, WIDTH), "slim": (6, WIDTH // 2)}
_KEPT = {hdrs.CACHE_CONTROL: "public, max-age=300"}


class Transparency:
    """Counted anew when somebody asks and what is known is older than `fresh_s`."""

    def __init__(self, reads: Reads, site: Site, *, fresh_s: float = FRESH_S) -> None:
        self._reads = reads
        self._site = site
        self._fresh_s = fresh_s
        self._lock = asyncio.Lock()
        self._known: tuple[float, Ledger] | None = None

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/transparency", rest(self.page))
        router.add_get("/transparency.json", rest(self.json))

    async def ledger(self) -> Ledger:
        """Raises ReadFailed."""
        async with self._lock:
            if self._known is None or monotonic() >= self._known[0]:
                tallies = await transparency.tallies(self._reads, PUBLIC)
                made = ledger(tallies, f"{datetime.now(UTC):%Y-%m}")
                self._known = monotonic() + self._fresh_s, made
            return self._known[1]

    @described("Cases and decisions of our moderation, counted by month", answer=Ledger)
    async def json(self, _: web.Request) -> web.StreamResponse:
        response = answer_json(msgspec.json.encode(await self.ledger()))
        response.headers.update(_KEPT)
        return response

    async def page(self, _: web.Request) -> web.StreamResponse:
        try:
            known = await self.ledger()
        except ReadFailed:
            text = {"title": "The database cannot be reached", "text": "Try again in a moment."}
            return self._site.page("nothing.html", text, status=503)
        values = {
            "ledger": known,
            "found": RESOLUTIONS,
            "plots": {name: _drawn(known.months[-most:], width) for name, (most, width) in _PLOTTED.items()},
            "months": [_row(each) for each in reversed(known.months)],
            "kinds": [(OPENED_BY[kind], _of_kind(known, kind)) for kind in OpenedBy],
            "actions": sorted({name for each in known.months for name in each.actions}),
        }
        response = self._site.page("transparency.html", values)
        response.headers.update(_KEPT)
        return response


def _drawn(months: Sequence[Month], width: int) -> Plot:
    counts = [{name: each.found(name) for name in RESOLUTIONS} for each in months]
    return plot(list(zip(axis([each.month for each in months]), counts, strict=True)), width=width)


def axis(months: Sequence[str]) -> list[str]:
    """Names that find room beside one another: the year stands where one begins, and at the first unless the
    next says it."""
    named = [month_name(each) for each in months]
    begins = [each.endswith("-01") for each in months]
    says_year = [begins[n] or (n == 0 and not any(begins[1:2])) for n in range(len(months))]
    return [name if says else name[:3] for name, says in zip(named, says_year, strict=True)]


def month_name(month: str) -> str:
    """As people write it: Nov 2026."""
    return f"{datetime.strptime(month, '%Y-%m').replace(tzinfo=UTC):%b %Y}"


def _row(month: Month) -> dict[str, object]:
    return {
        "name": month_name(month.month),
        "opened": sum(month.opened.values()),
        "found": [month.found(name) for name in RESOLUTIONS],
        "actions": month.actions,
        "took": "–" if month.median_hours is None else took(month.median_hours),
    }


def _of_kind(known: Ledger, kind: str) -> list[int]:
    """Opened, and what was found."""
    found = [sum(month.decided.get(kind, {}).get(name, 0) for month in known.months) for name in RESOLUTIONS]
    return [sum(month.opened.get(kind, 0) for month in known.months), *found]


def took(hours: float) -> str:
    """A span of hours, as people say it."""
    if hours < 1:
        return "under an hour"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
