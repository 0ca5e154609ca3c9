"""Developer tokens: sessions of programs, each with a grant of its own, named by their first characters."""

from __future__ import annotations

from appview.auth import secret
from appview.auth.sessions import Sessions
from lexicons.syntax import Did
from storage import audit, sessions
from storage.audit import Event
from storage.postgres import Pool
from storage.sessions import End, Token

DEFAULT_DAYS, MAX_DAYS = 90, 365
MAX_NAME = 100


class BadToken(Exception):
    """What was asked for cannot be; the text says why."""


class NoSuchToken(BadToken):
    """No token begins like this."""


def life_days(wished: int | None) -> int | None:
    """How long a token shall live; None: for ever. Raises BadToken."""
    if wished is None:
        return DEFAULT_DAYS
    if wished > MAX_DAYS:
        raise BadToken(f"expires_in_days cannot exceed {MAX_DAYS} (use 0 for no expiration)")
    if wished < 0:
        raise BadToken("expires_in_days cannot be negative (use 0 for no expiration)")
    return wished or None


def chosen(tokens: list[Token], prefix: str) -> Token:
    """The one that begins like this. Raises NoSuchToken, BadToken. The catch: more than the first eight
    characters nobody can compare, so what follows them is not looked at."""
    start = prefix[: secret.PREFIX]
    found = [token for token in tokens if start and token.prefix.startswith(start)]
    if not found:
        raise NoSuchToken("token not found")
    if len(found) > 1:
        raise BadToken("ambiguous prefix - provide more characters")
    return found[0]


async def revoke(pool: Pool, signed_in: Sessions, did: Did, prefix: str, client: str | None) -> None:
    """End one of this account's tokens. Raises NoSuchToken, BadToken."""
    async with pool.connection() as conn, conn.transaction():
        token = chosen(await sessions.tokens(conn, did), prefix)
        if not await signed_in.end(conn, [token.id], End.REVOKED):
            raise NoSuchToken("token not found")
        await audit.add(
            conn, Event.TOKEN_REVOKED, did=did, session=token.id, client=client, prefix=token.prefix
        )
