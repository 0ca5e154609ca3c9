"""Table `repo`: one row per account that we track, its identity, standing and sync state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from psycopg.rows import class_row

from lexicons.syntax import Cid, Did, Handle, Rev
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("repos")


@dataclass(frozen=True, slots=True)
class Repo:
    """A locked row: what `indexer` needs to decide about an account."""

    id: int
    did: Did
    handle: Handle | None
    pds: str | None
    rev: Rev | None
    data: Cid | None
    gaps: list[dict[str, Any]] | None  # None: no gap
    active: bool
    status: str | None
    account_source: str | None
    account_seq: int | None
    hidden: bool


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


async def tracked(conn: Connection) -> dict[Did, str | None]:
    """DID → did:key (None: not resolved yet) of every account that we track."""
    cursor = await conn.execute(_SQL["tracked"])
    return {Did(did): key for did, key in await cursor.fetchall()}


async def track(conn: Connection, repos: Sequence[NewRepo]) -> None:
    """Start to track these accounts; those that we know already stay as they are."""
    cursor = await conn.execute(_SQL["track"], {"rows": as_json(repos)})
    profiles = [
        {"repo_id": repo_id, "card": orjson.dumps({"did": did, "handle": "handle.invalid"}).decode()[1:-1]}
        for repo_id, did in await cursor.fetchall()
    ]
    if profiles:
        await conn.execute(_SQL["new_profiles"], {"rows": as_json(profiles)})


async def lock(conn: Connection, dids: Iterable[Did]) -> dict[Did, Repo]:
    """The rows of those of `dids` that we track, locked until the transaction ends."""
    async with conn.cursor(row_factory=class_row(Repo)) as cursor:
        await cursor.execute(_SQL["lock"], {"dids": sorted(dids)})
        return {repo.did: repo for repo in await cursor.fetchall()}


async def save_sync(conn: Connection, states: Sequence[SyncState]) -> None:
    await conn.execute(_SQL["save_sync"], {"rows": as_json(states)})


async def save_account(
    conn: Connection, repo_id: int, *, active: bool, status: str | None, source: str, seq: int
) -> None:
    params = {"id": repo_id, "active": active, "status": status, "source": source, "seq": seq}
    await conn.execute(_SQL["save_account"], params)


async def hide(conn: Connection, repo_id: int, hidden: bool) -> bool:
    """Set what the rules say about visibility. True if it was otherwise before."""
    cursor = await conn.execute(_SQL["hide"], {"id": repo_id, "hidden": hidden})
    return await cursor.fetchone() is not None


async def identity_due(conn: Connection, limit: int) -> list[Did]:
    cursor = await conn.execute(_SQL["identity_due"], {"limit": limit})
    return [Did(did) for (did,) in await cursor.fetchall()]


async def expire_identity(conn: Connection, dids: Iterable[Did]) -> None:
    await conn.execute(_SQL["expire_identity"], {"dids": sorted(dids)})


async def save_identity(
    conn: Connection,
    did: Did,
    *,
    handle: Handle | None,
    pds: str | None,
    signing_key: str | None,
    due_s: float | None = None,
) -> list[int]:
    """Store what the DID document says; look again in `due_s` seconds, None: when told to.

    Returns the repos whose looks that changes: this one, and whoever had the same handle until now.
    Empty if we don't track the DID.
    """
    changed: list[int] = []
    if handle is not None:
        cursor = await conn.execute(_SQL["release_handle"], {"handle": handle, "did": did})
        changed += [repo_id for (repo_id,) in await cursor.fetchall()]
    params = {"did": did, "handle": handle, "pds": pds, "signing_key": signing_key, "due_s": due_s}
    cursor = await conn.execute(_SQL["save_identity"], params)
    return changed + [repo_id for (repo_id,) in await cursor.fetchall()]


async def postpone_identity(conn: Connection, did: Did) -> None:
    await conn.execute(_SQL["postpone_identity"], {"did": did})


async def all_ids(conn: Connection) -> list[int]:
    return [id for (id,) in await (await conn.execute(_SQL["all_ids"])).fetchall()]


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


async def expire_checks(conn: Connection) -> None:
    """Events were lost: what we hold of everybody is to be compared with their PDS soon (rule A7)."""
    await conn.execute(_SQL["expire_checks"])
