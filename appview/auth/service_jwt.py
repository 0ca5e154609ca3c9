"""A service's token, read and judged: the short JWT with which a PDS says for whom it asks. Pure.

    header   {"typ": "JWT", "alg": "ES256K"}           named by the issuer's key, never chosen by the token
    payload  {"iss": "did:plc:…", "aud": "did:web:plyr.example", "lxm": "fm.plyr.feed.getLatest",
              "iat": 1790000000, "exp": 1790000060, "jti": "5c1f…"}

Whatever needs nobody else's word is judged here, before anybody is asked for a key (rules X7, X8, T32):
a token for another service, method or time costs us no look-up. Signature and `jti` are `service`'s.
<https://atproto.com/specs/xrpc#inter-service-authentication-jwt>
"""

from __future__ import annotations

import binascii
from collections.abc import Set
from functools import lru_cache
from typing import Any, NamedTuple, cast

import orjson

from appview.errors import (
    BadJwt,
    BadJwtAudience,
    BadJwtIss,
    BadJwtLexiconMethod,
    BadJwtSignature,
    BadJwtType,
    JwtExpired,
)
from firehose.keys import PublicKey
from lexicons.syntax import Did, Nsid, is_atproto_did

SERVICE_ID = "plyr_appview"
LABELER_ID = "atproto_labeler"
_OF_LABELERS = "com.atproto."  # what a labeler is asked, and no method of ours
MAX_BYTES = 4096
MAX_LIFE_S = 3600  # a PDS gives a token at most an hour
SKEW_S = 30  # an issuer's clock may be this far ahead
MAX_JTI = 128

# To base64, which is decoded natively; what is no base64url becomes what is neither.
_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
_ALGORITHMS = frozenset({"ES256K", "ES256"})


class ServiceToken(NamedTuple):
    """A token whose claims hold; whether its issuer signed it is still open.

    It is good once, until `expires_at` (seconds since 1970), under its `jti`.
    """

    issuer: Did
    jti: str
    expires_at: float
    alg: str
    signed: bytes
    signature: bytes

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether this key signed it, by the algorithm that is the key's own."""
        return self.alg == key.jwt_alg and key.verify_jwt(self.signed, self.signature)


def read_token(text: str, *, audiences: Set[str], lxm: Nsid | None, now_s: float) -> ServiceToken:
    """The token, if everything in it is as it must be for one of `audiences` (DIDs of ours) and the method
    `lxm`, now. Raises BadJwt or a kind of it. `lxm` None: what is asked for is no method, so none fits.
    """
    if len(text) > MAX_BYTES or not text.isascii():
        raise BadJwt
    data = text.encode()
    try:
        header, payload, signature = data.split(b".")
    except ValueError:
        raise BadJwt from None
    alg, claim = _read_header(header), _object(payload).get
    expires_at = _check_times(claim("exp"), claim("iat", 0), now_s)
    aud = claim("aud")
    if type(aud) is not str or aud not in audiences:
        _check_service(aud, audiences, lxm)
    if lxm is None or claim("lxm") != lxm:
        raise BadJwtLexiconMethod
    issuer, jti = claim("iss"), claim("jti")
    if type(issuer) is not str or not is_atproto_did(issuer):
        raise BadJwtIss("The token's issuer is no account of this network.")
    if type(jti) is not str or not 0 < len(jti) <= MAX_JTI or not (jti.isascii() and jti.isprintable()):
        raise BadJwt("The token has no jti, so it could be used again and again.")
    signed = data[: len(header) + 1 + len(payload)]
    return ServiceToken(Did(issuer), jti, expires_at, alg, signed, _bytes(signature))


@lru_cache(maxsize=64)
def _read_header(segment: bytes) -> str:
    """The algorithm. Raises BadJwtType for this network's other tokens, which say what they are (`at+jwt`,
    `refresh+jwt`, `dpop+jwt`). All of a PDS' tokens begin alike, so what was read is kept."""
    header = _object(segment)
    alg, typ = header.get("alg"), header.get("typ")
    if type(alg) is not str or "crit" in header:
        raise BadJwt
    if typ is not None and (type(typ) is not str or typ.upper() != "JWT"):
        raise BadJwtType
    if alg not in _ALGORITHMS:
        raise BadJwtSignature("The token is signed by an algorithm that no account's key has.")
    return alg


def _check_times(exp: object, iat: object, now_s: float) -> float:
    """When it expires. Raises JwtExpired, or BadJwt if it says no time or one that makes no sense."""
    # bool is an int, but none by its type
    if type(exp) is not int and type(exp) is not float:
        raise BadJwt("The token does not expire.")
    if now_s >= exp:
        raise JwtExpired
    if exp > now_s + MAX_LIFE_S + SKEW_S:
        raise BadJwt("The token lives for too long.")
    if (type(iat) is not int and type(iat) is not float) or iat > now_s + SKEW_S:
        raise BadJwt("The token comes out of the future.")
    return exp


def _check_service(aud: object, audiences: Set[str], lxm: Nsid | None) -> None:
    """Our DID with our service's id, where it is not bare, as PDSs still send it (rule X8); with that of our
    labeler for what labelers are asked."""
    if type(aud) is not str:
        raise BadJwtAudience
    did, _, service = aud.partition("#")
    if did not in audiences:
        raise BadJwtAudience
    of_labeler = service == LABELER_ID and lxm is not None and lxm.startswith(_OF_LABELERS)
    if service != SERVICE_ID and not of_labeler:
        raise BadJwtAudience


def _object(segment: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(_bytes(segment))
    except orjson.JSONDecodeError:
        raise BadJwt from None
    if type(value) is not dict:
        raise BadJwt
    return cast("dict[str, Any]", value)


def _bytes(segment: bytes) -> bytes:
    """Base64url without padding. Raises BadJwt for anything else."""
    try:
        return binascii.a2b_base64(segment.translate(_BASE64) + b"=" * (-len(segment) % 4), strict_mode=True)
    except binascii.Error:
        raise BadJwt from None
