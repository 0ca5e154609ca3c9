"""Reads of accounts as artists. Every account that we track is one; a hidden one is not found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lexicons.syntax import Nsid, Rev
from storage.feed import text_array
from storage.people import normal
from storage.queries import load
from storage.reader import Cell, Reads

STATEMENTS = {f"artists_{name}": sql for name, sql in load("artists").items()}


@dataclass(frozen=True, slots=True)
class ArtistRow:
    """`card` is of the profile; times are Postgres' text in UTC. `created_at`: of the profile record, None
    without one, or without a date in it; `rev`: that wrote it, None without one."""

    did: str
    card: bytes
    bio: Cell
    created_at: Cell
    first_seen_at: bytes
    rev: Rev | None
    show_liked: bool
    support_url: Cell


async def of(reads: Reads, names: Sequence[str], collection: Nsid) -> list[ArtistRow]:
    """The accounts with these DIDs or handles that can be shown, in their order, each once. `collection` is
    that of their profile record."""
    rows = await reads.fetch("artists_of", text_array([normal(name) for name in names]), collection.encode())
    found: list[ArtistRow] = []
    for i in range(rows.count):
        did, card, bio, created_at, first_seen_at, rev, show, url = (rows.cell(i, n) for n in range(8))
        found.append(
            ArtistRow(
                did=(did or b"").decode(),
                card=card or b"",
                bio=bio,
                created_at=created_at,
                first_seen_at=first_seen_at or b"",
                rev=None if rev is None else Rev(rev.decode()),
                show_liked=show == b"t",
                support_url=url,
            )
        )
    return found
