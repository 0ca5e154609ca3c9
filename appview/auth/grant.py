"""What passes between the OAuth protocol (`oauth`) and who remembers it (`sessions`, the flow's table).

All of it is secret as a whole: it is stored sealed (`keyring`), and its text form shows nothing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lexicons.syntax import Did


class Refusal(StrEnum):
    """Why signing in, or a refresh, ended without a grant: one word for pages, logs and metrics."""

    BAD_INPUT = "bad_input"  # neither handle nor DID nor the address of a server
    UNKNOWN_ACCOUNT = "unknown_account"  # the handle or DID leads nowhere
    NO_SERVER = "no_server"  # the PDS names no authorization server, or more than one
    BAD_SERVER = "bad_server"  # its metadata break the profile's rules, or name another issuer
    UNREACHABLE = "unreachable"  # no answer in time; trying again may help
    BLOCKED = "blocked"  # an address that we do not go to
    SERVER_REFUSED = "server_refused"  # the server answered with an error of its own
    DENIED = "denied"  # the person said no
    EXPIRED = "expired"  # the flow took longer than it may
    UNKNOWN_STATE = "unknown_state"  # never ours, or used before
    OTHER_BROWSER = "other_browser"  # begun elsewhere
    WRONG_ISSUER = "wrong_issuer"  # the answer is not the server's that the person was sent to
    WRONG_ACCOUNT = "wrong_account"  # the token is somebody else's than was asked for
    WRONG_SCOPE = "wrong_scope"  # less was granted than a session needs
    BAD_NONCE = "bad_nonce"  # the server is never content with its own nonce
    BAD_TOKEN = "bad_token"  # an answer that is no token response by the profile
    GRANT_GONE = "grant_gone"  # the refresh token is used up, revoked or expired


class SignInFailed(Exception):
    """No grant, for a reason that a page can show; `detail` is for people and holds no secret."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal}: {detail}" if detail else str(refusal))
        self.refusal = refusal
        self.detail = detail


class _Secret(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Flow(_Secret, frozen=True):
    """What must still be known when a person comes back. `did` None: they began with a server's address,
    and whoever they turn out to be must live there."""

    state: str
    verifier: str
    dpop_key: str  # private JWK, JSON
    issuer: str
    scope: str
    did: Did | None = None
    pds: str | None = None
    nonce: str | None = None  # the authorization server's latest
    kid: str | None = None  # of the client key that signed; None: a public client


class Credentials(_Secret, frozen=True):
    """What speaks for a person at their PDS."""

    did: Did
    access_token: str
    refresh_token: str | None
    dpop_key: str  # private JWK, JSON
    issuer: str
    pds: str
    scope: str  # as granted
    expires_at: float | None = None  # of the access token, seconds since 1970
    server_nonce: str | None = None
    pds_nonce: str | None = None
    kid: str | None = None  # of the client key that the grant was made with


class Granted(_Secret, frozen=True):
    """A person came back with a grant. `handle` is verified both ways; None: none is."""

    did: Did
    handle: str | None
    credentials: Credentials
