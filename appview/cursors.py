"""Cursors: the place where a page ended, in a form that invites nobody to look inside.

A cursor carries sort keys and no state of ours, so it works on any server, for ever, whatever was
inserted or deleted since: the next page is what sorts behind it (rule X6).
"""

from __future__ import annotations

import base64
import binascii

from appview.errors import InvalidRequest
from storage.keyset import Keyset, Place

MAX_LENGTH = 1000


def encode(place: Place) -> bytes:
    """The cursor of a place: base64url, nothing in it needs quoting anywhere."""
    return base64.urlsafe_b64encode(b"|".join(place)).rstrip(b"=")


def decode(cursor: str | None, keyset: Keyset) -> Place:
    """The place that a cursor stands for; without one, the start. Raises InvalidRequest."""
    if cursor is None:
        return keyset.start
    if len(cursor) > MAX_LENGTH:
        raise InvalidRequest("Malformed cursor")
    try:
        raw = cursor.encode("ascii")
        text = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True).decode("ascii")
        return keyset.parse(text.split("|"))
    except (binascii.Error, ValueError):
        raise InvalidRequest("Malformed cursor") from None
