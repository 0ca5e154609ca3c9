"""A blob from the PDS of its account, in a place for staged bytes: all of it, and what the record names.

What came before a host or this process went away is kept, and the next attempt goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from firehose.fetch_errors import BadStatus, FetchFailed, TooLarge
from firehose.net import GuardedClient
from lexicons.records import BlobRef
from lexicons.values import InvalidData, cid_bytes
from storage.blobs.store import BlobStore, Digest
from storage.mirrors import Wanted

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
RAW = b"\x01\x55\x12\x20"  # how the CID of bytes begins, before their hash


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """`account_bytes`, `total_bytes`: room for what is mirrored of one account, and of all. `idle_s`: how
    long a body may stand still; `min_rate`: bytes a second that it must come at; `pace`: that it is to have
    come at in the end, `grace_s` aside."""

    scratch: Path
    max_bytes: int
    account_bytes: int
    total_bytes: int
    max_duration_s: float
    idle_s: float = 30.0
    min_rate: float = 16_384.0
    grace_s: float = 60.0
    pace: float = 131_072.0

    def fetch_s(self, size: int) -> float:
        """How long so many bytes may take."""
        return self.grace_s + size / self.pace


class NotHere(Exception):
    """It could not be fetched. `first_s`: when it is tried again after the first time; None: never."""

    def __init__(self, reason: str, first_s: float | None) -> None:
        super().__init__(reason)
        self.first_s = first_s


class MirrorFetch:
    """Fetches into `store`."""

    def __init__(self, store: BlobStore, http: GuardedClient, config: MirrorConfig) -> None:
        self._store = store
        self._http = http
        self._config = config

    async def fetch(self, wish: Wanted, blob: BlobRef, name: str, most: int) -> None:
        """Append to what is staged until all of it is there. Raises NotHere; what came is kept."""
        config = self._config
        within_s = config.fetch_s(most)
        at = await self._store.staged_size(name)
        if at and at == blob.size:
            return
        query = urlencode({"did": wish.did, "cid": blob.cid}, safe=":")
        url = f"{wish.pds}/xrpc/com.atproto.sync.getBlob?{query}"
        try:
            async with (
                asyncio.timeout(within_s),
                self._http.body(
                    url, at=at, max_bytes=most, idle_s=config.idle_s, min_rate=config.min_rate
                ) as body,
            ):
                await self._store.append(name, _behind(body.pieces, at - body.start), at=at)
        except TooLarge as error:
            await self._store.unstage(name)
            raise NotHere("its PDS sends more than the record says, or than is fetched", HOUR_S) from error
        except BadStatus as error:
            first_s = HOUR_S if error.status in (400, 401, 403, 404, 410) else MINUTE_S
            least_s = max(first_s, error.retry_after_s or 0)
            raise NotHere(f"its PDS answers with status {error.status}", least_s) from error
        except FetchFailed as error:
            raise NotHere(f"its PDS does not send it: {error}", MINUTE_S) from error
        except TimeoutError as error:
            raise NotHere(f"its PDS took longer than {within_s:,.0f} s", HOUR_S) from error

    async def checked(self, blob: BlobRef, name: str) -> Digest:
        """The digest of what is staged: it has the hash of the CID and the size in the record (rule G1).
        Raises NotHere, and nothing is staged."""
        digest = await self._store.seal(name)
        try:
            cid = cid_bytes(blob.cid)
        except InvalidData:
            cid = b""
        right = cid == RAW + bytes.fromhex(digest.sha256)
        if right and blob.size in (None, 0, digest.size):
            return digest
        await self._store.unstage(name)
        if right:
            raise NotHere(f"it has {digest.size:,} bytes, and its record names another size", None)
        if not cid.startswith(RAW):
            raise NotHere("its CID is none that we can check", None)
        raise NotHere("its PDS sends other bytes than the record names", HOUR_S)


async def _behind(pieces: AsyncIterator[bytes], skip: int) -> AsyncIterator[bytes]:
    """The pieces without their first `skip` bytes, which are here already."""
    async for piece in pieces:
        if skip < len(piece):
            yield piece[skip:]
        skip = max(0, skip - len(piece))
