"""An authorization server, the PDS before it, and whatever either could do to a client that it wishes ill.

    async with AuthServer() as server:
        url, flow = await client.begin(…)
        params = server.consent(url, did)               # a person allowed it; the callback's query
        server.instead[TOKEN] = slow                    # from now on: another answer, see `misdeeds`
        server.edit[TOKEN] = lambda body: body | {…}    # or the right one, changed

Left alone it is strict: it checks proofs, nonces, PKCE and assertions, and each refresh token is good once.
What a client did wrong is in `wrongs`. Every secret that it gave out or was told is in `secrets`.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from hashlib import sha256
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from joserfc.util import urlsafe_b64encode

from tests.fakenet.http import Page, Writer, json_page

RESOURCE = "/.well-known/oauth-protected-resource"
METADATA = "/.well-known/oauth-authorization-server"
AUTHORIZE = "/oauth/authorize"
PAR = "/oauth/par"
TOKEN = "/oauth/token"
REVOKE = "/oauth/revoke"
XRPC = "/xrpc/"

Edit = Callable[[dict[str, Any]], dict[str, Any]]


class Nonces(StrEnum):
    """How it is content with the nonces that it gave out."""

    STEADY = "one, for ever"
    ROTATING = "each answer brings the next, and only that is good"
    NEVER_RIGHT = "each answer brings the next, and none is good"
    STUBBORN = "always the same, and it is never good"
    NONE = "it gives out none, and wants none"


def metadata_of(origin: str) -> dict[str, Any]:
    """What the server at this origin says of itself."""
    return {
        "issuer": origin,
        "authorization_endpoint": origin + AUTHORIZE,
        "token_endpoint": origin + TOKEN,
        "pushed_authorization_request_endpoint": origin + PAR,
        "revocation_endpoint": origin + REVOKE,
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["atproto", "transition:generic"],
        "authorization_response_iss_parameter_supported": True,
        "require_pushed_authorization_requests": True,
        "client_id_metadata_document_supported": True,
    }


class _Refused(Exception):
    def __init__(self, error: str, status: int = 400) -> None:
        self.error = error
        self.status = status


class AuthServer:
    """`metadata` and `resource` are its documents; `grants` what is good, by refresh token."""

    def __init__(self) -> None:
        self.nonces = Nonces.STEADY
        self.instead: dict[str, Page | Writer] = {}
        self.edit: dict[str, Edit] = {}
        self.known_scopes: frozenset[str] | None = None  # None: all
        self.jwks: Mapping[str, Any] | None = None  # of a confidential client
        self.asked: Counter[str] = Counter()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.secrets: set[str] = set()
        self.wrongs: list[str] = []
        self.revoked: list[str] = []
        self.records: list[dict[str, Any]] = []
        self._nonce = "nonce-0"
        self._requests: dict[str, dict[str, str]] = {}
        self._codes: dict[str, tuple[dict[str, str], str, str]] = {}  # request, DID, key
        self._grants: dict[str, tuple[str, str, str]] = {}  # refresh token: DID, scope, key
        self._access: dict[str, str] = {}  # token: key
        self._seen: set[str] = set()
        self._runner: web.ServerRunner | None = None
        self.origin = ""
        self.metadata: dict[str, Any] = {}
        self.resource: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._answer, access_log=None), shutdown_timeout=0.1, handle_signals=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://localhost:{self._runner.addresses[0][1]}"
        self.resource = {"resource": self.origin, "authorization_servers": [self.origin]}
        self.metadata = metadata_of(self.origin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # -- the person

    def consent(self, url: str, did: str) -> dict[str, str]:
        """The callback's query after `did` allowed what the address `url` asks for."""
        wish = self._requests.pop(parse_qs(urlsplit(url).query)["request_uri"][0])
        code = self._secret("code")
        self._codes[code] = (wish, did, wish["jkt"])
        return {"code": code, "state": wish["state"], "iss": self.origin}

    def refuse(self, url: str, error: str = "access_denied") -> dict[str, str]:
        wish = self._requests.pop(parse_qs(urlsplit(url).query)["request_uri"][0])
        return {"error": error, "state": wish["state"], "iss": self.origin}

    # -- answers

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = XRPC if request.path.startswith(XRPC) else request.path
        self.asked[path] += 1
        form = await _form(request)
        self.forms.append((path, form))
        self.secrets |= {form[name] for name in form if name in _TELLING}
        self.secrets |= {v.split()[-1] for k, v in request.headers.items() if k in ("DPoP", "Authorization")}
        if (page := self.instead.get(path)) is not None:
            if isinstance(page, Page):
                headers = {"DPoP-Nonce": self._nonce, **page.headers}
                return web.Response(body=page.body, status=page.status, headers=headers)
            response = web.StreamResponse()
            with suppress(ConnectionError):
                await page(request, response)  # type: ignore[arg-type]
            return response
        return self._written(path, await self._good(path, request, form))

    async def _good(self, path: str, request: web.BaseRequest, form: dict[str, str]) -> Page:
        try:
            return await self._served(path, request, form)
        except _Refused as refused:
            challenge = {"WWW-Authenticate": f'DPoP algs="ES256", error="{refused.error}"'}
            page = json_page({"error": refused.error, "error_description": "no"}, refused.status)
            return Page(page.body, page.status, {**page.headers, **(challenge if path == XRPC else {})})

    async def _served(self, path: str, request: web.BaseRequest, form: dict[str, str]) -> Page:
        if path in (RESOURCE, METADATA):
            return json_page(self.resource if path == RESOURCE else self.metadata)
        if path not in (PAR, TOKEN, REVOKE, XRPC):
            return Page(b"nothing here", 404)
        token = request.headers.get("Authorization", "").removeprefix("DPoP ") if path == XRPC else None
        key = self._proven(request, token)
        if path == PAR:
            return json_page(self._pushed(form, key), 201)
        if path == TOKEN:
            return json_page(self._tokens(form, key))
        if path == REVOKE:
            self._client(form)
            self.revoked.append(form["token"])
            self._grants.pop(form["token"], None)
            return json_page({})
        if self._access.get(token or "") != key:
            raise _Refused("invalid_token", 401)
        self.records.append(orjson.loads(await request.read() or b"{}"))
        return json_page({"records": len(self.records)})

    def _written(self, path: str, page: Page) -> web.Response:
        body, headers = page.body, dict(page.headers)
        if path in self.edit and page.status in (200, 201):
            body = orjson.dumps(self.edit[path](orjson.loads(body)))
        if path not in (RESOURCE, METADATA) and self.nonces is not Nonces.NONE:
            if self.nonces in (Nonces.ROTATING, Nonces.NEVER_RIGHT):
                self._nonce = f"nonce-{secrets.token_hex(4)}"
            headers["DPoP-Nonce"] = self._nonce
        return web.Response(body=body, status=page.status, headers=headers)

    # -- the protocol, strictly

    def _proven(self, request: web.BaseRequest, token: str | None) -> str:
        """The thumbprint of the key that the request proves to hold."""
        proof = request.headers.get("DPoP", "")
        header = orjson.loads(_decoded(proof.split(".")[0]))
        key = ECKey.import_key(header["jwk"])
        claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        url = f"{self.origin}{request.path}"
        self._hold(header["typ"] == "dpop+jwt" and "d" not in header["jwk"], "proof's header")
        self._hold((claims["htm"], claims["htu"]) == (request.method, url), "proof of another request")
        self._once(claims["jti"], "proof")
        hashed = None if token is None else urlsafe_b64encode(sha256(token.encode()).digest()).decode()
        self._hold(claims.get("ath") == hashed, "proof's token")
        if self.nonces is Nonces.NONE:
            return key.thumbprint()
        if self.nonces in (Nonces.NEVER_RIGHT, Nonces.STUBBORN) or claims.get("nonce") != self._nonce:
            raise _Refused("use_dpop_nonce", 400 if token is None else 401)
        return key.thumbprint()

    def _client(self, form: Mapping[str, str]) -> None:
        if self.jwks is None:
            return
        known = KeySet.import_key_set(self.jwks)  # type: ignore[arg-type]
        claims = jwt.decode(form["client_assertion"], known, algorithms=["ES256"]).claims
        self._hold(claims["iss"] == claims["sub"] == form["client_id"], "assertion's client")
        self._hold(claims["aud"] == self.origin, "assertion for another server")
        self._once(claims["jti"], "assertion")

    def _pushed(self, form: dict[str, str], key: str) -> dict[str, Any]:
        self._client(form)
        self._hold(form["code_challenge_method"] == "S256" and form["response_type"] == "code", "request")
        if self.known_scopes is not None and not self.known_scopes.issuperset(form["scope"].split()):
            raise _Refused("invalid_scope")
        uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_hex(8)}"
        self._requests[uri] = form | {"jkt": key}
        return {"request_uri": uri, "expires_in": 300}

    def _tokens(self, form: dict[str, str], key: str) -> dict[str, Any]:
        self._client(form)
        if form["grant_type"] == "authorization_code":
            if form["code"] not in self._codes:
                raise _Refused("invalid_grant")
            wish, did, held = self._codes.pop(form["code"])
            challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode()
            if challenge != wish["code_challenge"] or held != key:
                raise _Refused("invalid_grant")
            self._hold(form["redirect_uri"] == wish["redirect_uri"], "redirect_uri")
            scope = wish["scope"]
        else:
            did, scope, held = self._grants.pop(form["refresh_token"], ("", "", ""))
            if held != key:
                raise _Refused("invalid_grant")
        access, refresh = self._secret("access"), self._secret("refresh")
        self._access[access], self._grants[refresh] = key, (did, scope, key)
        return {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "DPoP",
            "expires_in": 3600,
            "scope": scope,
            "sub": did,
        }

    def _hold(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrongs.append(what)

    def _once(self, jti: str, what: str) -> None:
        self._hold(jti not in self._seen, f"{what} used twice")
        self._seen.add(jti)

    def _secret(self, kind: str) -> str:
        self.secrets.add(value := f"{kind}-{secrets.token_urlsafe(16)}")
        return value


_TELLING = ("code", "code_verifier", "client_assertion", "refresh_token", "token", "state")


async def _form(request: web.BaseRequest) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    return {name: str(value) for name, value in (await request.post()).items()}


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
