"""Tables `image_rendition`: the smaller ones of an image; and `image_drawn`: which images have theirs.

The image owns its renditions (kind `image`, owner its blob's id) until the collector forgets it. Each is
narrower than its image, so none owns itself, not even by way of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from storage.blobs import rows
from storage.postgres import Connection
from storage.queries import load

_SQL = load("images")

OWNER = "image"
AGAIN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Rendition:
    """`width`, `height` in pixels. `sha256` of it, in hex."""

    blob_id: int
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Image:
    """A published one. `sha256` in hex."""

    id: int
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Undrawable:
    """An image that cannot be decoded, and why."""

    sha256: str
    error: str


async def add_rendition(conn: Connection, image_id: int, width: int, height: int, rendition_id: int) -> None:
    """Keep a published rendition for as long as its image; in the caller's transaction. Where the image has
    one of this width already, nothing happens. Raises BeingDeleted."""
    params = {"image": image_id, "width": width, "height": height, "rendition": rendition_id}
    if await (await conn.execute(_SQL["add"], params)).fetchone() is not None:
        await rows.claim(conn, rendition_id, kind=OWNER, owner=str(image_id))


async def renditions(conn: Connection, image_ids: Sequence[int]) -> list[Rendition]:
    """Of all these images, by image and width, the narrowest first."""
    async with conn.cursor(row_factory=class_row(Rendition)) as cursor:
        await cursor.execute(_SQL["of"], {"images": list(image_ids)})
        return await cursor.fetchall()


async def drawn(conn: Connection, image_id: int, width: int) -> None:
    """Note that the image, `width` pixels wide, has all of its renditions."""
    await conn.execute(_SQL["drawn"], {"image": image_id, "width": width})


async def not_drawn(conn: Connection, image_id: int, error: str) -> None:
    """Note that the image cannot be drawn: for `AGAIN_DAYS` it does not count as missing any."""
    await conn.execute(_SQL["not_drawn"], {"image": image_id, "error": error})


async def missing(conn: Connection, widths: Sequence[int], *, limit: int) -> list[Image]:
    """Images that somebody owns and that lack a rendition of one of these widths below their own, or of which
    nobody knows; the oldest first."""
    params = {"widths": list(widths), "again_days": AGAIN_DAYS, "limit": limit}
    async with conn.cursor(row_factory=class_row(Image)) as cursor:
        await cursor.execute(_SQL["missing"], params)
        return await cursor.fetchall()


async def undrawable(conn: Connection, *, limit: int) -> list[Undrawable]:
    async with conn.cursor(row_factory=class_row(Undrawable)) as cursor:
        await cursor.execute(_SQL["undrawable"], {"limit": limit})
        return await cursor.fetchall()
