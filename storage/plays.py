"""Plays: who listened to what, when, each listener once in a while; and how often on each day.

Contract: `track_stat.plays` of a track is the number of its plays that counted, for ever:

    record    claim + event + counter, one statement
    roll_up   events above `upto` ─▶ play_day, and `upto` moves, one transaction
    seal      events that are rolled up and old ─▶ a file (storage.play_archive)

A play counts where the same listener's last one that counted is at least the track's length ago, not less
than LEAST_S and not more than MOST_S; UNKNOWN_S where nobody knows the length. Example, for a track of 180 s:
plays at 0, 10, 179.9, 180 and 200 s count at 0 and 180.

From one address only so many plays of a track count in that time, whoever listens there: `per_address` at
once, and then one more whenever an equal part of it is over. Who finds it full has played, and it counts
nothing.

A listener is a hash that others make (`appview.listeners`); here nobody knows of what.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from storage.postgres import Connection
from storage.queries import load

_SQL = load("plays")

LEAST_S, UNKNOWN_S, MOST_S = 30.0, 300.0, 3600.0


@dataclass(frozen=True, slots=True)
class Listener:
    """`alias`: under what the same listener comes the next time, where that is known already. `address`:
    where they listen, a hash as well; None: there any number may."""

    digest: bytes
    alias: bytes | None = None
    address: bytes | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """All plays of the track, and whose of these counted just now."""

    plays: int
    listeners: frozenset[bytes]


async def record(
    conn: Connection,
    track_id: int,
    listeners: Sequence[Listener],
    *,
    per_address: int = 0,
    at: datetime | None = None,
) -> Counted | None:
    """Plays of one track by different listeners at different addresses, now. None where the track cannot be
    seen: nothing counts. Without `per_address` none may have one."""
    params = {
        "track_id": track_id,
        "listeners": [listener.digest for listener in listeners],
        "aliases": [listener.alias for listener in listeners],
        "addresses": [listener.address for listener in listeners],
        "per_address": per_address,
        "at": at,
        "least_s": LEAST_S,
        "unknown_s": UNKNOWN_S,
        "most_s": MOST_S,
    }
    row = await (await conn.execute(_SQL["record"], params)).fetchone()
    return None if row is None else Counted(row[0], frozenset(bytes(one) for one in row[1]))


async def salt(conn: Connection, day: date) -> bytes:
    """What addresses are hashed with on this day."""
    params = {"day": day, "salt": secrets.token_bytes(32)}
    while (row := await (await conn.execute(_SQL["salt"], params)).fetchone()) is None:
        pass  # somebody else is making it at this moment
    return bytes(row[0])


async def roll_up(conn: Connection) -> int:
    """Add to the days what was played since the last time; how many that were. In transactions of its own."""
    async with conn.transaction():
        await conn.execute(_SQL["fence"])
        upto = await _number(conn, "newest", {})
    async with conn.transaction():
        await conn.execute(_SQL["roomy"])
        above = await _number(conn, "rolled_upto", {})
        if upto <= above:
            return 0
        return await _number(conn, "roll", {"above": above, "upto": upto})


async def tidy(conn: Connection) -> None:
    """Delete what is over: claims, salts, and all that was counted of tracks whose number is gone."""
    await conn.execute(_SQL["tidy"])


async def unlink(conn: Connection, listeners: Sequence[bytes]) -> None:
    """Make the plays of somebody nobody's. They stay counted."""
    await conn.execute(_SQL["unlink"], {"listeners": list(listeners)})


async def miscounted(conn: Connection) -> list[int]:
    """The numbers of tracks whose counter is not what their plays say."""
    return [row[0] for row in await (await conn.execute(_SQL["miscounted"])).fetchall()]


async def _number(conn: Connection, statement: str, params: dict[str, int]) -> int:
    row = await (await conn.execute(_SQL[statement], params)).fetchone()
    assert row is not None
    return int(row[0])
