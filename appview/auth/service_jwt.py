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
from typing import Any, NamedTuple

import msgspec

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
_NOT_AS_IT_MUST_BE = (msgspec.MsgspecError, UnicodeDecodeError)


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
        return key.verify_jwt(self.alg, self.signed, self.signature)


class _Header(msgspec.Struct):
    alg: str
    typ: Any = None
    crit: Any = msgspec.UNSET


class _Claims(msgspec.Struct):
    """`Any` where what is of another type has a name of its own."""

    exp: float | None = None
    iat: float = 0
    aud: Any = None
    lxm: Any = None
    iss: Any = None
    jti: str = ""


_header_of = msgspec.json.Decoder(_Header).decode
_claims_of = msgspec.json.Decoder(_Claims).decode


def read_token(text: str, *, audiences: Set[str], lxm: Nsid | None, now_s: float) -> ServiceToken:
    """The token, if everything in it is as it must be for one of `audiences` (DIDs of ours) and the method
    `lxm`, now. Raises BadJwt or a kind of it. `lxm` None: what is asked for is no method, so none fits.
    """
    if len(text) > MAX_BYTES or not text.isascii():
        raise BadJwt
    signed, _, signature = text.encode().rpartition(b".")
    header, _, payload = signed.partition(b".")  # whose own dots, if any, are no base64url
    alg = _read_header(header)
    try:
        claims = _claims_of(_bytes(payload))
    except _NOT_AS_IT_MUST_BE:
        raise BadJwt from None
    exp, aud, issuer, jti = claims.exp, claims.aud, claims.iss, claims.jti
    if exp is None:
        raise BadJwt("The token does not expire.")
    if now_s >= exp:
        raise JwtExpired
    if exp > now_s + MAX_LIFE_S + SKEW_S:
        raise BadJwt("The token lives for too long.")
    if claims.iat > now_s + SKEW_S:
        raise BadJwt("The token comes out of the future.")
    if type(aud) is not str or aud not in audiences:
        _check_service(aud, audiences, lxm)
    if lxm is None or claims.lxm != lxm:
        raise BadJwtLexiconMethod
    if type(issuer) is not str or not is_atproto_did(issuer):
        raise BadJwtIss("The token's issuer is no account of this network.")
    if not (0 < len(jti) <= MAX_JTI and jti.isascii() and jti.isprintable()):
        raise BadJwt("The token has no jti, so it could be used again and again.")
    return ServiceToken(Did(issuer), jti, exp, alg, signed, _bytes(signature))


@lru_cache(maxsize=64)
def _read_header(segment: bytes) -> str:
    """The algorithm. Raises BadJwtType for this network's other tokens, which say what they are (`at+jwt`,
    `refresh+jwt`, `dpop+jwt`). All of a PDS' tokens begin alike, so what was read is kept."""
    try:
        header = _header_of(_bytes(segment))
    except _NOT_AS_IT_MUST_BE:
        raise BadJwt from None
    typ = header.typ
    if header.crit is not msgspec.UNSET:
        raise BadJwt
    if typ is not None and (type(typ) is not str or typ.upper() != "JWT"):
        raise BadJwtType
    if header.alg not in _ALGORITHMS:
        raise BadJwtSignature("The token is signed by an algorithm that no account's key has.")
    return header.alg


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


def _bytes(segment: bytes) -> bytes:
    """Base64url without padding. Raises BadJwt for anything else."""
    try:
        return binascii.a2b_base64(segment.translate(_BASE64) + b"=" * (-len(segment) % 4), strict_mode=True)
    except binascii.Error:
        raise BadJwt from None
