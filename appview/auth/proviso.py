"""Who asks is known but for one thing, which the database has to say: the first question takes that along.

    is the token unused, or the session open?   ─┐  one packet, one transaction, in this order
    the page that is asked for                  ─┘

So it costs no way of its own to the database and back. Contract: nobody sees an answer that was read through
it unless the proviso holds; what was read is thrown away otherwise. How far the account's history is here is
read in front of the page, and so says less than the page holds, never more.
"""

from __future__ import annotations

from collections.abc import Callable

from lexicons.syntax import Rev
from storage.reader import Cell, Question, Reads, Rows


class Mistaken(Exception):
    """Somebody else asks than was presumed, or nobody: the key is theirs no longer."""


class Proviso:
    """`Reads` by `way`, which has the statements of `reads`, until its own `question` is answered. `judge`
    reads that answer: how far the history of who asks is here, or it raises. Who answers without a question
    has to `settle` it."""

    def __init__(
        self, reads: Reads, way: Reads, question: Question, judge: Callable[[Rows], Rev | None]
    ) -> None:
        self.extensions = reads.extensions
        self._reads = reads
        self._way = way
        self._question = question
        self._judge = judge
        self._asked = False
        self._settled = False
        self._rev: Rev | None = None

    async def fetch(self, name: str, *params: Cell) -> Rows:
        if self._asked:  # by somebody else of this request, perhaps at this moment
            return await self._reads.fetch(name, *params)
        return (await self._ask((name, params)))[1]

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        if self._asked:
            return await self._reads.fetch_all(*questions)
        return (await self._ask(*questions))[1:]

    async def settle(self) -> Rev | None:
        """Up to where the history of who asks is here; from now on the proviso holds."""
        if not self._settled:
            await self._ask()
        return self._rev

    async def _ask(self, *questions: Question) -> list[Rows]:
        """The answers, behind that of the own question."""
        self._asked = True
        answers = await self._way.fetch_all(self._question, *questions)
        self._rev = self._judge(answers[0])
        self._settled = True
        return answers
