"""On whose behalf a request is made. There are four ways to say it, tried in this order:

    Authorization: Bearer a.b.c     a service's token, for one method of ours; good once (`service`)
    Authorization: Bearer abc       a session, or a developer token
    Cookie: session_id=abc          a session, of a browser
    nothing                         nobody in particular

A token that does not hold is refused: who has one means to be somebody. A browser sends its cookie whether it
wants to or not, so one that has become stale is nobody's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from aiohttp import hdrs, web

from appview.auth.cookies import SESSION
from appview.auth.service_tokens import ServiceTokens
from appview.clients import Clients
from appview.errors import AuthenticationRequired, InvalidToken
from appview.viewer import Viewer
from lexicons.syntax import MAX_NSID, Nsid, is_nsid

MAX_TOKEN = 256


class Sessions(Protocol):
    """Who remembers sessions and developer tokens."""

    async def viewer(self, token: str) -> Viewer | None:
        """Whose session it is; None if it is none, or ended."""
        ...

    def presumed(self, token: str) -> Viewer | None:
        """Whose session it was the last time, with a proviso that raises Mistaken; None: ask `viewer`."""
        ...


class Viewers:
    """Tells who asks. Without `services` or `sessions`, their tokens are refused."""

    def __init__(
        self,
        clients: Clients,
        *,
        services: ServiceTokens | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self._clients = clients
        self._services = services
        self._sessions = sessions

    async def of(self, request: web.Request) -> Viewer | None:
        """Who asks; None: nobody in particular. Raises Unauthenticated or a kind of it, RateLimitExceeded,
        UpstreamFailure, and what storage raises."""
        credentials = request.headers.getall(hdrs.AUTHORIZATION, ())
        if not credentials:
            cookie = request.cookies.get(SESSION) if hdrs.COOKIE in request.headers else None
            return await self._session(cookie, request) if cookie else None
        scheme, _, token = credentials[0].partition(" ")
        token = token.strip()
        if len(credentials) > 1 or scheme.lower() != "bearer" or not token:
            raise AuthenticationRequired
        if "." in token:
            if self._services is None:
                raise InvalidToken
            # Cut, so that no more than that is kept of what is no method.
            method = _method(request.match_info.get("nsid", "")[: MAX_NSID + 1])
            return await self._services.verify(token, method, lambda: self._clients.address(request))
        viewer = await self._session(token, request)
        if viewer is None:
            raise InvalidToken
        return viewer

    async def _session(self, token: str, request: web.Request) -> Viewer | None:
        if self._sessions is None or len(token) > MAX_TOKEN:
            return None
        # Other routes know no proviso.
        may_presume = request.method in (hdrs.METH_GET, hdrs.METH_HEAD) and "nsid" in request.match_info
        return (self._sessions.presumed(token) if may_presume else None) or await self._sessions.viewer(token)


@lru_cache(maxsize=256)
def _method(name: str) -> Nsid | None:
    """The method of this name, if it is one's. The same few are asked for again and again."""
    return Nsid(name) if is_nsid(name) else None
