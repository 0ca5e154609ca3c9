"""Reading for somebody before it is certain that it is them.

Who shows a key is, nearly always, who it was the last time. So what they ask for is read for that account,
and whether the key still opens anything is asked in the same packet, in front of it: one way to the database
and back where there were two. Nothing is believed for that. If the key has ended, or is another's, what was
read is thrown away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from appview.auth.proviso import Mistaken, Proviso
from lexicons.syntax import Did
from storage import viewers
from storage.reader import Reads, Rows
from storage.viewers import Holder

T = TypeVar("T")
MOST_KNOWN = 10_000

# Reads through what it is given and changes nothing; it may be thrown away, and asked again for another.
Reading = Callable[[Reads, Did], Awaitable[T]]


class Ahead:
    """Knows keys, by their hash, and whose they were."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._known: dict[bytes, tuple[Did, int]] = {}

    def note(self, digest: bytes, did: Did, session_id: int) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[digest] = did, session_id

    def known(self, digest: bytes) -> tuple[Did, int] | None:
        """Whose key it was the last time, and of which session."""
        return self._known.get(digest)

    def forget(self, digest: bytes) -> None:
        self._known.pop(digest, None)

    async def read(self, digest: bytes, reading: Reading[T]) -> tuple[Holder, T] | None:
        """What is read for the key's holder; None where that is not who it was, or nobody has shown it."""
        known = self._known.get(digest)
        if known is None:
            return None
        did = known[0]

        def still(rows: Rows) -> Holder:
            holder = viewers.holder(rows)
            if holder is None or holder.did != did:
                raise Mistaken
            return holder

        proviso = Proviso(self._reads, self._reads, viewers.asking_holder(digest), still)
        try:
            found = await reading(proviso, did)
            return await proviso.settle(), found
        except Mistaken:
            self.forget(digest)
            return None
