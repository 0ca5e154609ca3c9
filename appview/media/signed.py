"""Addresses that open something for a while to whoever has them: signed, for one path and one account.

    /exports/6f…/download?did=did:plc:…&expires=1764370000&signature=…

The key is made of the key ring's, for this purpose alone. Who takes a key off the ring ends every address
that was signed with it.

    BadLink
    └── Expired
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from appview.auth.keyring import KeyRing
from lexicons.syntax import Did

_PURPOSE = "signed addresses"


class BadLink(Exception):
    """We did not sign this."""


class Expired(BadLink):
    """We did, but its time is over."""


class Links:
    """Signs and checks. `clock` gives seconds since 1970."""

    def __init__(self, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._ring = ring
        self._clock = clock

    def sign(self, path: str, did: Did, *, expires: int) -> str:
        """The path with what opens it until `expires`, in seconds since 1970."""
        key = self._ring.derived(_PURPOSE)[0]
        query = {"did": did, "expires": str(expires), "signature": _signature(key, path, did, str(expires))}
        return f"{path}?{urlencode(query, safe=':')}"

    def check(self, path: str, query: Mapping[str, str]) -> Did:
        """Whom the address was given to. Raises BadLink, Expired."""
        did, expires, given = (query.get(name, "") for name in ("did", "expires", "signature"))
        signed = [_signature(key, path, did, expires) for key in self._ring.derived(_PURPOSE)]
        if not any(hmac.compare_digest(one.encode(), given.encode()) for one in signed):
            raise BadLink("this address was not signed here")
        if int(expires) <= self._clock():
            raise Expired("this address has expired")
        return Did(did)


def _signature(key: bytes, path: str, did: str, expires: str) -> str:
    # None of the three has a line break that we would have signed.
    text = f"{path}\n{did}\n{expires}".encode(errors="surrogatepass")
    return base64.urlsafe_b64encode(hmac.digest(key, text, hashlib.sha256)).decode().rstrip("=")
