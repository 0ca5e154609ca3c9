"""Who is due for a resync, under which lease, and what came of it. Columns `resync_*` of table `repo`.

A lease is nothing but a due time in the future: whoever takes a repo pushes it, and a crash leaves a
repo that comes due by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg.rows import class_row

from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("sync")


@dataclass(frozen=True, slots=True)
class Due:
    """A repo that was taken: where it stood, and at which host it is. `was`: its state before."""

    id: int
    did: Did
    pds: str
    signing_key: str
    was: str
    rev: Rev | None
    data: Cid | None
    gaps: list[dict[str, Any]] | None  # None: no gap
    tries: int

    @property
    def forked(self) -> bool:
        """Whether what we hold may be of another history than its host's."""
        return any(gap.get("forked") for gap in self.gaps or [])


class Held(NamedTuple):
    """A record that we hold, without its bytes. `cid` None: a tombstone."""

    collection: Nsid
    rkey: Rkey
    rev: Rev
    cid: Cid | None
    verified: bool


@dataclass(frozen=True, slots=True)
class Done:
    """A repo was read whole at `synced_rev`. `forked_rev`: up to there only a whole read says what is the
    repo's. `due_s` None: nothing is missing any more."""

    id: int
    rev: Rev
    data: Cid
    gaps: Sequence[Any]
    state: str
    synced_rev: Rev
    forked_rev: Rev | None
    due_s: float | None
    tries: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Returned:
    """A repo could not be read: `after` is its state unless it healed by itself, `due_s` None means that
    somebody else has to bring it back: who asks how the account stands, in `account_s` seconds."""

    repo_id: int
    after: str
    due_s: float | None
    tries: int
    error: str
    account_s: float | None = None
    ask_identity: bool = False


async def take(conn: Connection, *, limit: int, lease_s: float, busy: Collection[str]) -> list[Due]:
    """Up to `limit` due repos, except those at `busy` hosts; they are `resyncing` from now on."""
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(_SQL["take"], {"limit": limit, "lease_s": lease_s, "busy": sorted(busy)})
        return await cursor.fetchall()


async def renew(conn: Connection, repo_id: int, lease_s: float) -> None:
    await conn.execute(_SQL["renew"], {"id": repo_id, "lease_s": lease_s})


async def release(conn: Connection) -> int:
    """Make due what an earlier process had taken. Returns how many repos those were."""
    return (await conn.execute(_SQL["release"])).rowcount


async def held(
    conn: Connection, repo_ids: Iterable[int], collections: Iterable[Nsid]
) -> dict[int, list[Held]]:
    """What we hold of each of these repos, in no order."""
    ids = sorted(repo_ids)
    found: dict[int, list[Held]] = {id: [] for id in ids}
    cursor = await conn.execute(_SQL["held"], {"repo_ids": ids, "collections": sorted(collections)})
    for repo_id, *row in await cursor.fetchall():
        found[repo_id].append(Held(*row))
    return found


async def is_large(conn: Connection, repo_id: int, most: int) -> bool:
    """Whether we hold more than `most` records of a repo."""
    cursor = await conn.execute(_SQL["size"], {"repo_id": repo_id, "most": most + 1})
    row = await cursor.fetchone()
    return row is not None and row[0] > most


async def newest(conn: Connection, repo_id: int) -> Rev | None:
    """The highest rev that we heard of, proven or not."""
    row = await (await conn.execute(_SQL["newest"], {"id": repo_id})).fetchone()
    return None if row is None else row[0]


async def one_view(conn: Connection) -> None:
    """Let the rest of the transaction see one moment only, and change nothing."""
    await conn.execute(_SQL["one_view"])


async def chain(
    conn: Connection, repo_id: int
) -> tuple[Rev | None, Cid | None, list[dict[str, Any]] | None, Rev | None, Rev | None]:
    """rev, data, gaps, the rev of the last whole read, and `forked_rev`."""
    row = await (await conn.execute(_SQL["chain"], {"id": repo_id})).fetchone()
    return (None, None, None, None, None) if row is None else (row[0], row[1], row[2], row[3], row[4])


async def held_in_order(
    conn: Connection, repo_id: int, collections: Iterable[Nsid], size: int
) -> AsyncGenerator[list[Held]]:
    """What we hold of one repo in the order of its tree, in parts of `size`; needs a transaction."""
    async with conn.cursor("held_in_order") as cursor:
        params = {"repo_id": repo_id, "collections": sorted(collections)}
        await cursor.execute(_SQL["held_in_order"], params)
        while rows := await cursor.fetchmany(size):
            yield [Held(*row) for row in rows]


async def has_hearsay(conn: Connection, repo_id: int, rev: Rev) -> bool:
    """Whether we hold records above `rev` that nobody has proven."""
    cursor = await conn.execute(_SQL["has_hearsay"], {"repo_id": repo_id, "rev": rev})
    return await cursor.fetchone() == (True,)


async def done(conn: Connection, rows: Sequence[Done]) -> None:
    if rows:
        await conn.execute(_SQL["done"], {"rows": as_json(rows)})


async def put_back(conn: Connection, rows: Sequence[Returned]) -> list[tuple[Did, str, str]]:
    """Returns DID and state, before and after, of those that had not healed by themselves."""
    cursor = await conn.execute(_SQL["put_back"], {"rows": as_json(rows)})
    return [(Did(did), before, after) for did, before, after in await cursor.fetchall()]
