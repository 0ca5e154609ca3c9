"""What we hand out to be shown again: random, and of it we keep a hash alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

PREFIX = 8  # characters by which people name a token
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Key:
    """Opens a session. Only `digest` and `prefix` are ever written down."""

    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        return hashed(self.text)

    @property
    def prefix(self) -> str:
        return self.text[:PREFIX]


def fresh() -> str:
    """32 random bytes as 43 characters that fit URLs, cookies and headers."""
    return secrets.token_urlsafe(32)


def is_one(text: str) -> bool:
    """Whether we could have made it; spares the database questions about what we certainly did not."""
    return _FORM.fullmatch(text) is not None


def hashed(text: str) -> bytes:
    """Its sha-256. Nothing slower is needed: it has 256 random bits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
