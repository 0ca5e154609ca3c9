"""What others may read of our labels, each signed with the key that our DID document shows."""

from __future__ import annotations

from collections.abc import Sequence

from appview.moderation.labels import Labels
from lexicons.syntax import Did
from storage import labels
from storage.labels import LabelRow, Page
from storage.postgres import Pool
from storage.reader import Reads


class Labeler:
    """Reads through `reads`; `pool` is for what a rotation leaves to be signed anew."""

    def __init__(self, own: Labels, reads: Reads, pool: Pool) -> None:
        self._own = own
        self._reads = reads
        self._pool = pool

    @property
    def did(self) -> Did:
        return self._own.src

    async def multibase(self) -> str | None:
        """What our signatures are checked with, as a DID document writes it."""
        key = await labels.public_key(self._reads)
        return None if key is None else key.removeprefix("did:key:")

    async def head(self) -> int:
        return await labels.head(self._reads)

    async def after(self, seq: int, *, limit: int) -> list[LabelRow]:
        """All that was said after `seq`, in order, at most `limit`."""
        return await self._signed(await labels.after(self._reads, seq, limit=limit))

    async def query(
        self, patterns: Sequence[str], sources: Sequence[str] | None, *, after: int, limit: int
    ) -> list[LabelRow]:
        """What holds now, in order of seq; a pattern that ends with `*` is a beginning."""
        beginnings = [pattern[:-1] for pattern in patterns if pattern.endswith("*")]
        uris = [pattern for pattern in patterns if not pattern.endswith("*")]
        found = await labels.query(self._reads, uris, beginnings, sources, after=after, limit=limit)
        return await self._signed(found)

    async def _signed(self, page: Page) -> list[LabelRow]:
        if all(row.key_id == page.newest_key for row in page.rows):
            return page.rows
        async with self._pool.connection() as conn:
            return await self._own.renewed(conn, page.rows)
