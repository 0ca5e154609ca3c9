"""Table `used_token`: ids of service tokens that were seen, each good once, until the token expires."""

from __future__ import annotations

from lexicons.syntax import Did, Rev
from storage.queries import load
from storage.reader import Question, Reads, Rows

_SQL = load("used_tokens")

STATEMENTS = {f"used_token_{name}": statement for name, statement in _SQL.items()}


def spending(issuer: Did, jti: str, expires_at: float) -> Question:
    """What uses up a token that expires at so many seconds since 1970. `spent` reads the answer."""
    return "used_token_spend", (issuer.encode(), jti.encode(), str(expires_at).encode())


def spent(rows: Rows) -> tuple[bool, Rev | None]:
    """Whether nobody used the token before, in whichever process, and how far its issuer's history is here.
    The catch: a first use may look like a second one if the database went away under it."""
    get = rows.cell
    rev = get(0, 1)
    return get(0, 0) is not None, None if rev is None else Rev(rev.decode())


async def sweep(writes: Reads) -> int:
    """Forget ids of tokens that have expired, some thousands at most; how many that were."""
    return (await writes.fetch("used_token_sweep")).count
