"""Table `oauth_flow`: people on their way to their authorization server and back. Each can be read once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from psycopg.rows import class_row

from storage.postgres import Connection
from storage.queries import load

_SQL = load("flows")


class FlowKind(StrEnum):
    """What shall come of it."""

    SIGN_IN = "sign_in"
    LINK = "link"  # one more account in the same browser
    TOKEN = "token"  # a developer token
    SCOPE = "scope"  # the same account, with more rights


@dataclass(frozen=True, slots=True)
class NewFlow:
    state_hash: bytes
    kind: FlowKind
    secret: bytes
    browser_hash: bytes | None
    session_id: int | None = None
    token_name: str | None = None
    token_days: int | None = None
    return_to: str | None = None


@dataclass(frozen=True, slots=True)
class TakenFlow:
    kind: str
    browser_hash: bytes | None
    session_id: int | None
    secret: bytes
    token_name: str | None
    token_days: int | None
    return_to: str | None
    expired: bool


async def add(conn: Connection, flow: NewFlow, *, life_s: float) -> None:
    params = {name: getattr(flow, name) for name in NewFlow.__slots__}
    await conn.execute(_SQL["add"], params | {"life_s": life_s})


async def take(conn: Connection, state_hash: bytes) -> TakenFlow | None:
    """The flow with this state, for the first and only time."""
    async with conn.cursor(row_factory=class_row(TakenFlow)) as cursor:
        await cursor.execute(_SQL["take"], {"state_hash": state_hash})
        return await cursor.fetchone()


async def prune(conn: Connection) -> int:
    return (await conn.execute(_SQL["prune"])).rowcount
