"""A service's token that holds and is not used up yet: that is left to the first question of the answer."""

from __future__ import annotations

from appview.auth.proviso import Proviso
from appview.errors import BadJwt
from lexicons.syntax import Did, Rev
from storage import used_tokens
from storage.reader import Reads, Rows


def unspent(reads: Reads, writes: Reads, issuer: Did, jti: str, expires_at: float) -> Proviso:
    """That this is the token's first use, in whichever process; BadJwt else. `writes` has the statements of
    `reads` and of `used_tokens`."""
    return Proviso(reads, writes, used_tokens.spending(issuer, jti, expires_at), _rev)


def _rev(rows: Rows) -> Rev | None:
    spent = used_tokens.spent(rows)
    if not spent.first:
        raise BadJwt("The token was used before.")
    return spent.rev
