"""Reads of accounts. A hidden account is not found by any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lexicons.syntax import Did
from storage.feed import Page, place_after, text_array
from storage.keyset import Place
from storage.queries import load
from storage.reader import Cell, Reads, Rows
from storage.search import words
from storage.spread import Spread

_SQL = load("people")

STATEMENTS = {
    f"people_{name}": _SQL[name] for name in ("actor", "cards", "dids", "profiles", "search", "key")
}
OPTIONAL = {"pg_trgm": {"people_search_like": _SQL["search_like"]}}


@dataclass(frozen=True, slots=True)
class Actor:
    """An account that can be shown."""

    repo_id: int
    did: str


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """An account with what it says about itself."""

    card: bytes
    bio: Cell
    created_at: Cell


@dataclass(frozen=True, slots=True)
class DetailedProfileRow(ProfileRow):
    tracks: bytes
    likes: bytes
    lists: bytes


def normal(actor: str) -> str:
    """As accounts are called here: handles are stored in lower case, DIDs are as they are."""
    return actor if actor.startswith("did:") else actor.lower()


async def actor(reads: Reads, name: str) -> Actor | None:
    """The account with this DID or handle."""
    rows = await reads.fetch("people_actor", normal(name).encode())
    if not rows.count:
        return None
    return Actor(int(rows.cell(0, 0) or 0), (rows.cell(0, 1) or b"").decode())


async def dids(reads: Reads, handles: Iterable[str]) -> dict[str, str]:
    """DIDs by handle, as asked for; unknown ones are absent."""
    asked = {handle: handle.lower() for handle in handles}
    if not asked:
        return {}
    rows = await reads.fetch("people_dids", text_array(sorted(set(asked.values()))))
    found = {(rows.cell(i, 0) or b"").decode(): (rows.cell(i, 1) or b"").decode() for i in range(rows.count)}
    return {handle: found[lower] for handle, lower in asked.items() if lower in found}


async def signing_key(reads: Reads, did: Did) -> str | None:
    """The did:key that an account signs with, None if we track no such account or know none of it."""
    rows = await reads.fetch("people_key", did.encode())
    return _text(rows.cell(0, 0)) if rows.count else None


async def profiles(reads: Reads, actors: Sequence[str]) -> list[DetailedProfileRow]:
    """The accounts with these DIDs or handles, in their order, each once."""
    rows = await reads.fetch("people_profiles", text_array([normal(name) for name in actors]))
    get = rows.cell
    return [
        DetailedProfileRow(
            get(i, 0) or b"", get(i, 1), get(i, 2), get(i, 3) or b"0", get(i, 4) or b"0", get(i, 5) or b"0"
        )
        for i in range(rows.count)
    ]


async def cards(reads: Reads, dids: Sequence[str]) -> list[bytes]:
    """The cards of those of these accounts that can be shown, in any order."""
    rows = await reads.fetch("people_cards", text_array(dids))
    return [rows.cell(i, 0) or b"" for i in range(rows.count)]


async def search(reads: Reads, spread: Spread, text: str, after: Place, limit: int) -> Page[ProfileRow]:
    """Accounts whose handle or display name has words that begin like those of the text.
    Place: `keyset.RANK_REPO`.

    With pg_trgm, a text that finds nobody is tried again as misspelled, for one page.
    """
    asked = words(text)
    page = await by_words(reads, spread, asked, after, limit)
    if page.rows or not asked or "pg_trgm" not in reads.extensions:
        return page
    spelled = " ".join(asked).encode()
    return Page(_rows(await reads.fetch("people_search_like", spelled, *after, b"%d" % limit), limit), None)


async def by_words(
    reads: Reads, spread: Spread, asked: Sequence[str], after: Place, limit: int
) -> Page[ProfileRow]:
    """Likewise, of folded words as they are spelled."""
    if not asked:
        return Page([], None)
    terms = spread.for_names(asked)
    rows = await reads.fetch(
        "people_search", terms.whole, *after, b"%d" % (limit + 1), terms.rare, terms.newest
    )
    return Page(_rows(rows, limit), place_after(rows, limit, 3, 4))


def _text(cell: Cell) -> str | None:
    return None if cell is None else cell.decode()


def _rows(rows: Rows, limit: int) -> list[ProfileRow]:
    get = rows.cell
    return [ProfileRow(get(i, 0) or b"", get(i, 1), get(i, 2)) for i in range(min(limit, rows.count))]
