"""The two cookies: the key of a browser's session, and what binds a flow to its browser.

Neither can be read by a page's scripts, and none goes along when another site sends a form; a link from
another site does bring them, or nobody could come back from their authorization server.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from appview.auth import secret

SESSION = "session_id"
FLOW = "plyr_flow"
SESSION_S = 14 * 86400
FLOW_S = 660  # ten minutes to sign in, one to fetch the session
_FLOW_PATH = "/auth"
_BROWSERS = ("mozilla", "chrome", "safari", "firefox", "edge", "opera")


class Cookies:
    """`secure`: for https alone, as anywhere but on a machine of one's own."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure

    def give_session(self, response: web.StreamResponse, key: str) -> None:
        response.set_cookie(
            SESSION, key, max_age=SESSION_S, path="/", httponly=True, secure=self._secure, samesite="Lax"
        )

    def take_session(self, response: web.StreamResponse) -> None:
        response.del_cookie(SESSION, path="/", httponly=True, secure=self._secure, samesite="Lax")

    def bind(self, response: web.StreamResponse, browser: str) -> None:
        response.set_cookie(
            FLOW, browser, max_age=FLOW_S, path=_FLOW_PATH, httponly=True, secure=self._secure, samesite="Lax"
        )


def browser_of(request: web.Request) -> str:
    """The name of this browser for its flows: the one that it has, so that several tabs may set out, or a new
    one."""
    known = request.cookies.get(FLOW, "")
    return known if secret.is_one(known) else secret.fresh()


def is_browser(request: web.Request) -> bool:
    agent = request.headers.get(hdrs.USER_AGENT, "").lower()
    return any(name in agent for name in _BROWSERS)


def wants_page(request: web.Request) -> bool:
    """Whether a person looks at the answer, not a program."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()
