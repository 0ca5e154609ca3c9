"""Requests with a DPoP proof: to an authorization server, or to a PDS with a token.

A server hands out nonces, and may want a new one at any time: each origin's latest is remembered here for
everybody, and handed back for whoever keeps it longer than this process. A request whose nonce was stale
is repeated once, with the one that the refusal brought (RFC 9449 §8, §9; rule O6).
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appview.auth import dpop
from appview.auth.answers import error_code, translated
from appview.auth.grant import Refusal, SignInFailed
from firehose.address import check_url
from firehose.net import GuardedClient, Response, Streamed

MAX_ORIGINS = 10_000
_CHALLENGE = re.compile(r'dpop (?:.*[ ,])?error="(?P<error>[a-z_]{1,64})"', re.IGNORECASE).match


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, as it can be sent twice. `form` is made anew for each: an assertion is good once."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | Streamed | None = None
    form: Callable[[], Mapping[str, str]] | None = None


class ProvenClient:
    """The guarded client with proofs. What fails below HTTP is a SignInFailed."""

    def __init__(self, client: GuardedClient, *, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._now = now
        self._nonces: OrderedDict[str, str] = OrderedDict()

    async def send(
        self,
        outgoing: Outgoing,
        *,
        key: str,
        nonce: str | None,
        access_token: str | None = None,
        max_bytes: int,
        timeout_s: float,
    ) -> tuple[Response, str | None]:
        """The answer, and the latest nonce of that origin. Raises SignInFailed.

        `nonce` is the last that the caller knows of. BAD_NONCE: the server is not content with its own;
        of UNREACHABLE nobody can tell whether the request was carried out.
        """
        origin = _origin(outgoing.url)
        nonce = self._nonces.get(origin, nonce)
        for _ in range(2):
            response = await self._send(outgoing, key, nonce, access_token, max_bytes, timeout_s)
            latest = response.headers.get("DPoP-Nonce", "")
            refused, sent = wants_nonce(response), nonce
            if dpop.is_nonce(latest):
                nonce = latest
                self._remember(origin, latest)
            if not refused:
                return response, nonce
            if nonce == sent:
                break
        raise SignInFailed(Refusal.BAD_NONCE, "the server is never content with its own nonce")

    async def _send(
        self,
        outgoing: Outgoing,
        key: str,
        nonce: str | None,
        access_token: str | None,
        max_bytes: int,
        timeout_s: float,
    ) -> Response:
        proof = dpop.proof(
            key, outgoing.method, outgoing.url, now=self._now(), nonce=nonce, access_token=access_token
        )
        headers = {**outgoing.headers, "DPoP": proof}
        if access_token is not None:
            headers["Authorization"] = f"DPoP {access_token}"
        with translated():
            return await self._client.request(
                outgoing.method,
                outgoing.url,
                headers=headers,
                body=outgoing.body,
                form=outgoing.form and outgoing.form(),
                max_bytes=max_bytes,
                timeout_s=timeout_s,
            )

    def _remember(self, origin: str, nonce: str) -> None:
        self._nonces[origin] = nonce
        self._nonces.move_to_end(origin)
        if len(self._nonces) > MAX_ORIGINS:
            self._nonces.popitem(last=False)


def wants_nonce(response: Response) -> bool:
    """True for a refusal whose only reason is the nonce, said in the body or in `WWW-Authenticate`."""
    if response.status not in (400, 401):
        return False
    return challenge_error(response) == "use_dpop_nonce" or error_code(response) == "use_dpop_nonce"


def challenge_error(response: Response) -> str | None:
    """The `error` of a DPoP challenge in `WWW-Authenticate`, if it has one."""
    found = _CHALLENGE(response.headers.get("WWW-Authenticate", ""))
    return found and found["error"]


def _origin(url: str) -> str:
    with translated():
        return str(check_url(url, allow_loopback=True).origin())
