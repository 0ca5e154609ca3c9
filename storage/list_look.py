"""Table `list_look`: what people gave their lists that the lexicon has no field for: covers, descriptions,
and whether a playlist is shown with its owner's profile.

`name` is the list's rkey, or of an album that has no list its `album_id`. A row and the owner of its blob
change in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from lexicons.syntax import Did
from storage.blobs import rows
from storage.postgres import Connection
from storage.queries import load

_SQL = load("list_look")

OWNER = "list"


def owner_of(did: Did, name: str) -> str:
    """How a list is called as an owner of blobs."""
    return f"{did}/{name}"


@dataclass(frozen=True, slots=True)
class ListLook:
    did: Did
    name: str
    cover_id: int | None
    description: str | None
    on_profile: bool


async def cover(conn: Connection, did: Did, name: str, blob_id: int | None) -> None:
    """Give it another cover, or none. Raises BeingDeleted."""
    await conn.execute(_SQL["begin"], {"did": did, "name": name})
    before = await _one(conn, "get", did, name)
    await conn.execute(_SQL["cover"], {"did": did, "name": name, "cover_id": blob_id})
    if blob_id is not None:
        await rows.claim(conn, blob_id, kind=OWNER, owner=owner_of(did, name))
    if before is not None and before.cover_id not in (None, blob_id):
        await rows.release(conn, kind=OWNER, owner=owner_of(did, name), id=before.cover_id)


async def describe(conn: Connection, did: Did, name: str, description: str | None) -> None:
    await conn.execute(_SQL["describe"], {"did": did, "name": name, "description": description})


async def show(conn: Connection, did: Did, name: str, on_profile: bool) -> None:
    await conn.execute(_SQL["show"], {"did": did, "name": name, "on_profile": on_profile})


async def move(conn: Connection, did: Did, name: str, to: str) -> None:
    """What was of `name` is of `to` now; where that has a look already, that one stays."""
    look = await _one(conn, "take", did, name)
    if look is None:
        return
    params = {"did": did, "name": to, "cover_id": look.cover_id}
    params |= {"description": look.description, "on_profile": look.on_profile}
    moved = await (await conn.execute(_SQL["put"], params)).fetchone()
    if moved is not None and look.cover_id is not None:
        await rows.claim(conn, look.cover_id, kind=OWNER, owner=owner_of(did, to))
    await rows.release(conn, kind=OWNER, owner=owner_of(did, name))


async def remove(conn: Connection, did: Did, name: str) -> None:
    """The list is gone; the collector takes what nobody else has."""
    await _one(conn, "take", did, name)
    await rows.release(conn, kind=OWNER, owner=owner_of(did, name))


async def erase(conn: Connection, did: Did) -> None:
    """Everything that somebody gave their lists."""
    cursor = await conn.execute(_SQL["of"], {"did": did})
    for (name,) in await cursor.fetchall():
        await remove(conn, did, name)


async def left_behind(conn: Connection, *, age_s: float, limit: int) -> list[tuple[Did, str]]:
    """Looks of lists and albums that are not there. Locked."""
    cursor = await conn.execute(_SQL["left_behind"], {"age_s": age_s, "limit": limit})
    return [(Did(did), name) for did, name in await cursor.fetchall()]


async def _one(conn: Connection, statement: str, did: Did, name: str) -> ListLook | None:
    async with conn.cursor(row_factory=class_row(ListLook)) as cursor:
        await cursor.execute(_SQL[statement], {"did": did, "name": name})
        return await cursor.fetchone()
