"""Proofs that whoever sends a token also holds its key (DPoP, RFC 9449). Pure.

A key is made for each flow, and kept as the JSON of its private JWK; tokens are bound to it. Each
request carries a proof of its own: a JWT over method, address, time and a fresh id, with the
server's nonce, and with the token's hash where a token is shown (rule O6).
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey

ALGORITHM = "ES256"
MAX_NONCE = 1024


def make_key() -> str:
    """A new P-256 key, as the JSON of its private JWK."""
    return orjson.dumps(ECKey.generate_key("P-256", private=True).as_dict(private=True)).decode()


def proof(
    key: str,
    method: str,
    url: str,
    *,
    now: float,
    nonce: str | None = None,
    access_token: str | None = None,
) -> str:
    """The value of the `DPoP` header of one request; good for this request alone."""
    held = ECKey.import_key(orjson.loads(key))
    claims: dict[str, str | int] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": proven_url(url),
        "iat": int(now),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    if access_token is not None:
        claims["ath"] = token_hash(access_token)
    header = {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": held.as_dict(private=False)}
    return jwt.encode(header, claims, held, algorithms=[ALGORITHM])


def proven_url(url: str) -> str:
    """The address as a proof names it: without query and fragment (RFC 9449 §4.2)."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "", ""))


def token_hash(access_token: str) -> str:
    """base64url of the token's sha-256, unpadded."""
    return urlsafe_b64encode(sha256(access_token.encode()).digest()).rstrip(b"=").decode()


def is_nonce(text: str) -> bool:
    """True for a nonce that we send back: printable ASCII of a sane length (RFC 9449 §8.1)."""
    return 0 < len(text) <= MAX_NONCE and text.isascii() and text.isprintable() and '"' not in text
