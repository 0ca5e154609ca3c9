"""Who a DID is: its document, checked, with a handle that was verified both ways; and a cache.

Order of events: a document is kept for `ttl_s`; whoever asks meanwhile gets it at once, and
any number who ask for an unknown DID at once cause one request. `refresh=True` (after
`#identity`, after a bad signature) asks anew, but for one DID at most every
`refresh_interval_s`: within it the cached answer is given and expires at the interval's end,
so that the change is not missed for a whole `ttl_s` (T10). `refresh_due_s` says how long that
is: who acts on `#identity` asks again then.

Cannot tell never means gone (rule C6): while a directory does not answer, the last document
stays good, and a handle that was verified stays so. An answer of "no such DID" does replace it.

    IdentityError
    ├── IdentityNotFound          the directory or host knows no such DID
    │   └── IdentityTombstoned    it did, and the DID was given up (HTTP 410)
    ├── IdentityInvalid           not a DID of this network, or a document that is not its own
    └── IdentityUnreachable       no answer now, and none from earlier
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firehose.did_document import Claims, WrongDocument, document_url, read_claims
from firehose.dns import Dns
from firehose.fetch_errors import BadBody, BadStatus, Blocked, FetchFailed, TooLarge
from firehose.handles import HandleLookup
from firehose.net import GuardedClient
from lexicons.syntax import Did, Handle

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_PAUSE_S = 300.0


class IdentityError(Exception):
    """A DID could not be resolved."""

    def __init__(self, did: Did, reason: str) -> None:
        super().__init__(did, reason)
        self.did = did
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.did[:200]}: {self.reason}"


class IdentityNotFound(IdentityError):
    """The directory, or the host of a did:web, knows no such DID."""


class IdentityTombstoned(IdentityNotFound):
    """The DID was given up by its owner."""


class IdentityInvalid(IdentityError):
    """Not a DID that this network resolves, or its document is about something else."""


class IdentityUnreachable(IdentityError):
    """The directory did not answer; asking later may help."""


@dataclass(frozen=True, slots=True)
class IdentityDoc:
    """What is true of a DID as of now.

    `handle` is None unless the document claims it and it resolves back; `pds` is an origin;
    `signing_key` is `did:key:z…`. An account lacking `pds` or `signing_key` does not work.
    `unchecked` is a handle that the document claims and that nobody could look up now: whoever
    knows that it was good may go on believing so.
    """

    did: Did
    handle: Handle | None
    pds: str | None
    signing_key: str | None
    unchecked: Handle | None = None


@dataclass(slots=True)
class _Entry:
    """The last answer about a DID; with both `doc` and `error`, the doc outlived a failed refetch."""

    doc: IdentityDoc | None
    error: IdentityError | None
    asked_at: float
    expires_at: float
    refresh_owed: bool = False

    def answer(self) -> IdentityDoc:
        if self.doc is None:
            assert self.error is not None
            raise self.fresh_error(self.error)
        return self.doc

    @staticmethod
    def fresh_error(error: IdentityError) -> IdentityError:
        """A copy to raise: an exception that is raised again and again keeps every traceback."""
        return type(error)(error.did, error.reason)


class IdentityResolver:
    """Resolves DIDs and handles through the guarded client. All times are seconds.

    `handle_resolvers` are base URLs of XRPC servers that are asked instead of DNS and HTTPS. Without
    `check_handles` nobody is asked for handles: every one that a document claims is `unchecked`.
    """

    def __init__(
        self,
        client: GuardedClient,
        plc_url: str = "https://plc.directory",
        *,
        handle_resolvers: Sequence[str] = (),
        dns: Dns | None = None,
        check_handles: bool = True,
        ttl_s: float = 3600,
        negative_ttl_s: float = 300,
        retry_s: float = 30,
        refresh_interval_s: float = 10,
        timeout_s: float = 5,
        cache_size: int = 100_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._plc_url = plc_url.rstrip("/")
        self._handles = HandleLookup(client, servers=handle_resolvers, dns=dns, timeout_s=timeout_s)
        self._check_handles = check_handles
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._retry_s = retry_s
        self._refresh_interval_s = refresh_interval_s
        self._timeout_s = timeout_s
        self._cache_size = cache_size
        self._now = now
        self._cache: OrderedDict[Did, _Entry] = OrderedDict()
        self._flights: dict[Did, asyncio.Future[_Entry | None]] = {}
        self._plc_paused_until = float("-inf")

    async def resolve(self, did: Did, *, refresh: bool = False) -> IdentityDoc:
        """The identity behind a DID, from the cache if it is young. Raises an `IdentityError`.

        The catch: with `refresh`, `IdentityUnreachable` is raised even though an older
        document is known; without, that document is returned.
        """
        entry = self._cache.get(did)
        if entry is not None and not self._may_fetch(entry, refresh):
            self._cache.move_to_end(did)
            return entry.answer()
        entry = await self._fetch_once(did, refresh)
        if refresh and isinstance(entry.error, IdentityUnreachable):
            raise entry.fresh_error(entry.error)
        return entry.answer()

    def remembers(self, did: Did) -> bool:
        """Whether `resolve` would answer, or refuse, without asking anybody."""
        entry = self._cache.get(did)
        return entry is not None and not self._may_fetch(entry, refresh=False)

    async def resolve_handle(self, handle: str) -> Did | None:
        """The DID that a handle names, None if it names none; `IdentityUnreachable` if unknown.

        Not cached. The DID's document has to claim the handle in return: `resolve` shows it.
        """
        try:
            return await self._handles.find(handle)
        except FetchFailed as exc:
            raise IdentityUnreachable(Did(handle), str(exc)) from exc

    def refresh_due_s(self, did: Did) -> float | None:
        """Seconds until a refresh that came too early may be made; None if none is owed."""
        entry = self._cache.get(did)
        if entry is None or not entry.refresh_owed:
            return None
        return max(0.0, entry.expires_at - self._now())

    def _may_fetch(self, entry: _Entry, refresh: bool) -> bool:
        now = self._now()
        if now >= entry.expires_at:
            return True
        if refresh:
            allowed_at = entry.asked_at + self._refresh_interval_s
            if now >= allowed_at:
                return True
            entry.expires_at = min(entry.expires_at, allowed_at)
            entry.refresh_owed = True
        return False

    async def _fetch_once(self, did: Did, refresh: bool) -> _Entry:
        """Fetch, or wait for the fetch of this DID that is under way.

        The fetch runs in the first caller's task; if that is cancelled, another waiter starts over.
        """
        wanted_at = self._now()
        while (flight := self._flights.get(did)) is not None:
            entry = await asyncio.shield(flight)
            if entry is None:
                continue
            # A fetch that was under way may have read the document before the change that we heard of.
            if refresh and entry.asked_at <= wanted_at and self._may_fetch(entry, refresh):
                continue
            return entry
        flight = asyncio.get_running_loop().create_future()
        self._flights[did] = flight
        outcome: _Entry | None = None
        try:
            outcome = entry = await self._fetch(did, self._cache.get(did))
            self._cache[did] = entry
            self._cache.move_to_end(did)
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        finally:
            del self._flights[did]
            flight.set_result(outcome)
        return entry

    async def _fetch(self, did: Did, previous: _Entry | None) -> _Entry:
        asked_at = self._now()
        known = previous.doc if previous is not None else None
        try:
            claims = await self._fetch_claims(did)
        except IdentityUnreachable as error:
            return _Entry(known, error, asked_at, self._now() + self._retry_s)
        except IdentityError as error:
            return _Entry(None, error, asked_at, self._now() + self._negative_ttl_s)
        handle, unchecked, ttl_s = claims.handle, None, self._ttl_s
        if not self._check_handles:
            handle, unchecked = None, handle
        elif handle is not None:
            try:
                if await self._handles.find(handle) != did:
                    handle = None
            except FetchFailed:
                ttl_s = min(ttl_s, self._negative_ttl_s)
                if known is None or known.handle != handle:
                    handle, unchecked = None, handle
        doc = IdentityDoc(did, handle, claims.pds, claims.signing_key, unchecked)
        return _Entry(doc, None, asked_at, self._now() + ttl_s)

    async def _fetch_claims(self, did: Did) -> Claims:
        development = self._client.allow_loopback
        url = document_url(did, self._plc_url, development=development)
        if url is None:
            raise IdentityInvalid(did, "not a DID that this network resolves")
        is_plc = did.startswith("did:plc:")
        if is_plc and self._now() < self._plc_paused_until:
            raise IdentityUnreachable(did, "the PLC directory asked us to wait")
        try:
            document = await self._client.get_json(
                url, max_bytes=MAX_DOCUMENT_BYTES, timeout_s=self._timeout_s
            )
            return read_claims(did, document, development=development)
        except BadStatus as exc:
            if exc.status == 410:
                raise IdentityTombstoned(did, "tombstoned") from exc
            if exc.status == 404:
                raise IdentityNotFound(did, "no such DID") from exc
            if is_plc and exc.status in (429, 503):
                self._plc_paused_until = self._now() + min(exc.retry_after_s or self._retry_s, MAX_PAUSE_S)
            raise IdentityUnreachable(did, str(exc)) from exc
        except (Blocked, TooLarge, BadBody, WrongDocument) as exc:
            # From the directory, such an answer is an outage's page; from a did:web host, its word.
            raise (IdentityUnreachable if is_plc else IdentityInvalid)(did, str(exc)) from exc
        except FetchFailed as exc:
            raise IdentityUnreachable(did, str(exc)) from exc
