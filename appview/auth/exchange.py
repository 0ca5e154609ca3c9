"""Exchange tokens: how a session gets from the callback to the frontend without being in an address.

What the address holds is good once, for a minute, and in a browser only where the flow began: somebody else's
token, sent to a person as a link, signs nobody in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appview.auth import secret
from appview.auth.secret import Key
from appview.auth.sessions import Sessions
from storage import exchange
from storage.postgres import Connection, Pool
from storage.sessions import Given

LIFE_S = 60.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A session in the hands of its holder."""

    given: Given
    key: Key = field(repr=False)


async def issue(conn: Connection, session_id: int, browser_hash: bytes | None) -> str:
    """A token that can be turned into the session."""
    token = secret.fresh()
    await exchange.add(conn, secret.hashed(token), session_id, browser_hash, life_s=LIFE_S)
    return token


async def redeem(
    pool: Pool, sessions: Sessions, token: str, browser: str | None, *, in_browser: bool
) -> Fetched | None:
    """The session, with a key that nobody had before. None: never issued, used, too late, or brought by
    another browser than the flow's. Whatever comes of it, the token is used up."""
    async with pool.connection() as conn, conn.transaction():
        used = await exchange.use(conn, secret.hashed(token))
        if used is None:
            return None
        bound = in_browser and used.browser_hash is not None
        if bound and secret.hashed(browser or "") != used.browser_hash:
            return None
        given = await sessions.give(conn, used.session_id)
        return None if given is None else Fetched(given[1], given[0])
