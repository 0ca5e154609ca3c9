"""Which authorization server speaks for a PDS, and how it is spoken to.

    PDS  ── /.well-known/oauth-protected-resource ──▶ exactly one issuer
    issuer ── /.well-known/oauth-authorization-server ──▶ its endpoints, and that it keeps the rules

Both documents are answers with status 200 at that very address: no redirect is followed. What a
server lacks of atproto's profile of OAuth makes it no server for us (/specs/oauth; rule O3).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from appview.auth.answers import json_object, translated
from appview.auth.grant import Refusal, SignInFailed
from firehose.address import check_url
from firehose.net import GuardedClient, Response

RESOURCE_PATH = "/.well-known/oauth-protected-resource"
SERVER_PATH = "/.well-known/oauth-authorization-server"
MAX_METADATA_BYTES = 65_536

T = TypeVar("T")

# What each list in a server's metadata must at least hold.
_LISTS: Mapping[str, frozenset[str]] = {
    "response_types_supported": frozenset({"code"}),
    "grant_types_supported": frozenset({"authorization_code", "refresh_token"}),
    "code_challenge_methods_supported": frozenset({"S256"}),
    "token_endpoint_auth_methods_supported": frozenset({"none", "private_key_jwt"}),
    "token_endpoint_auth_signing_alg_values_supported": frozenset({"ES256"}),
    "dpop_signing_alg_values_supported": frozenset({"ES256"}),
    "scopes_supported": frozenset({"atproto"}),
}
_FLAGS = (
    "authorization_response_iss_parameter_supported",
    "require_pushed_authorization_requests",
    "client_id_metadata_document_supported",
)


@dataclass(frozen=True, slots=True)
class Server:
    """An authorization server that keeps the rules. Its endpoints are addresses that we go to."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    par_endpoint: str
    revocation_endpoint: str | None


def read_issuer(pds: str, document: Mapping[str, Any]) -> str:
    """The one issuer that a PDS names; raises SignInFailed (NO_SERVER, BAD_SERVER)."""
    if document.get("resource") != pds:
        raise SignInFailed(Refusal.BAD_SERVER, "the PDS speaks of another resource than itself")
    issuers = document.get("authorization_servers")
    if not isinstance(issuers, list) or len(issuers) != 1 or not isinstance(issuers[0], str):
        raise SignInFailed(Refusal.NO_SERVER, "the PDS does not name exactly one authorization server")
    return issuers[0]


def read_server(issuer: str, document: Mapping[str, Any], *, allow_loopback: bool) -> Server:
    """The server behind `issuer`; raises SignInFailed (BAD_SERVER, BLOCKED) for what breaks a rule."""
    if document.get("issuer") != issuer:
        raise SignInFailed(Refusal.BAD_SERVER, "the server's metadata name another issuer")
    for name, needed in _LISTS.items():
        if not needed <= _texts(document.get(name)):
            raise SignInFailed(Refusal.BAD_SERVER, f"the server's {name} lacks {', '.join(sorted(needed))}")
    if "none" in _texts(document["token_endpoint_auth_signing_alg_values_supported"]):
        raise SignInFailed(Refusal.BAD_SERVER, "the server takes unsigned assertions")
    for name in _FLAGS:
        if document.get(name) is not True:
            raise SignInFailed(Refusal.BAD_SERVER, f"the server's {name} is not true")
    if document.get("require_request_uri_registration", True) is not True:
        raise SignInFailed(Refusal.BAD_SERVER, "the server's require_request_uri_registration is not true")

    def endpoint(name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str):
            raise SignInFailed(Refusal.BAD_SERVER, f"the server has no {name}")
        with translated():
            check_url(url, allow_loopback=allow_loopback)
        return url

    return Server(
        issuer,
        endpoint("authorization_endpoint"),
        endpoint("token_endpoint"),
        endpoint("pushed_authorization_request_endpoint"),
        endpoint("revocation_endpoint") if "revocation_endpoint" in document else None,
    )


def origin_of(url: str, *, allow_loopback: bool) -> str | None:
    """The origin that `url` is, with or without a slash at its end; None if there is more to it.

    Raises SignInFailed (BLOCKED).
    """
    with translated():
        origin = str(check_url(url, allow_loopback=allow_loopback).origin())
    return origin if url.removesuffix("/") == origin else None


def _texts(values: object) -> frozenset[str]:
    if not isinstance(values, list):
        return frozenset()
    return frozenset(value for value in cast("list[object]", values) if isinstance(value, str))


class _Memory(Generic[T]):
    """The newest `size` values, each for `ttl_s`."""

    def __init__(self, ttl_s: float, size: int, now: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._size = size
        self._now = now
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, key: str) -> T | None:
        expires_at, value = self._kept.get(key, (float("-inf"), None))
        return value if self._now() < expires_at else None

    def keep(self, key: str, value: T) -> T:
        self._kept[key] = (self._now() + self._ttl_s, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value


class Servers:
    """Asks for both documents, and remembers what was good for `ttl_s`; failures are not remembered."""

    def __init__(
        self,
        client: GuardedClient,
        *,
        ttl_s: float = 300,
        timeout_s: float = 8,
        cache_size: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._issuers = _Memory[str](ttl_s, cache_size, now)
        self._servers = _Memory[Server](ttl_s, cache_size, now)

    async def issuer_of(self, pds: str, *, fresh: bool = False) -> str:
        """The issuer that a PDS (a bare origin) names. Raises SignInFailed."""
        kept = None if fresh else self._issuers.get(pds)
        return kept or self._issuer(pds, await self._get(pds + RESOURCE_PATH))

    async def server(self, issuer: str) -> Server:
        """What an issuer says of itself. Raises SignInFailed."""
        kept = self._servers.get(issuer)
        if kept is not None:
            return kept
        document = json_object(await self._get(issuer + SERVER_PATH), Refusal.BAD_SERVER)
        server = read_server(issuer, document, allow_loopback=self._client.allow_loopback)
        return self._servers.keep(issuer, server)

    async def at(self, origin: str) -> Server:
        """The server behind an address that a person typed: a PDS's, or an authorization server's own."""
        answer = await self._get(origin + RESOURCE_PATH)
        return await self.server(origin if answer.status == 404 else self._issuer(origin, answer))

    def _issuer(self, pds: str, answer: Response) -> str:
        if answer.status == 404:
            raise SignInFailed(Refusal.NO_SERVER, "the PDS names no authorization server")
        issuer = read_issuer(pds, json_object(answer, Refusal.BAD_SERVER))
        if origin_of(issuer, allow_loopback=self._client.allow_loopback) != issuer:
            raise SignInFailed(Refusal.BAD_SERVER, "the PDS names a server that is no bare origin")
        return self._issuers.keep(pds, issuer)

    async def _get(self, url: str) -> Response:
        with translated():
            return await self._client.request(
                "GET",
                url,
                headers={"Accept": "application/json"},
                max_bytes=MAX_METADATA_BYTES,
                timeout_s=self._timeout_s,
            )
