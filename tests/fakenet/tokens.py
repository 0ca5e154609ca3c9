"""Service tokens as a PDS makes them, and as one never would.

token(repo.key, iss=repo.did, aud="did:web:plyr.test", lxm="fm.plyr.feed.getLatest")
token(repo.key, iss=repo.did, aud=…, lxm=…, exp=None)                   # a claim that is left out
token(repo.key, iss=repo.did, aud=…, lxm=…, header={"alg": "none"})
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from typing import Any

import orjson

from firehose.keys import PublicKey
from tests.fakenet.repo import SigningKey

ORDERS = {
    "ES256K": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(
    key: SigningKey, *, header: Mapping[str, Any] | None = None, high_s: bool = False, **claims: Any
) -> str:
    """A signed token; a claim or member of the header that is None is left out."""
    now = int(time.time())
    alg = PublicKey.parse(key.did_key).jwt_alg
    head = {"typ": "JWT", "alg": alg} | dict(header or {})
    body = {"iat": now, "exp": now + 60, "jti": secrets.token_hex(16)} | claims
    signed = ".".join(
        b64(orjson.dumps({name: value for name, value in part.items() if value is not None}))
        for part in (head, body)
    )
    signature = key.sign(signed.encode())
    if high_s:
        s = ORDERS[alg] - int.from_bytes(signature[32:], "big")
        signature = signature[:32] + s.to_bytes(32, "big")
    return f"{signed}.{b64(signature)}"
