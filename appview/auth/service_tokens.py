"""Who stands behind a service's token: its claims, the key of its issuer, and that it was never used before.

In this order, so that whoever sends rubbish costs little: what the token says (`service_jwt`); its signature,
by the key that we know; then, and only if it still could be good, the directory or the issuer's host is asked
for another key. That is the one place where somebody who asks for something makes us go out before we know
who they are, so it is counted by client first, goes through the guarded client, and the resolver remembers
what it was told, refusals too, and asks about one DID at most every few seconds (rule X9, T34).

    known here       the key in our table, which `ingest` keeps up to date
    unknown here     its DID document, for ten minutes
    bad signature    its DID document anew, once

A key that is in use is kept for a minute, so that a busy client costs no question for each token.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Set

from appview.auth.proviso import Proviso
from appview.auth.service_jwt import ServiceToken, read_token
from appview.errors import BadJwt, BadJwtIss, BadJwtSignature, UpstreamFailure
from appview.limits import Limit, RateLimiter
from appview.viewer import Viewer
from firehose.identity import IdentityError, IdentityResolver, IdentityUnreachable
from firehose.keys import PublicKey
from lexicons.syntax import Did, Nsid, Rev
from storage import people, used_tokens
from storage.reader import Reads, Rows

LOOKUPS = Limit(300, 300)
DOCUMENT_TTL_S = 600.0  # younger than the ten minutes that signing in may trust a document (rule D7)
KEY_TTL_S = 60.0
MOST_KEYS = 10_000
MOST_TAKEN = 10_000
SWEEP_EVERY_S = 60.0


class ServiceTokens:
    """Takes the tokens of other services for one of `audiences`, which are DIDs of ours. `writes` has the
    statements of `reads` and of `used_tokens`."""

    def __init__(
        self,
        *,
        reads: Reads,
        writes: Reads,
        resolver: IdentityResolver,
        audiences: Set[str],
        lookups: Limit = LOOKUPS,
        sweep_every_s: float = SWEEP_EVERY_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reads = reads
        self._writes = writes
        self._resolver = resolver
        self._audiences = audiences
        self._lookups = RateLimiter(lookups, now=now)
        self._sweep_every_s = sweep_every_s
        self._sweep_at = now() + sweep_every_s
        self._now = now
        self._taken: OrderedDict[tuple[Did, str], None] = OrderedDict()
        self._keys: OrderedDict[Did, tuple[PublicKey, float]] = OrderedDict()

    async def verify(self, text: str, lxm: Nsid | None, client: Callable[[], str | None]) -> Viewer:
        """For whom the service asks for the method `lxm`. Raises BadJwt or a kind of it, RateLimitExceeded,
        UpstreamFailure, or what storage raises. Here it is good no more; elsewhere, once it is used up.

        `client` tells the address that the look-ups for it are counted by.
        """
        now_s = self._now()
        token = read_token(text, audiences=self._audiences, lxm=lxm, now_s=now_s)
        kept = self._keys.get(token.issuer)
        if kept is None or now_s >= kept[1] or not token.is_signed_by(kept[0]):
            await self._find_key(token, client)
        self._take(token)
        if now_s >= self._sweep_at:
            self._sweep_at = now_s + self._sweep_every_s
            await used_tokens.sweep(self._writes)
        spending = used_tokens.spending(token.issuer, token.jti, token.expires_at)
        return Viewer(token.issuer, proviso=Proviso(self._reads, self._writes, spending, spent_first))

    def _take(self, token: ServiceToken) -> None:
        """Raises BadJwt for one that was shown to this process before: so that whoever repeats what they have
        caught is counted by their own address, and not by its issuer's name."""
        name = token.issuer, token.jti
        if name in self._taken:
            raise BadJwt("The token was used before.")
        self._taken[name] = None
        if len(self._taken) > MOST_TAKEN:
            self._taken.popitem(last=False)

    async def _find_key(self, token: ServiceToken, client: Callable[[], str | None]) -> None:
        """Keep the key that signed the token, wherever it is found. Raises BadJwtSignature if none did."""
        did = token.issuer
        stored = await people.signing_key(self._reads, did)
        if stored is not None and self._accepts(token, stored):
            return
        for refresh in (False, True):
            if self._accepts(token, await self._look_up(did, client(), refresh=refresh)):
                return
        raise BadJwtSignature

    async def _look_up(self, did: Did, client: str | None, *, refresh: bool) -> str:
        """The key in the account's DID document."""
        if refresh or not self._resolver.remembers(did):
            self._lookups.take(client)
        try:
            doc = await self._resolver.resolve(did, refresh=refresh)
        except IdentityUnreachable:
            raise UpstreamFailure("Whoever knows the token's issuer gives no answer.") from None
        except IdentityError:
            raise BadJwtIss from None
        if doc.signing_key is None:
            raise BadJwtIss
        return doc.signing_key

    def _accepts(self, token: ServiceToken, did_key: str) -> bool:
        """Whether this key signed the token. If so, it is kept for a while."""
        key = PublicKey.parse(did_key)
        if not token.is_signed_by(key):
            return False
        self._keys[token.issuer] = key, self._now() + KEY_TTL_S
        self._keys.move_to_end(token.issuer)
        if len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return True


def spent_first(rows: Rows) -> Rev | None:
    """How far the issuer's history is here. Raises BadJwt unless this is the token's first use."""
    first, rev = used_tokens.spent(rows)
    if not first:
        raise BadJwt("The token was used before.")
    return rev
