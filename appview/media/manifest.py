"""What the ZIP of an export is made of, as it is kept: names, sizes, sums and keys, in one small blob.

All that `ziplayout` needs is in it, so a download can be answered by any process, in any part, and has the
same bytes each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from appview.media.ziplayout import Layout, Member
from storage.blobs.store import Key


class _Member(msgspec.Struct, array_like=True):
    name: str
    size: int
    crc32: int
    modified: datetime
    key: str


def written(members: Iterable[Member[Key]]) -> bytes:
    """These members as the blob has them."""
    rows = [_Member(m.name, m.size, m.crc32, m.modified, str(m.source)) for m in members]
    return msgspec.json.encode(rows)


def layout_of(manifest: bytes) -> Layout[Key | bytes]:
    """The ZIP of what `written` wrote."""
    rows = msgspec.json.decode(manifest, type=list[_Member])
    members: list[Member[Key | bytes]] = [
        Member(row.name, row.size, row.crc32, row.modified, Key.parse(row.key)) for row in rows
    ]
    return Layout(members)
