"""Who we are as an OAuth client: the client's id and the document behind it. Pure.

On the network, the id is the https address of a document of ours, and servers fetch it (rule O1).
On a machine of one's own nothing can be fetched: there, the id begins with `http://localhost` and
holds what the document would say (rule O2); such a client has no key, and its grants last two weeks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from appview.auth.client_keys import ALGORITHM, ClientKeys
from firehose.address import check_url, is_public_hostname
from firehose.fetch_errors import Blocked

METADATA_PATH = "/oauth-client-metadata.json"
JWKS_PATH = "/.well-known/jwks.json"
CALLBACK_PATH = "/auth/callback"


class NoClient(ValueError):
    """From this address nobody can sign in: it is neither public https without a port, nor loopback."""


@dataclass(frozen=True, slots=True)
class App:
    """This service as an OAuth client. `scope` is all that any flow may ask for; `keys` None: public."""

    client_id: str
    redirect_uri: str
    scope: str
    name: str
    uri: str
    keys: ClientKeys | None

    def document(self) -> dict[str, Any]:
        """The client metadata document, as served at `client_id`."""
        document = {
            "client_id": self.client_id,
            "client_name": self.name,
            "client_uri": self.uri,
            "application_type": "web",
            "redirect_uris": [self.redirect_uri],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": self.scope,
            "dpop_bound_access_tokens": True,
        }
        if self.keys is None:
            return {**document, "token_endpoint_auth_method": "none"}
        return {
            **document,
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": ALGORITHM,
            "jwks_uri": self.uri + JWKS_PATH,
        }


def web_app(public_url: str, scope: str, *, name: str, keys: ClientKeys | None) -> App:
    """The client whose document lies under `public_url`, an https origin without a port."""
    origin = public_url.rstrip("/")
    host = origin.removeprefix("https://")
    if not origin.startswith("https://") or not is_public_hostname(host):
        raise NoClient(f"an OAuth client is an https origin without a port, not {public_url[:200]!r}")
    return App(origin + METADATA_PATH, origin + CALLBACK_PATH, scope, name, origin, keys)


def loopback_app(port: int, scope: str, *, name: str) -> App:
    """The development client: people come back to 127.0.0.1 at `port`."""
    origin = f"http://127.0.0.1:{port}"
    redirect_uri = origin + CALLBACK_PATH
    client_id = "http://localhost?" + urlencode({"redirect_uri": redirect_uri, "scope": scope})
    return App(client_id, redirect_uri, scope, name, origin, None)


def app_at(public_url: str, scope: str, *, name: str, keys: ClientKeys | None) -> App:
    """The client that fits where we are reached; raises `NoClient`."""
    if public_url.startswith("https://"):
        return web_app(public_url, scope, name=name, keys=keys)
    try:
        url = check_url(public_url, allow_loopback=True)
    except Blocked:
        raise NoClient(f"neither https nor loopback: {public_url[:200]!r}") from None
    return loopback_app(url.port or 80, scope, name=name)
