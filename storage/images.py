"""Table `image_rendition`: the smaller ones of an image.

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


@dataclass(frozen=True, slots=True)
class Rendition:
    """`width`, `height` in pixels. `sha256` of it, in hex."""

    blob_id: int
    width: int
    height: int
    sha256: str


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
