"""Table `repo`: one row per account that we track, its identity, standing and sync state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson
from psycopg.rows import class_row

from lexicons.syntax import Cid, Did, Handle, Rev
from storage.intake import Repo
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("repos")


@dataclass(frozen=True, slots=True)
class Standing:
    """A locked row: where an account and its repo stand."""

    repo: Repo
    handle: Handle | None
    state: str
    rev: Rev | None
    data: Cid | None
    gaps: list[dict[str, Any]] | None  # None: no gap
    synced_rev: Rev | None
    forked_rev: Rev | None
    active: bool
    status: str | None
    taken_down: str | None


@dataclass(frozen=True, slots=True)
class NewRepo:
    did: Did
    pds: str | None
    signing_key: str | None


@dataclass(frozen=True, slots=True)
class SyncState:
    """`gaps` are dataclasses, stored as JSON by their fields' names."""

    id: int
    rev: Rev
    data: Cid
    gaps: Sequence[Any]
    state: str


class Claim(Protocol):
    """What a source says about an account, at `seq` of its own numbers."""

    @property
    def did(self) -> Did: ...
    @property
    def active(self) -> bool: ...
    @property
    def status(self) -> str | None: ...
    @property
    def seq(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who an account is, as far as we know; one of those that claim a handle."""

    id: int
    did: Did
    handle: Handle | None
    pds: str | None
    signing_key: str | None
    active: bool


async def tracked(conn: Connection) -> dict[Did, str | None]:
    """DID → did:key (None: not resolved yet) of every account that we track."""
    cursor = await conn.execute(_SQL["tracked"])
    return {Did(did): key for did, key in await cursor.fetchall()}


async def track(conn: Connection, repos: Sequence[NewRepo]) -> dict[Did, int]:
    """Start to track these accounts; those that we know already stay as they are, and are left out of
    the answer, which gives the new ones' numbers."""
    cursor = await conn.execute(_SQL["track"], {"rows": as_json(repos)})
    ids = {Did(did): int(id) for id, did in await cursor.fetchall()}
    profiles = [
        {"repo_id": repo_id, "card": orjson.dumps({"did": did, "handle": "handle.invalid"}).decode()[1:-1]}
        for did, repo_id in ids.items()
    ]
    if profiles:
        await conn.execute(_SQL["new_profiles"], {"rows": as_json(profiles)})
    return ids


async def lock(conn: Connection, dids: Iterable[Did]) -> dict[Did, Standing]:
    """The rows of those of `dids` that we track, locked until the transaction ends."""
    cursor = await conn.execute(_SQL["lock"], {"dids": sorted(dids)})
    return {
        did: Standing(Repo(id, did, pds, hidden, withheld or ()), *rest)
        for id, did, pds, hidden, withheld, *rest in await cursor.fetchall()
    }


async def save_sync(conn: Connection, states: Sequence[SyncState]) -> None:
    await conn.execute(_SQL["save_sync"], {"rows": as_json(states)})


async def hurry_sync(conn: Connection, ids: Sequence[int]) -> None:
    """Have these repos read now, unless that is going on."""
    await conn.execute(_SQL["hurry_sync"], {"ids": list(ids)})


async def hide(conn: Connection, repo_id: int, hidden: bool) -> bool:
    """Set what the rules say about visibility. True if it was otherwise before."""
    cursor = await conn.execute(_SQL["hide"], {"id": repo_id, "hidden": hidden})
    return await cursor.fetchone() is not None


async def take_identities(conn: Connection, *, limit: int, lease_s: float) -> dict[Did, datetime]:
    """Accounts whose identity is to be looked up now, each with its lease."""
    cursor = await conn.execute(_SQL["take_identities"], {"limit": limit, "lease_s": lease_s})
    return {Did(did): lease for did, lease in await cursor.fetchall()}


async def expire_identity(conn: Connection, dids: Iterable[Did]) -> None:
    await conn.execute(_SQL["expire_identity"], {"dids": sorted(dids)})


async def lock_claimants(conn: Connection, did: Did, handle: Handle | None) -> list[Claimant]:
    """The account and whoever has this handle, locked until the transaction ends. Must come before any
    other lock of the transaction."""
    if handle is not None:
        await conn.execute(_SQL["claim_handle"], {"handle": handle})
    async with conn.cursor(row_factory=class_row(Claimant)) as cursor:
        await cursor.execute(_SQL["lock_claimants"], {"did": did, "handle": handle})
        return await cursor.fetchall()


async def release_handle(conn: Connection, repo_id: int) -> None:
    """It has no handle that holds, until it is looked up again, which is due now."""
    await conn.execute(_SQL["release_handle"], {"id": repo_id})


async def save_identity(
    conn: Connection,
    repo_id: int,
    *,
    handle: Handle | None,
    pds: str | None,
    signing_key: str | None,
    lease: datetime | None,
    due_s: float | None = None,
) -> None:
    """Store what the DID document says; look again in `due_s` seconds, None: when told to.

    `lease` None: nobody had taken it, so its due time stays as it is.
    """
    params = {
        "id": repo_id,
        "handle": handle,
        "pds": pds,
        "signing_key": signing_key,
        "lease": lease,
        "due_s": due_s,
    }
    await conn.execute(_SQL["save_identity"], params)


async def postpone_identity(conn: Connection, did: Did, lease: datetime) -> None:
    await conn.execute(_SQL["postpone_identity"], {"did": did, "lease": lease})


async def all_ids(conn: Connection) -> list[int]:
    return [id for (id,) in await (await conn.execute(_SQL["all_ids"])).fetchall()]


async def newest(conn: Connection) -> int:
    """The highest number of an account that we track, 0 if there is none."""
    row = await (await conn.execute(_SQL["newest"])).fetchone()
    return 0 if row is None else int(row[0])


async def tracked_after(conn: Connection, id: int) -> list[tuple[int, Did]]:
    """Accounts tracked since the one with this number, oldest first, each with its own.

    The catch: of two that are tracked at once the lower number may appear second. Ask again from a
    little before the highest one seen.
    """
    cursor = await conn.execute(_SQL["tracked_after"], {"id": id})
    return [(int(id), Did(did)) for id, did in await cursor.fetchall()]


async def expire_account(conn: Connection, claims: Iterable[Claim], source: str) -> None:
    """`#account` is hearsay: note what was said, the last word counts, and have the current PDS asked
    now. A word that was noted already changes nothing."""
    said = {
        claim.did: {
            "did": claim.did,
            "claim": claim.status or ("active" if claim.active else "inactive"),
            "source": source,
            "seq": claim.seq,
        }
        for claim in claims
    }
    if said:
        await conn.execute(_SQL["expire_account"], {"rows": as_json(list(said.values()))})
