"""Who a person is, from what they type, as signing in has to know it: in doubt, nobody.

The network's identity errors become `SignInFailed`. A handle counts if it leads to a DID whose own document
claims it (/specs/handle; rules D4, O3).
"""

from __future__ import annotations

from dataclasses import dataclass

from appview.auth.grant import Refusal, SignInFailed
from appview.auth.servers import origin_of
from firehose.did_document import has_usable_tld
from firehose.identity import IdentityDoc, IdentityError, IdentityResolver, IdentityUnreachable
from lexicons.syntax import Did, Handle, is_atproto_did, is_handle

MAX_IDENTIFIER = 512
# What comes along when a handle is copied from a page: spaces, and marks that turn the text's direction.
_INVISIBLE = dict.fromkeys(
    map(
        ord,
        "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff",
    )
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The address of a server, typed instead of a name."""

    url: str


@dataclass(frozen=True, slots=True)
class Person:
    """An account that works: `handle` is verified both ways, None if none is; `pds` is an origin."""

    did: Did
    handle: Handle | None
    pds: str


def read_identifier(text: str, *, allow_loopback: bool) -> Did | Handle | Origin:
    """What a person typed; raises SignInFailed (BAD_INPUT, or BLOCKED for an address that we don't go to)."""
    if len(text) > MAX_IDENTIFIER:
        raise SignInFailed(Refusal.BAD_INPUT, "too long")
    name = text.translate(_INVISIBLE).strip()
    if name.startswith(("https://", "http://")):
        origin = origin_of(name, allow_loopback=allow_loopback)
        if origin is None:
            raise SignInFailed(Refusal.BAD_INPUT, "an address with a path is no server's")
        return Origin(origin)
    name = name.removeprefix("at://").removeprefix("@")
    if is_atproto_did(name):
        return Did(name)
    if is_handle(name) and has_usable_tld(name, development=allow_loopback):
        return Handle(name.lower())
    raise SignInFailed(Refusal.BAD_INPUT, "neither a handle nor a DID nor a server's address")


class People:
    """Looks accounts up through the resolver that the firehose uses, too."""

    def __init__(self, identities: IdentityResolver) -> None:
        self._identities = identities

    async def find(self, name: Did | Handle) -> Person:
        """The account of a name, as it is now (D7). Raises SignInFailed (UNKNOWN_ACCOUNT, UNREACHABLE)."""
        if name.startswith("did:"):
            return await self.current(Did(name))
        try:
            did = await self._identities.resolve_handle(name)
        except IdentityUnreachable:
            raise SignInFailed(Refusal.UNREACHABLE, "nobody can say now whose handle that is") from None
        if did is None or not is_atproto_did(did):
            raise SignInFailed(Refusal.UNKNOWN_ACCOUNT, "the handle leads to no account")
        doc = await self._resolve(did, fresh=True)
        if name not in (doc.handle, doc.unchecked):
            raise SignInFailed(Refusal.UNKNOWN_ACCOUNT, "the account does not go by that handle")
        return _person(doc)

    async def current(self, did: Did) -> Person:
        """The account as its document says now, whatever was known before. Raises as `find`."""
        return _person(await self._resolve(did, fresh=True))

    async def known(self, did: Did) -> Person | None:
        """The account as far as can be told now; None: nobody can. Raises SignInFailed (UNKNOWN_ACCOUNT)."""
        try:
            return _person(await self._resolve(did, fresh=False))
        except SignInFailed as failure:
            if failure.refusal is Refusal.UNREACHABLE:
                return None
            raise

    async def _resolve(self, did: Did, *, fresh: bool) -> IdentityDoc:
        try:
            return await self._identities.resolve(did, refresh=fresh)
        except IdentityUnreachable:
            raise SignInFailed(Refusal.UNREACHABLE, "the account's DID cannot be looked up now") from None
        except IdentityError:
            raise SignInFailed(Refusal.UNKNOWN_ACCOUNT, "the DID leads to no account") from None


def _person(doc: IdentityDoc) -> Person:
    if doc.pds is None:
        raise SignInFailed(Refusal.UNKNOWN_ACCOUNT, "the account has no PDS")
    return Person(doc.did, doc.handle, doc.pds)
