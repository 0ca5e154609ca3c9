"""Table `forgotten`, and all that the index's tables hold of one account: to be deleted, not hidden.

Whom we were asked to forget is known by the sha-256 of the DID alone: enough to recognise them when they
come by, and to nobody the name of anybody.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from psycopg.errors import LockNotAvailable

from lexicons.syntax import Did
from storage.postgres import Connection
from storage.queries import load

_SQL = load("forgotten")

Version = tuple[int, datetime]


class NamesBusy(Exception):
    """Somebody is writing for longer than we let others wait for us; again later."""


class Left(Exception):
    """The account is being deleted, or was: nothing is kept of it any more."""


def hashed(did: str) -> bytes:
    return hashlib.sha256(did.encode()).digest()


async def add(conn: Connection, did: Did) -> None:
    await conn.execute(_SQL["add"], {"did_hash": hashed(did)})


async def lift(conn: Connection, did: Did) -> bool:
    """They may be taken in again. False: they never were forgotten."""
    return await (await conn.execute(_SQL["lift"], {"did_hash": hashed(did)})).fetchone() is not None


async def has(conn: Connection, did: Did) -> bool:
    row = await (await conn.execute(_SQL["has"], {"did_hash": hashed(did)})).fetchone()
    return row is not None and row[0]


async def expect_stays(conn: Connection, did: Did) -> None:
    """Raises Left."""
    row = await (await conn.execute(_SQL["left"], {"did": did, "did_hash": hashed(did)})).fetchone()
    if row is not None and row[0]:
        raise Left


async def version(conn: Connection) -> Version:
    """Another one whenever `hashes` gives something else."""
    row = await (await conn.execute(_SQL["version"])).fetchone()
    assert row is not None
    return row[0], row[1]


async def hashes(conn: Connection) -> set[bytes]:
    return {bytes(row[0]) for row in await (await conn.execute(_SQL["all"])).fetchall()}


async def erase(conn: Connection, repo_id: int) -> None:
    """Delete every row of an account. The caller has locked it and put it out of sight."""
    await conn.execute(_SQL["erase"], {"repo_id": repo_id})


async def erase_story(conn: Connection, did: Did) -> None:
    """Delete what was decided about it, its events that were set aside, its scans, what it answered to
    claimants, which of its pictures are sensitive, its unfinished uploads."""
    await conn.execute(_SQL["erase_story"], {"did": did})


async def erase_names(conn: Connection, did: Did) -> int:
    """Delete the numbers of its tracks that nobody points at; how many. In a transaction of its own. Raises
    NamesBusy."""
    async with conn.transaction():
        try:
            await conn.execute(_SQL["lock_names"])
        except LockNotAvailable as error:
            raise NamesBusy(str(error).strip()) from None
        row = await (await conn.execute(_SQL["names"], {"did": did})).fetchone()
    assert row is not None
    return row[0]


async def kept_names(conn: Connection, did: Did) -> list[int]:
    """The numbers of its tracks that stay, since records of others point there."""
    return [row[0] for row in await (await conn.execute(_SQL["kept_names"], {"did": did})).fetchall()]
