"""A key that labels are signed with, `#atproto_label` in our DID document: K-256, and for nothing else. Pure.

<https://atproto.com/specs/cryptography>
"""

from __future__ import annotations

from dataclasses import dataclass, field

import coincurve

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_K256_PREFIX = b"\xe7\x01"


@dataclass(frozen=True, slots=True)
class LabelKey:
    """`secret`: the 32 bytes of the private key."""

    secret: bytes = field(repr=False)

    @classmethod
    def make(cls) -> LabelKey:
        return cls(coincurve.PrivateKey().secret)

    @property
    def did_key(self) -> str:
        number = int.from_bytes(_K256_PREFIX + coincurve.PrivateKey(self.secret).public_key.format())
        digits = ""
        while number:
            number, digit = divmod(number, 58)
            digits = _BASE58[digit] + digits
        return f"did:key:z{digits}"

    def sign(self, message: bytes) -> bytes:
        """64 bytes r‖s over sha-256 of the message, low-S as the library always makes it."""
        return coincurve.PrivateKey(self.secret).sign_recoverable(message)[:64]
