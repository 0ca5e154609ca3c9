"""Table `used_token`: ids of service tokens that were seen, each good once, until the token expires."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson

from lexicons.syntax import Did, Rev
from storage.queries import load
from storage.reader import Reads, Rows

_SQL = load("used_tokens")

STATEMENTS = {f"used_token_{name}": statement for name, statement in _SQL.items()}


@dataclass(frozen=True, slots=True)
class Spent:
    """`first`: nobody used the token before, in whichever process. `rev`: how far its issuer's history is
    here. The catch: a first use may look like a second one if the database went away under it.
    """

    first: bool
    rev: Rev | None


class Spending:
    """Uses tokens up. Those that come in one turn of the event loop are written by one statement: under load
    several share its cost."""

    def __init__(self, writes: Reads) -> None:
        self._writes = writes
        self._given: list[tuple[str, str, float]] = []
        self._written: asyncio.Task[Rows] | None = None

    async def spend(self, issuer: Did, jti: str, expires_at: float) -> Spent:
        """Use a token up; it expires at so many seconds since 1970. Raises what storage.reader raises."""
        if self._written is None:
            self._written = asyncio.create_task(self._write())
        place, written = len(self._given), self._written
        self._given.append((issuer, jti, expires_at))
        # Whoever stops waiting does not stop the others.
        rows = await asyncio.shield(written)
        rev = rows.cell(place, 1)
        return Spent(rows.cell(place, 0) == b"t", None if rev is None else Rev(rev.decode()))

    async def _write(self) -> Rows:
        given, self._given, self._written = self._given, [], None
        return await self._writes.fetch("used_token_spend", orjson.dumps(given))


async def sweep(writes: Reads) -> int:
    """Forget ids of tokens that have expired, some thousands at most; how many that were."""
    return (await writes.fetch("used_token_sweep")).count
