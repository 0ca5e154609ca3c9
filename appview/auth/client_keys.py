"""The keys that this service signs with as a confidential OAuth client (`private_key_jwt`). Pure.

The newest key signs what begins now. A grant goes on with the key that it was made with, whose
`kid` it remembers (rule O5); so a key that was rotated out stays here, and is published, until
no grant needs it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

ALGORITHM = "ES256"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S = 60


class BadClientKey(ValueError):
    """The text is no private P-256 JWK."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key; `secret` is the JSON of its private JWK."""

    kid: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls) -> ClientKey:
        """A new one; its `kid` is its thumbprint (RFC 7638)."""
        return cls.load(orjson.dumps(ECKey.generate_key("P-256", private=True).as_dict(private=True)))

    @classmethod
    def load(cls, secret: str | bytes) -> ClientKey:
        """The key of a private JWK; raises `BadClientKey`, which does not repeat it."""
        try:
            jwk = orjson.loads(secret)
            key = ECKey.import_key(jwk)
        except (ValueError, TypeError, KeyError, AttributeError, JoseError):
            raise BadClientKey("not a JWK of an elliptic curve") from None
        if key.curve_name != "P-256" or not key.is_private:
            raise BadClientKey("not a private P-256 key")
        kid = jwk.get("kid") or key.thumbprint()
        return cls(kid, orjson.dumps(key.as_dict(private=True)).decode())

    def public(self) -> dict[str, Any]:
        """The JWK that servers check our signatures with."""
        jwk = ECKey.import_key(orjson.loads(self.secret)).as_dict(private=False)
        return {**jwk, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}

    def assertion(self, client_id: str, issuer: str, *, now: float) -> str:
        """A JWT by which we are `client_id` to the server `issuer`; single use, for a minute."""
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": issuer,
            "jti": secrets.token_urlsafe(16),
            "iat": int(now),
            "exp": int(now) + ASSERTION_LIFE_S,
        }
        key = ECKey.import_key(orjson.loads(self.secret))
        return jwt.encode({"alg": ALGORITHM, "kid": self.kid}, claims, key, algorithms=[ALGORITHM])


class ClientKeys:
    """All keys, newest first; at least one. The first signs, every one is published."""

    def __init__(self, keys: Sequence[ClientKey]) -> None:
        if not keys:
            raise ValueError("a confidential client needs a key")
        self.signing = keys[0]
        self._keys = {key.kid: key for key in keys}

    def all(self) -> Sequence[ClientKey]:
        return list(self._keys.values())

    def find(self, kid: str) -> ClientKey | None:
        return self._keys.get(kid)

    def jwks(self) -> dict[str, Any]:
        """The body of `/.well-known/jwks.json`: public halves alone."""
        return {"keys": [key.public() for key in self._keys.values()]}
