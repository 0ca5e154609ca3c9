"""A service's token that holds and is not used up yet: the first question of whoever answers takes it along.

    insert into used_token …   ─┐  one packet, one transaction, in this order
    the page that is asked for ─┘

So it costs no way of its own to the database and back. Contract: nobody sees an answer that was read through
it unless this was its first use, in whichever process; what was read is thrown away otherwise. How far the
account's history is here is read in front of the page, and so says less than the page holds, never more.
"""

from __future__ import annotations

from appview.errors import BadJwt
from lexicons.syntax import Did, Rev
from storage import used_tokens
from storage.reader import Cell, Question, Reads, Rows
from storage.used_tokens import Spent


class Unspent:
    """`Reads` by way of `writes`, which has the statements of `reads` and of `used_tokens`, until the token
    is used up. Raises BadJwt where it was used before. Who answers without a question has to `spend` it."""

    def __init__(self, reads: Reads, writes: Reads, issuer: Did, jti: str, expires_at: float) -> None:
        self.extensions = reads.extensions
        self._reads = reads
        self._writes = writes
        self._question = used_tokens.spending(issuer, jti, expires_at)
        self._asked = False
        self._spent: Spent | None = None

    async def fetch(self, name: str, *params: Cell) -> Rows:
        if self._asked:  # by somebody else of this request, perhaps at this moment
            return await self._reads.fetch(name, *params)
        return (await self._spend((name, params)))[1]

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        if self._asked:
            return await self._reads.fetch_all(*questions)
        return (await self._spend(*questions))[1:]

    async def spend(self) -> Rev | None:
        """Up to where the account's history is here; from now on the token is used up."""
        if self._spent is None:
            await self._spend()
        return None if self._spent is None else self._spent.rev

    async def _spend(self, *questions: Question) -> list[Rows]:
        """The answers, behind that of the token's own question."""
        self._asked = True
        answers = await self._writes.fetch_all(self._question, *questions)
        spent = used_tokens.spent(answers[0])
        if not spent.first:
            raise BadJwt("The token was used before.")
        self._spent = spent
        return answers
