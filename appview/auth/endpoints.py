"""Forms posted to an authorization server, each with our proof of who we are.

A flow, or the grant that came of it, is bound to two keys for life: its own (DPoP), and the client's that
it began with, if we are a confidential client (rules O5, O6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from appview.auth.answers import error_code, json_object
from appview.auth.client_keys import ASSERTION_TYPE
from appview.auth.dpop_requests import Outgoing, ProvenClient
from appview.auth.grant import Credentials, Flow, Refusal, SignInFailed
from appview.auth.metadata import App
from appview.auth.servers import Server
from firehose.net import Response

MAX_ANSWER_BYTES = 65_536
TIMEOUT_S = 10
_LATER = frozenset({"server_error", "temporarily_unavailable", "slow_down"})


class Endpoints:
    """Posts as `app`, which may get other keys at any time. `timeout_s` is for one request; a stale nonce
    takes two."""

    def __init__(self, app: App, proven: ProvenClient, *, timeout_s: float, now: Callable[[], float]) -> None:
        self.app = app
        self._proven = proven
        self._timeout_s = timeout_s
        self._now = now

    async def post(
        self, server: Server, url: str, held: Flow | Credentials, wish: Mapping[str, str]
    ) -> tuple[Response, str]:
        """The answer, whatever its status, and the server's latest nonce. Raises SignInFailed."""
        answer, nonce = await self._proven.send(
            Outgoing("POST", url, {"Accept": "application/json"}, form=self._form(server, held, wish)),
            key=held.dpop_key,
            nonce=held.nonce if isinstance(held, Flow) else held.server_nonce,
            max_bytes=MAX_ANSWER_BYTES,
            timeout_s=self._timeout_s,
        )
        if nonce is None:
            raise SignInFailed(Refusal.BAD_SERVER, "the server gives out no DPoP nonce")
        return answer, nonce

    def _form(
        self, server: Server, held: Flow | Credentials, wish: Mapping[str, str]
    ) -> Callable[[], Mapping[str, str]]:
        known = {**wish, "client_id": self.app.client_id}
        if held.kid is None:
            return lambda: known
        key = self.app.keys and self.app.keys.find(held.kid)
        if key is None:
            raise SignInFailed(Refusal.GRANT_GONE, "the client key that the grant was made with is gone")

        def signed() -> Mapping[str, str]:
            assertion = key.assertion(self.app.client_id, server.issuer, now=self._now())
            return {**known, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}

        return signed


def refuse_error(answer: Response) -> None:
    """Raise SignInFailed for a 4xx or 5xx answer: SERVER_REFUSED, or UNREACHABLE if later may help."""
    if answer.status < 400:
        return
    error = error_code(answer)
    if error is not None:
        raise SignInFailed(Refusal.UNREACHABLE if error in _LATER else Refusal.SERVER_REFUSED, error)
    json_object(answer, Refusal.SERVER_REFUSED)
