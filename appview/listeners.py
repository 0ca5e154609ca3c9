"""Who listens, so that the same one counts once: an account, else a browser by its cookie, else an address.

All that is written down of a listener is a keyed hash, with a key made of the key ring's. An address is
hashed with a salt of the day besides, which is gone two days later; so it is another listener after midnight
(UTC).

Whoever comes without a cookie gets one with the answer. They are counted by address this once, and the cookie
counts as the same listener from then on. It carries a MAC: one that somebody made up is none.

Cookies are had for the asking, and so are names of browsers. Who has no account therefore says besides where
they listen, and from one address only so many count.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, date, datetime

from aiohttp import hdrs, web

from appview.auth import secret
from appview.auth.deletion import Eraser
from appview.auth.keyring import KeyRing
from appview.clients import Clients
from appview.errors import Unauthenticated
from appview.guards import ViewerOf
from lexicons.syntax import Did
from storage import plays
from storage.plays import Listener
from storage.postgres import Connection, Pool

COOKIE = "plyr_listener"
COOKIE_S = 90 * 86_400
_PURPOSE = "listeners"
_BYTES = 16


@dataclass(frozen=True, slots=True)
class Heard:
    """Who listened. `cookie`: to be given to their browser."""

    listener: Listener
    cookie: str | None = None


class Listeners:
    """Tells who listens. `secure`: the cookie is for https alone."""

    def __init__(
        self, pool: Pool, ring: KeyRing, clients: Clients, viewer_of: ViewerOf | None, *, secure: bool
    ) -> None:
        self._pool = pool
        self._ring = ring
        self._clients = clients
        self._viewer_of = viewer_of
        self._secure = secure
        self._salts: dict[date, bytes] = {}

    async def of(self, request: web.Request) -> Heard:
        """Whoever makes this request. A token that does not hold is nobody's; raises what telling who asks
        raises besides."""
        try:
            viewer = None if self._viewer_of is None else await self._viewer_of(request)
        except Unauthenticated:
            viewer = None
        return await self.heard(request, viewer and viewer.did)

    async def heard(self, request: web.Request, did: Did | None) -> Heard:
        """Whoever makes this request, of whom is known already what account they have."""
        if did is not None:
            return Heard(Listener(self._hashed(f"did {did}")))
        salt = (await self._salt(datetime.now(UTC).date())).hex()
        client = self._clients.address(request)
        # A proxy of ours that does not say for whom it asks may ask for many.
        address = None if client is None else self._hashed(f"place {salt} {client}")
        cookie = request.cookies.get(COOKIE, "")
        value = cookie.partition(".")[0]
        if self._is_ours(cookie, value):
            return Heard(Listener(self._hashed(f"cookie {value}"), address=address))
        value = secret.fresh()
        agent = request.headers.get(hdrs.USER_AGENT, "")
        listener = Listener(
            self._hashed(f"address {salt} {client} {agent}"), self._hashed(f"cookie {value}"), address
        )
        return Heard(listener, _signed(self._ring.derived(_PURPOSE)[0], value))

    def give(self, response: web.StreamResponse, heard: Heard) -> None:
        if heard.cookie is not None:
            response.set_cookie(
                COOKIE,
                heard.cookie,
                max_age=COOKIE_S,
                path="/",
                httponly=True,
                secure=self._secure,
                samesite="Lax",
            )

    def _is_ours(self, cookie: str, value: str) -> bool:
        """Made with a key that is on the ring."""
        given = cookie.encode(errors="surrogatepass")
        made = [_signed(key, value).encode(errors="surrogatepass") for key in self._ring.derived(_PURPOSE)]
        return any(hmac.compare_digest(given, each) for each in made)

    def _hashed(self, text: str) -> bytes:
        return _hash(self._ring.derived(_PURPOSE)[0], text)

    async def _salt(self, day: date) -> bytes:
        if day not in self._salts:
            async with self._pool.connection() as conn:
                self._salts = {day: await plays.salt(conn, day)}
        return self._salts[day]


def eraser(ring: KeyRing) -> Eraser:
    """Makes an account's plays nobody's, in the caller's transaction; they stay counted."""

    async def erase(conn: Connection, did: Did) -> None:
        await plays.unlink(conn, [_hash(key, f"did {did}") for key in ring.derived(_PURPOSE)])

    return erase


def _signed(key: bytes, value: str) -> str:
    """A cookie with this value."""
    return f"{value}.{_hash(key, f'sign {value}').hex()}"


def _hash(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256")[:_BYTES]
