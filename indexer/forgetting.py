"""Forgetting an account because it asked for that: not hiding, as a takedown does, and no tombstones.

    out of sight ─▶ all rows deleted, its DID's hash remembered ─▶ (a moment) ─▶ numbers, outbox, files, dumps

The hash closes the one door by which accounts come in (`repos.track`), so that nothing here learns of it
again, whatever its repo goes on saying; other processes hear of that within a second or so, hence the
moment. Signing in opens the door.

Where nobody points at its tracks any more, nothing names the account when all is done. What others wrote is
theirs: a like of one of its tracks still says the track's URI.
"""

from __future__ import annotations

from pathlib import Path

from indexer.standing import OURSELVES, show
from lexicons.syntax import Did
from storage import decisions, forgotten, outbox, repos, wiping
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.repos import NewRepo

DELETED_HERE = "deleted_here"
SETTLE_S = 10.0  # until every process knows


async def forget(conn: Connection, did: Did, *, came_back: bool) -> int:
    """Delete all rows of an account and keep it out, unless it `came_back` meanwhile: then it begins anew.
    Returns the seq up to which what happened is about it as it was. Must be the last thing that the
    caller's transaction does."""
    standing = (await repos.lock(conn, [did])).get(did)
    if standing is not None:
        await show(conn, standing, active=standing.active, taken_down=DELETED_HERE)
        await forgotten.erase(conn, standing.repo.id)
    await forgotten.erase_story(conn, did)
    detail = {"hash": forgotten.hashed(did).hex()}
    entries = [Entry(Kind.FORGOTTEN, OURSELVES, did=did, detail=detail)]
    if came_back:
        entries += await _begin(conn, did)
    else:
        await forgotten.add(conn, did)
    await outbox.append(conn, entries)
    _, head = await outbox.bounds(conn)
    return head - len(entries) + 1


async def let_back(conn: Connection, did: Did) -> bool:
    """Whoever signs in may be known here again, and is read from their PDS. False: they were not forgotten.
    The caller's transaction ends with this."""
    if not await forgotten.lift(conn, did):
        return False
    await outbox.append(conn, await _begin(conn, did))
    return True


async def _begin(conn: Connection, did: Did) -> list[Entry]:
    """Track the account as if it was never here."""
    why = "it signed in after it had asked to be forgotten"
    ids = await repos.track(conn, [NewRepo(did, None, None)])
    if did not in ids:  # somebody was quicker
        return []
    await decisions.add(conn, [Decision(did, "discovery", "tracked", why, OURSELVES)])
    detail = {"id": ids[did], "pds": None, "signing_key": None}
    return [
        Entry(Kind.REPO, OURSELVES, did=did, detail=detail),
        Entry(Kind.TAKEDOWN, OURSELVES, did=did, verdict="up", reason=why),
    ]


async def wipe(conn: Connection, did: Did, upto: int, *, archive: Path, dumps: Path) -> None:
    """Take the account out of what happened: of all of it, or up to a seq if it is back. Doing it again does
    no harm. Raises NamesBusy, BrokenSegment, OSError: try again later."""
    if await forgotten.has(conn, did):
        upto = wiping.EVERYTHING
        await forgotten.erase_story(conn, did)  # what came in during the moment
    await forgotten.erase_names(conn, did)
    await wiping.wipe_outbox(conn, did, upto)
    await wiping.wipe_archive(conn, archive, did, upto)
    await wiping.wipe_dumps(conn, dumps, did)
