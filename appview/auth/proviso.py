"""Who asks is known but for one thing, which the database has to say: the first question takes that along.

    is the token unused, or the session open?   ─┐  one packet, one transaction, in this order
    the page that is asked for                  ─┘

So it costs no way of its own to the database and back. Contract: nobody sees an answer that was read through
it unless the proviso holds; what was read is thrown away otherwise. How far the account's history is here is
read in front of the page, and so says less than the page holds, never more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

from storage.reader import Cell, Question, Reads, Rows

T = TypeVar("T")


class Mistaken(Exception):
    """Somebody else asks than was presumed, or nobody: the key is theirs no longer."""


class Proviso(Generic[T]):
    """`Reads` by `way`, which has the statements of `reads`, until its own `question` is answered. `judge`
    makes of that answer what it says, or it raises. Who answers without a question has to `settle` it."""

    def __init__(self, reads: Reads, way: Reads, question: Question, judge: Callable[[Rows], T]) -> None:
        self.extensions = reads.extensions
        self._reads = reads
        self._way = way
        self._question = question
        self._judge = judge
        self._asked = False
        self._settled = False
        self._said: T | None = None

    async def fetch(self, name: str, *params: Cell) -> Rows:
        if self._asked:  # by somebody else of this request, perhaps at this moment
            return await self._reads.fetch(name, *params)
        self._asked = True
        own, rows = await self._way.fetch_all(self._question, (name, params))
        self._judged(own)
        return rows

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        if self._asked:
            return await self._reads.fetch_all(*questions)
        self._asked = True
        own, *rows = await self._way.fetch_all(self._question, *questions)
        self._judged(own)
        return rows

    async def settle(self) -> T:
        """What the judge made of it; from now on the proviso holds."""
        if not self._settled:
            self._asked = True
            self._judged((await self._way.fetch_all(self._question))[0])
        return cast(T, self._said)

    def _judged(self, own: Rows) -> None:
        self._said = self._judge(own)
        self._settled = True
