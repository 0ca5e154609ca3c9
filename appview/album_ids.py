"""How albums are called: an id and a slug for each, whether it is a list or only a title on tracks.

Account and slug make the id. Of several lists of one account whose names come to the same slug the oldest has
it, the next is called `slug--2`: no title makes two hyphens, so that no other album can have that name, and
which is which does not depend on what came here first.
"""

from __future__ import annotations

import re

from indexer.albums import album_id, slug
from lexicons.syntax import Did
from storage.albums import AlbumRow

_RANKED = re.compile(r"(.+)--([1-9]\d{0,8})")


def slug_of(row: AlbumRow) -> str:
    base = slug(row.title)
    return base if row.rank == 1 else f"{base}--{row.rank}"


def id_of(row: AlbumRow) -> str:
    return row.base if row.rank == 1 else album_id(row.did, slug_of(row))


def parse(did: Did | str, text: str) -> tuple[str, int]:
    """The album that a slug in an address stands for: the id of its base, and its rank."""
    ranked = _RANKED.fullmatch(text)
    if ranked is None or ranked[2] == "1":
        return album_id(did, text), 1
    return album_id(did, ranked[1]), int(ranked[2])
