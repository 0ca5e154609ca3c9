"""The OAuth client of atproto's profile: from a name that a person types to a grant that speaks for them.

    begin    name ─▶ DID ─▶ PDS ─▶ server; the request is pushed there ─▶ the address to send the person to
             … they sign in and consent at their server, which sends them back …
    finish   the answer is of that server ─▶ code against tokens ─▶ the tokens are of an account whose own
             DID document leads, asked anew, to that same server
    refresh  the refresh token against new ones; it is used up by that, whatever becomes of the answer

Nothing is remembered between these but what the caller keeps: a `Flow`, then `Credentials`. Each ends in a
value or in `SignInFailed`; no other error is expected, and no message holds a secret (/specs/oauth; O1–O13).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
import structlog

from appview.auth import dpop
from appview.auth.account_lookup import Origin, People, Person, read_identifier
from appview.auth.answers import (
    Tokens,
    error_code,
    is_token,
    json_object,
    known_code,
    read_request_uri,
    read_tokens,
)
from appview.auth.dpop_requests import Outgoing, ProvenClient, challenge_error
from appview.auth.endpoints import TIMEOUT_S, Endpoints, refuse_error
from appview.auth.grant import Credentials, Flow, Granted, Refusal, SignInFailed
from appview.auth.metadata import App
from appview.auth.scopes import Definitions, fallbacks
from appview.auth.servers import Server, Servers
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient, Streamed

MAX_PDS_ANSWER_BYTES = 4_194_304
STEP_TIMEOUT_S = 40  # of `begin` and of `finish`, each in all
LOOK_UP_TIMEOUT_S = 15  # of all that a refresh does before it uses its token

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PdsAnswer:
    """What a PDS answered, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    invalid_token: bool  # the access token is no good any more: refresh, and ask again


class OAuthClient:
    """This service as a client of everybody's authorization server; see the module for its promises."""

    def __init__(
        self,
        app: App,
        client: GuardedClient,
        identities: IdentityResolver,
        definitions: Definitions,
        *,
        servers: Servers | None = None,
        timeout_s: float = TIMEOUT_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._allow_loopback = client.allow_loopback
        self._people = People(identities)
        self._servers = servers or Servers(client)
        self._proven = ProvenClient(client, now=now)
        self._endpoints = Endpoints(app, self._proven, timeout_s=timeout_s, now=now)
        self._definitions = definitions
        self._timeout_s = timeout_s
        self._now = now

    @property
    def app(self) -> App:
        """Who we are. Set anew when there is another client key."""
        return self._endpoints.app

    @app.setter
    def app(self, app: App) -> None:
        self._endpoints.app = app

    # -- signing in

    async def begin(self, identifier: str, scope: str, *, prompt: str | None = None) -> tuple[str, Flow]:
        """The address to send a person to, and what must be kept until they are back.

        `identifier` is a handle, a DID, or the address of a PDS or authorization server. What the
        server does not understand of `scope` is asked for in older words (`Flow.scope` has them).
        """
        async with _limited(STEP_TIMEOUT_S):
            name = read_identifier(identifier, allow_loopback=self._allow_loopback)
            if isinstance(name, Origin):
                person, server = None, await self._servers.at(name.url)
            else:
                person = await self._people.find(name)
                server = await self._servers.server(await self._servers.issuer_of(person.pds))
            flow = Flow(
                state=secrets.token_urlsafe(32),
                verifier=secrets.token_urlsafe(48),
                dpop_key=dpop.make_key(),
                issuer=server.issuer,
                scope=scope,
                did=person and person.did,
                pds=person and person.pds,
                kid=self.app.keys and self.app.keys.signing.kid,
            )
            request_uri, flow = await self._push(server, flow, person, prompt)
        query = urlencode({"client_id": self.app.client_id, "request_uri": request_uri})
        joint = "&" if "?" in server.authorization_endpoint else "?"
        return f"{server.authorization_endpoint}{joint}{query}", flow

    async def _push(
        self, server: Server, flow: Flow, person: Person | None, prompt: str | None
    ) -> tuple[str, Flow]:
        challenge = urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
        wish = {
            "response_type": "code",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": flow.state,
            "redirect_uri": self.app.redirect_uri,
        }
        if person is not None:
            wish["login_hint"] = person.handle or person.did
        if prompt is not None:
            wish["prompt"] = prompt
        published = set(self.app.scope.split())
        for scope in fallbacks(flow.scope, self._definitions):
            if scope != flow.scope and not published.issuperset(scope.split()):
                continue
            answer, nonce = await self._endpoints.post(
                server, server.par_endpoint, flow, wish | {"scope": scope}
            )
            flow = msgspec.structs.replace(flow, nonce=nonce)
            error = error_code(answer) if answer.status == 400 else None
            if error != "invalid_scope":
                refuse_error(answer)
                body = json_object(answer, Refusal.BAD_SERVER)
                return read_request_uri(body), msgspec.structs.replace(flow, scope=scope)
        raise SignInFailed(Refusal.SERVER_REFUSED, "the server knows none of our scopes: invalid_scope")

    async def finish(self, flow: Flow, params: Mapping[str, str]) -> Granted:
        """The grant that a person came back with; `params` are the callback's query.

        The caller has found `flow` by its state and forgotten it: neither is good twice.
        """
        if not hmac.compare_digest(params.get("state", "").encode(errors="replace"), flow.state.encode()):
            raise SignInFailed(Refusal.UNKNOWN_STATE)
        if params.get("iss") != flow.issuer:  # our servers all promise to say it (RFC 9207)
            raise SignInFailed(Refusal.WRONG_ISSUER, "another server than the person was sent to")
        if "error" in params:
            error = known_code(params["error"])
            refusal = Refusal.DENIED if error == "access_denied" else Refusal.SERVER_REFUSED
            raise SignInFailed(refusal, error or "the server has an error of its own")
        code = params.get("code", "")
        if not is_token(code):
            raise SignInFailed(Refusal.SERVER_REFUSED, "neither a code nor an error")
        async with _limited(STEP_TIMEOUT_S):
            server = await self._servers.server(flow.issuer)
            wish = {
                "grant_type": "authorization_code",
                "code": code,
                "code_verifier": flow.verifier,
                "redirect_uri": self.app.redirect_uri,
            }
            asked_at = self._now()
            answer, nonce = await self._endpoints.post(server, server.token_endpoint, flow, wish)
            refuse_error(answer)
            tokens = read_tokens(json_object(answer, Refusal.BAD_TOKEN))
            grant = _credentials(tokens, flow, "", nonce, asked_at)
            try:
                person = await self._whose(tokens, flow)
            except SignInFailed:
                await self._give_back(grant)
                raise
        return Granted(person.did, person.handle, msgspec.structs.replace(grant, pds=person.pds))

    async def _whose(self, tokens: Tokens, flow: Flow) -> Person:
        """The account that the tokens speak for: their server may speak for it, and it was asked for."""
        if flow.did is not None and tokens.sub != flow.did:
            raise SignInFailed(Refusal.WRONG_ACCOUNT, "the token is another account's")
        person = await self._people.current(tokens.sub)
        if await self._servers.issuer_of(person.pds, fresh=True) != flow.issuer:
            raise SignInFailed(Refusal.WRONG_ISSUER, "the account belongs to another server")
        return person

    # -- a grant's life

    async def refresh(self, credentials: Credentials) -> Credentials:
        """New tokens for old, in at most `LOOK_UP_TIMEOUT_S` and two requests' time.

        Once it was called the old ones may be used up: it is not to be cancelled. GRANT_GONE: sign in
        again; UNREACHABLE: perhaps used up, perhaps not.
        """
        if credentials.refresh_token is None:
            raise SignInFailed(Refusal.GRANT_GONE, "the grant came without a refresh token")
        async with _limited(LOOK_UP_TIMEOUT_S):
            pds = await self._still_there(credentials)
            server = await self._servers.server(credentials.issuer)
        wish = {"grant_type": "refresh_token", "refresh_token": credentials.refresh_token}
        asked_at = self._now()
        answer, nonce = await self._endpoints.post(server, server.token_endpoint, credentials, wish)
        if error_code(answer) == "invalid_grant":
            raise SignInFailed(Refusal.GRANT_GONE, "invalid_grant")
        refuse_error(answer)
        tokens = read_tokens(json_object(answer, Refusal.BAD_TOKEN))
        if tokens.sub != credentials.did:
            raise SignInFailed(Refusal.WRONG_ACCOUNT, "the new token is another account's")
        renewed = _credentials(tokens, credentials, pds, nonce, asked_at)
        return msgspec.structs.replace(
            renewed,
            refresh_token=renewed.refresh_token or credentials.refresh_token,
            pds_nonce=credentials.pds_nonce,
        )

    async def _still_there(self, credentials: Credentials) -> str:
        """The account's PDS. GRANT_GONE if it moved to where the grant's server does not speak for it;
        while nobody can tell, nothing has changed."""
        person = await self._people.known(credentials.did)
        if person is None or person.pds == credentials.pds:
            return credentials.pds
        if await self._servers.issuer_of(person.pds) != credentials.issuer:
            raise SignInFailed(Refusal.GRANT_GONE, "the account has moved to another server")
        return person.pds

    async def revoke(self, credentials: Credentials) -> None:
        """Ends the grant at its server, as far as that offers it. Raises SignInFailed."""
        server = await self._servers.server(credentials.issuer)
        if server.revocation_endpoint is None:
            return
        wish = {"token": credentials.refresh_token or credentials.access_token}
        answer, _ = await self._endpoints.post(server, server.revocation_endpoint, credentials, wish)
        refuse_error(answer)
        if answer.status not in (200, 204):
            raise SignInFailed(Refusal.SERVER_REFUSED, f"the server answered with status {answer.status}")

    async def _give_back(self, credentials: Credentials) -> None:
        """Revokes what must not be used. A server that does not want to hear of it keeps it."""
        try:
            await self.revoke(credentials)
        except SignInFailed as failure:
            log.warning("grant not given back", issuer=credentials.issuer, refusal=str(failure.refusal))

    # -- speaking for a person

    async def call_pds(
        self,
        credentials: Credentials,
        method: str,
        nsid: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | Streamed | None = None,
        content_type: str | None = None,
        timeout_s: float | None = None,
    ) -> tuple[PdsAnswer, Credentials]:
        """One XRPC call in the person's name, without a refresh: see `PdsAnswer.invalid_token`.

        `timeout_s` None: as long as for any other request. The credentials come back with the PDS's
        latest nonce. Raises SignInFailed for want of an answer.
        """
        query = f"?{urlencode(params)}" if params else ""
        headers = {"Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        answer, nonce = await self._proven.send(
            Outgoing(method, f"{credentials.pds}/xrpc/{nsid}{query}", headers, body),
            key=credentials.dpop_key,
            nonce=credentials.pds_nonce,
            access_token=credentials.access_token,
            max_bytes=MAX_PDS_ANSWER_BYTES,
            timeout_s=timeout_s or self._timeout_s,
        )
        stale = answer.status == 401 and (
            challenge_error(answer) == "invalid_token" or error_code(answer) == "invalid_token"
        )
        return (
            PdsAnswer(answer.status, answer.headers, answer.body, stale),
            msgspec.structs.replace(credentials, pds_nonce=nonce),
        )


def _credentials(
    tokens: Tokens, held: Flow | Credentials, pds: str, nonce: str | None, asked_at: float
) -> Credentials:
    return Credentials(
        did=tokens.sub,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        dpop_key=held.dpop_key,
        issuer=held.issuer,
        pds=pds,
        scope=tokens.scope,
        expires_at=None if tokens.life_s is None else asked_at + tokens.life_s,
        server_nonce=nonce,
        kid=held.kid,
    )


@asynccontextmanager
async def _limited(timeout_s: float) -> AsyncIterator[None]:
    """However many servers are asked in a row, and however slowly they answer."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise SignInFailed(Refusal.UNREACHABLE, "no answer in time") from None
