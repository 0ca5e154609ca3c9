"""Albums by what their tracks say: a title becomes a slug, and account and slug are an album's identity.

So an album has an id before anybody has made a list of it, the same one everywhere and after every replay.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from uuid import UUID, uuid5

from lexicons.syntax import Did

ALBUM = "album"  # how a list of one calls itself
MAX_SLUG = 100
_NAMESPACE = UUID("7d6ac3f2-3f0e-5c55-9a59-2f4c57a1c0de")
_BETWEEN = re.compile(r"[\s\-_]+")
_SELECTORS = range(0xFE00, 0xFE10)


@lru_cache(maxsize=4096)
def slug(title: str) -> str:
    """What stands for a title in an address: small letters and digits of any script without their accents,
    and single hyphens where there were spaces; at most 100 characters. Never empty: a title of nothing but
    signs has a slug made of its hash."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", title.lower()).lower() if _is_kept(c))
    short = unicodedata.normalize("NFC", _BETWEEN.sub("-", letters)).strip("-")
    if len(short) > MAX_SLUG:
        cut = short[: MAX_SLUG + 1].rpartition("-")[0] or short
        short = cut[:MAX_SLUG].strip("-")
    return short or "album-" + sha256(title.encode()).hexdigest()[:12]


@lru_cache(maxsize=4096)
def album_id(did: Did | str, slug: str) -> str:
    """The id of an account's album, as a UUID in text."""
    return str(uuid5(_NAMESPACE, f"{did}/{slug}"))


def _is_kept(c: str) -> bool:
    """Accents stand on their own now, and go; signs that a script spells with are part of a word."""
    if c.isascii():
        return c.isalnum() or c in " -_\t\n"
    if c.isspace():
        return True
    return unicodedata.category(c)[0] in "LNM" and not unicodedata.combining(c) and ord(c) not in _SELECTORS
