"""Tracks of before: records of the collection that this service once had under another name, written again
under the one that it has now.

    read all of the old collection ─▶ leave out what was ever here ─▶ write each under its key, where none is

Contract: a track is taken along once. Saying it again, from two places at once or after a crash, changes
nothing; and what was deleted here afterwards stays deleted, because its tombstone is known. The old records
stay: they are the person's, and our grant is not about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from appview.auth.acting import Actor
from appview.media.attempt import Place
from appview.own_records import OwnRecords
from appview.records import Away, Declined, NotSignedIn, Records, Swapped
from lexicons.records import InvalidRecord, accepted
from lexicons.syntax import Nsid, Rkey
from storage import records

MAX_PAGES = 50
MAX_BYTES = 8 * 1024 * 1024  # of all records, as JSON: as objects, what a PDS says takes twenty times as much
MOST_AT_ONCE = 200  # written by one request
_MOST_ERRORS = 20


@dataclass(slots=True)
class Moved:
    """What became of the old records; `remaining` were not tried."""

    migrated: int = 0
    failed: int = 0
    remaining: int = 0
    errors: list[str] = field(default_factory=list[str])

    def fail(self, reason: str) -> None:
        self.failed += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(reason)


class Legacy:
    """Takes along what lies in the collection `old`."""

    def __init__(self, place: Place, old: Nsid) -> None:
        self.old = old
        self.new = place.catalog.collections.track
        self._place = place

    async def count(self, actor: Actor) -> tuple[int, int]:
        """How many old records there are, and how many of them are still to be taken along. Raises
        WriteFailed."""
        found = await self._all(actor)
        return len(found), len(await self._left(actor, found))

    async def move(self, actor: Actor) -> Moved:
        """Take them along, the oldest first, until all are, or the PDS is away, or it is enough for one
        request. Raises WriteFailed where they cannot be read."""
        left = await self._left(actor, await self._all(actor))
        own = OwnRecords(self._place, actor.session, actor.did, self.new)
        moved = Moved(remaining=len(left))
        for rkey in sorted(left)[:MOST_AT_ONCE]:
            moved.remaining -= 1
            try:
                record = accepted(
                    self._place.catalog, self.new, rkey, orjson.loads(left[rkey]) | {"$type": self.new}
                )
                put = await own.write(rkey, record, fresh=True)
            except Swapped:
                continue  # somebody else took it along meanwhile
            except (InvalidRecord, Declined) as error:
                moved.fail(f"{rkey}: {error}")
                continue
            except (Away, NotSignedIn) as error:
                moved.fail(f"{rkey}: {error}")
                break
            if put.write is not None:  # else the very same was there
                moved.migrated += 1
        return moved

    async def _all(self, actor: Actor) -> dict[Rkey, bytes]:
        """As JSON."""
        theirs = Records(self._place.pds, actor.session, actor.did)
        found: dict[Rkey, bytes] = {}
        size, cursor = 0, None
        for _ in range(MAX_PAGES):
            page, cursor = await theirs.page(self.old, cursor)
            try:
                read = {rkey: orjson.dumps(record) for rkey, record in page.items()}
            except orjson.JSONEncodeError as error:
                raise Declined("the PDS lists a record that is too deep") from error
            found |= read
            size += sum(map(len, read.values()))
            if size > MAX_BYTES:
                raise Declined("the PDS lists more than is taken along")
            if cursor is None:
                return found
        raise Declined("the PDS lists records without an end")

    async def _left(self, actor: Actor, found: dict[Rkey, bytes]) -> dict[Rkey, bytes]:
        async with self._place.pool.connection() as conn:
            known = await records.known_keys(conn, actor.did, self.new, found)
        return {rkey: record for rkey, record in found.items() if rkey not in known}
