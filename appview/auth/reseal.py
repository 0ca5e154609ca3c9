"""Everything that is sealed, sealed anew: after a new key came onto the ring, or before an old one leaves
it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from appview.auth.keyring import KeyRing
from storage import sealed
from storage.postgres import Connection

_MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Resealed:
    """`stuck`: secrets that no key of the ring opens."""

    count: int
    stuck: int


async def count_by_key(conn: Connection, ring: KeyRing) -> Counter[str | None]:
    """How much each key seals, by its name; None: what no key opens."""
    counts: Counter[str | None] = Counter()
    async for one in sealed.every(conn):
        counts[ring.sealed_by(one.secret)] += 1
    return counts


async def count(conn: Connection) -> int:
    """How many secrets are sealed, with whatever key."""
    return len([one async for one in sealed.every(conn)])


async def reseal(conn: Connection, ring: KeyRing) -> Resealed:
    """Seal with the first key what another one sealed. Servers may run: what they change meanwhile is looked
    at in another round, until a round finds nothing."""
    count = stuck = 0
    for _ in range(_MOST_ROUNDS):
        stuck = changed = 0
        async for one in sealed.every(conn):
            name = ring.sealed_by(one.secret)
            if name is None:
                stuck += 1
            elif name != ring.names[0]:
                changed += 1
                count += await sealed.put(conn, one, ring.seal(ring.open(one.secret)))
        if not changed:
            break
    return Resealed(count, stuck)
