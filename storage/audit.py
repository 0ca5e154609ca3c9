"""Table `audit_event`: what happened to people's access. Never a secret, only names, reasons and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from storage.postgres import Connection
from storage.queries import load

_SQL = load("audit")


class Event(StrEnum):
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    ACCOUNT_LINKED = "account_linked"
    ACCOUNT_SWITCHED = "account_switched"
    SCOPE_UPGRADED = "scope_upgraded"
    SIGNED_OUT = "signed_out"
    SESSION_ENDED = "session_ended"  # not by the person: the grant is gone
    SESSIONS_ENDED = "sessions_ended"  # all of an account's, by the operator
    TOKEN_CREATED = "token_created"
    TOKEN_REVOKED = "token_revoked"
    TOKEN_MINTED = "token_minted"
    DELETION_REQUESTED = "deletion_requested"
    ACCOUNT_DELETED = "account_deleted"  # nobody's any more: only that it happened
    KEYS_ROTATED = "keys_rotated"
    KEYS_FORGOTTEN = "keys_forgotten"


@dataclass(frozen=True, slots=True)
class Noted:
    id: int
    at: datetime
    event: str
    did: str | None
    session: int | None
    client: str | None
    detail: Mapping[str, Any]


async def add(
    conn: Connection,
    event: Event,
    *,
    did: str | None = None,
    session: int | None = None,
    client: str | None = None,
    **detail: str | int | None,
) -> None:
    """Write down an event; `client` is the address that it came from, or who else did it."""
    params = {"event": event, "did": did, "session": session, "client": client, "detail": Jsonb(detail)}
    await conn.execute(_SQL["add"], params)


async def listed(
    conn: Connection, *, did: str | None = None, before: int | None = None, limit: int
) -> list[Noted]:
    """Newest first; the next page is `before` the last one's id."""
    async with conn.cursor(row_factory=class_row(Noted)) as cursor:
        await cursor.execute(_SQL["listed"], {"did": did, "before": before, "limit": limit})
        return await cursor.fetchall()


async def prune(conn: Connection) -> int:
    return (await conn.execute(_SQL["prune"])).rowcount
