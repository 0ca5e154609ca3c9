"""Table `session`: a grant, and who holds its key. Only hashes of keys are here, and credentials only sealed.

A session goes one way: made, given (it has a key), ended. `version` counts its credentials; who wants to
replace those takes the lease, which one can have at a time and which ends with whoever has it: at once where
that can be seen (storage/processes.py), else when it has run out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.rows import class_row

from lexicons.syntax import Did
from storage import processes
from storage.postgres import Connection
from storage.queries import load

_SQL = load("sessions")
SLIDE_S = 14 * 86400.0


class Kind(StrEnum):
    BROWSER = "browser"
    TOKEN = "token"  # a program with a developer token, and a grant of its own
    MINTED = "minted"  # made on this machine, without any grant


class End(StrEnum):
    """Why a session ended."""

    SIGNED_OUT = "signed_out"
    REVOKED = "revoked"  # a developer token, by its owner
    REPLACED = "replaced"  # the same account signed in again in the same browser, or got more rights
    EXPIRED = "expired"
    NEVER_FETCHED = "never_fetched"  # nobody came for it
    GRANT_GONE = "grant_gone"  # the authorization server does not know the grant any more
    REFUSED = "refused"  # somebody else came back than had set out
    DELETED = "deleted"  # the account asked to be forgotten
    OPERATOR = "operator"  # who runs this service ended it
    REFRESH_LOST = "refresh_lost"  # the same, after a refresh whose answer we did not live to save


@dataclass(frozen=True, slots=True)
class NewSession:
    """`life_s` None: for ever. `browser`: of the session beside which it is, None: a browser of its own."""

    kind: Kind
    did: Did
    handle: str | None
    scope: str
    issuer: str | None
    credentials: bytes | None
    life_s: float | None
    browser: int | None = None
    name: str | None = None
    token_hash: bytes | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One of the accounts of a browser."""

    id: int
    did: Did
    handle: str | None
    avatar: str | None


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    prefix: str
    name: str | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Given:
    kind: str
    did: Did
    browser: int


@dataclass(frozen=True, slots=True)
class Wisher:
    did: Did
    browser: int


@dataclass(frozen=True, slots=True)
class Held:
    """`credentials` None: none were granted, or they were given back."""

    credentials: bytes | None
    version: int
    ended: bool
    end_reason: str | None


@dataclass(frozen=True, slots=True)
class Lease:
    """`lapsed`: the one before was never finished."""

    credentials: bytes
    lease_until: datetime
    lapsed: bool


@dataclass(frozen=True, slots=True)
class Due:
    """`late`: it was tried for a day."""

    id: int
    credentials: bytes
    version: int
    late: bool


async def add(conn: Connection, new: NewSession) -> int:
    params = {name: getattr(new, name) for name in NewSession.__slots__}
    row = await (await conn.execute(_SQL["add"], params)).fetchone()
    assert row is not None
    return row[0]


async def give(conn: Connection, id: int, token_hash: bytes, prefix: str) -> Given | None:
    """Give it a key, and time; None if it has ended."""
    async with conn.cursor(row_factory=class_row(Given)) as cursor:
        params = {"id": id, "token_hash": token_hash, "prefix": prefix, "slide_s": SLIDE_S}
        await cursor.execute(_SQL["give"], params)
        return await cursor.fetchone()


async def grants(conn: Connection, did: Did, session: int | None) -> list[tuple[int, str]]:
    """Sessions with which something can be done at the account's PDS, and their scopes, the newest first; of
    one session alone, where that is given."""
    return await (await conn.execute(_SQL["grants"], {"did": did, "session": session})).fetchall()


async def wisher(conn: Connection, id: int) -> Wisher | None:
    async with conn.cursor(row_factory=class_row(Wisher)) as cursor:
        await cursor.execute(_SQL["wisher"], {"id": id})
        return await cursor.fetchone()


async def linked(conn: Connection, browser: int) -> list[Account]:
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(_SQL["linked"], {"browser": browser})
        return await cursor.fetchall()


async def of_browser(conn: Connection, browser: int) -> list[int]:
    return [row[0] for row in await (await conn.execute(_SQL["of_browser"], {"browser": browser})).fetchall()]


async def browsers_of(conn: Connection, dids: Sequence[Did]) -> list[int]:
    """Sessions of these accounts in any browser."""
    return [
        row[0] for row in await (await conn.execute(_SQL["browsers_of"], {"dids": list(dids)})).fetchall()
    ]


async def of_account(conn: Connection, did: Did) -> list[int]:
    """Sessions and tokens of every kind that are open."""
    return [row[0] for row in await (await conn.execute(_SQL["of_account"], {"did": did})).fetchall()]


async def tokens(conn: Connection, did: Did) -> list[Token]:
    async with conn.cursor(row_factory=class_row(Token)) as cursor:
        await cursor.execute(_SQL["tokens"], {"did": did})
        return await cursor.fetchall()


async def end(conn: Connection, ids: Sequence[int], reason: End) -> int:
    """How many of them had not ended before."""
    return (await conn.execute(_SQL["end"], {"ids": list(ids), "reason": reason})).rowcount


async def end_late(conn: Connection) -> int:
    """End what nobody used or fetched in time."""
    return (await conn.execute(_SQL["end_late"])).rowcount


async def touch(conn: Connection, ids: Sequence[int]) -> int:
    return (await conn.execute(_SQL["touch"], {"ids": list(ids), "slide_s": SLIDE_S})).rowcount


async def read(conn: Connection, id: int) -> Held | None:
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(_SQL["read"], {"id": id})
        return await cursor.fetchone()


async def lease(conn: Connection, id: int, version: int, *, lease_s: float) -> Lease | None:
    """The right to replace the credentials of this version, for `lease_s`. None: somebody else has it, or
    they are of another version by now."""
    async with conn.cursor(row_factory=class_row(Lease)) as cursor:
        params = {"id": id, "version": version, "lease_s": lease_s}
        await cursor.execute(_SQL["lease"], params | await _leasing(conn, [id]))
        return await cursor.fetchone()


async def save(conn: Connection, id: int, version: int, credentials: bytes) -> bool:
    """Put these in the place of those of `version`. False: somebody else did so first."""
    params = {"id": id, "version": version, "credentials": credentials}
    return (await conn.execute(_SQL["save"], params)).rowcount == 1


async def idle(conn: Connection, *, idle_s: float, limit: int) -> list[tuple[int, int]]:
    """Sessions, and versions of their credentials, that were not refreshed for `idle_s`."""
    return await (await conn.execute(_SQL["idle"], {"idle_s": idle_s, "limit": limit})).fetchall()


async def keep(conn: Connection, id: int, version: int, credentials: bytes) -> None:
    await conn.execute(_SQL["keep"], {"id": id, "version": version, "credentials": credentials})


async def release(conn: Connection, id: int, version: int, lease_until: datetime) -> None:
    await conn.execute(_SQL["release"], {"id": id, "version": version, "lease_until": lease_until})


async def lose(conn: Connection, id: int, version: int, reason: End) -> Did | None:
    """End a session whose grant is gone. None: its credentials are of another version by now, or it had
    ended."""
    params = {"id": id, "version": version, "reason": reason}
    row = await (await conn.execute(_SQL["lose"], params)).fetchone()
    return None if row is None else Did(row[0])


async def take_ended(conn: Connection, ids: Sequence[int] | None, *, limit: int, lease_s: float) -> list[Due]:
    """Ended sessions, of these or of all, whose grant is still to be given back; under a lease."""
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        chosen = None if ids is None else list(ids)
        params = {"ids": chosen, "limit": limit, "lease_s": lease_s}
        await cursor.execute(_SQL["take_ended"], params | await _leasing(conn, chosen))
        return await cursor.fetchall()


async def forget(conn: Connection, id: int, version: int) -> None:
    await conn.execute(_SQL["forget"], {"id": id, "version": version})


async def is_artist(conn: Connection, did: Did) -> bool:
    row = await (await conn.execute(_SQL["is_artist"], {"did": did})).fetchone()
    return row is not None and row[0]


async def _leasing(conn: Connection, ids: list[int] | None) -> dict[str, object]:
    """Who takes a lease on these, or on any, and who has one no more."""
    rows = await (await conn.execute(_SQL["holders"], {"ids": ids})).fetchall()
    return {"holder": processes.own(), "gone": processes.gone(name for (name,) in rows)}


async def prune(conn: Connection) -> int:
    return (await conn.execute(_SQL["prune"])).rowcount
