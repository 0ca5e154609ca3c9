"""What people say about tracks: who likes one, which comments it has and has room for, and table
`comment_claim`, the comments that are on their way to a PDS."""

from __future__ import annotations

from dataclasses import dataclass

from lexicons.syntax import AtUri, Cid, Did, Rkey
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Cell, Reads, Rows

_SQL = load("remarks")

STATEMENTS = {f"remarks_{name}": _SQL[name] for name in ("artist", "shown", "comment_at")}

# its number, its card, its author's card
CommentRow = tuple[Cell, Cell, Cell]


@dataclass(frozen=True, slots=True)
class Subject:
    """A track by its number. `cid` and `artist` None: it cannot be seen, or is gone; `lost`: what we made of
    it is here, and its record is not."""

    uri: AtUri
    cid: Cid | None
    artist: Did | None
    lost: bool


async def subject(conn: Connection, track_id: int) -> Subject | None:
    """None: nobody ever spoke of it."""
    row = await (await conn.execute(_SQL["subject"], {"id": track_id})).fetchone()
    return None if row is None else Subject(*row)


async def likes(conn: Connection, did: Did, track_id: int) -> list[Rkey]:
    """The keys of somebody's likes of a track."""
    params = {"did": did, "track_id": track_id}
    return [Rkey(row[0]) for row in await (await conn.execute(_SQL["likes"], params)).fetchall()]


async def author(conn: Connection, comment_id: int) -> tuple[Did, Rkey] | None:
    """Who wrote this comment, and its key."""
    row = await (await conn.execute(_SQL["author"], {"id": comment_id})).fetchone()
    return None if row is None else (Did(row[0]), Rkey(row[1]))


async def claim(conn: Connection, did: Did, rkey: Rkey, track_id: int, *, most: int, lease_s: float) -> bool:
    """Whether there is room for one more comment on a track, in a transaction of its own; the place is held
    until it is given back or the lease is over."""
    params = {"did": did, "rkey": rkey, "track_id": track_id, "most": most, "lease_s": lease_s}
    async with conn.transaction():
        for statement in ("lock", "expire"):
            await conn.execute(_SQL[statement], params)
        return await (await conn.execute(_SQL["claim"], params)).fetchone() is not None


async def give_back(conn: Connection, did: Did, rkey: Rkey) -> None:
    await conn.execute(_SQL["give_back"], {"did": did, "rkey": rkey})


async def tidy(conn: Connection) -> None:
    await conn.execute(_SQL["tidy"])


async def erase(conn: Connection, did: Did) -> None:
    await conn.execute(_SQL["erase"], {"did": did})


async def artist(reads: Reads, track_id: int) -> tuple[Did, int] | None:
    """Whose track this is, if it can be seen, and how many comments it has."""
    rows = await reads.fetch("remarks_artist", b"%d" % track_id)
    return (Did((rows.cell(0, 0) or b"").decode()), int(rows.cell(0, 1) or 0)) if rows.count else None


async def shown(reads: Reads, track_id: int, limit: int) -> list[CommentRow]:
    """The comments on a track in the order of their moments."""
    return _comments(await reads.fetch("remarks_shown", b"%d" % track_id, b"%d" % limit))


async def comment_at(reads: Reads, did: Did, rkey: Rkey) -> CommentRow | None:
    """Somebody's comment under this key."""
    found = _comments(await reads.fetch("remarks_comment_at", did.encode(), rkey.encode()))
    return found[0] if found else None


def _comments(rows: Rows) -> list[CommentRow]:
    return [(rows.cell(i, 0), rows.cell(i, 1), rows.cell(i, 2)) for i in range(rows.count)]
