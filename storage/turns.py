"""Table `write_turn`: whose turn it is to change one thing on one person's PDS, over all processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from lexicons.syntax import Did, Rkey
from storage.postgres import Connection
from storage.queries import load

_SQL = load("turns")


@dataclass(frozen=True, slots=True)
class Held:
    """A turn, and the lease by which it is held. `rkey`: the key that was asked for, or that of an earlier
    turn of which nobody knows what it wrote."""

    did: Did
    what: str
    rkey: Rkey | None
    held_until: datetime


async def take(conn: Connection, did: Did, what: str, rkey: Rkey | None, *, lease_s: float) -> Held | None:
    """None: somebody else has it. Whoever had it has it no more once their connection is gone."""
    params = {"did": did, "what": what, "rkey": rkey, "lease_s": lease_s}
    row = await (await conn.execute(_SQL["take"], params)).fetchone()
    return None if row is None else Held(did, what, row[0], row[1])


async def end(conn: Connection, held: Held) -> None:
    """The next one finds nothing of it."""
    await conn.execute(_SQL["end"], asdict(held))


async def leave(conn: Connection, held: Held) -> None:
    """The next one finds its key."""
    await conn.execute(_SQL["leave"], asdict(held))


async def tidy(conn: Connection) -> None:
    await conn.execute(_SQL["tidy"])


async def erase(conn: Connection, did: Did) -> None:
    await conn.execute(_SQL["erase"], {"did": did})
