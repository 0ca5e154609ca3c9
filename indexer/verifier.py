"""Frames of interest become verified events, or rejections with a reason. Nothing falls between.

An account's key is asked for once and kept; a signature that fails makes us ask again, once
(rule B6). A directory that does not answer holds up nobody else: the frame is set aside with a time
to try again, and since records are ordered by rev, coming later does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from firehose.commit import verify_commit, verify_sync
from firehose.events import Event, Frame
from firehose.identity import (
    IdentityDoc,
    IdentityInvalid,
    IdentityNotFound,
    IdentityResolver,
    IdentityUnreachable,
)
from firehose.jetstream import unproven_of
from firehose.keys import BadKey, PublicKey
from firehose.message import CommitRejected, Reason, account_of, identity_of, info_of
from indexer.prepare import Doubt
from lexicons.syntax import Did, is_did
from storage.rejected import Rejection
from storage.repos import NewRepo

RETRY_S = 5.0
_SIGNED = {"#commit": verify_commit, "#sync": verify_sync}
# What the account signed, but does not follow from what was before: the host is at fault (rule B12).
_DOUBTFUL = {Reason.NOT_INDUCTIVE, Reason.BAD_INVERSION, Reason.BAD_TREE, Reason.MISSING_BLOCK}
_BREATH = 32  # commits verified before other tasks get a turn, about 7 ms


@dataclass(frozen=True, slots=True)
class Received:
    """A frame of interest as it came in. `seq` None: a notice of the stream itself."""

    seq: int | None
    raw: bytes
    frame: Frame

    def rejection(self, source: str, reason: str, detail: str, retry_s: float | None = None) -> Rejection:
        did = _did_of(self.frame.body)
        if did is not None and not is_did(did):  # the raw frame has it, whatever it is
            did = None
        return Rejection(source, self.seq, did, reason, detail, self.raw, retry_s)


@dataclass(frozen=True, slots=True)
class Checked:
    """An event, and the frame that it came out of."""

    event: Event
    received: Received


@dataclass(slots=True)
class Verified:
    """What became of some frames. `identities`: who the signed ones came from, for new accounts. `doubts`:
    whose repo must be read whole, since a commit of it could not be proven."""

    checked: list[Checked] = field(default_factory=list[Checked])
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    doubts: list[Doubt] = field(default_factory=list[Doubt])
    identities: dict[Did, NewRepo] = field(default_factory=dict[Did, NewRepo])
    rotated: set[Did] = field(default_factory=set[Did])


class NoKey(Exception):
    """We cannot tell which key an account signs with. `retry`: whether asking again may help."""

    def __init__(self, reason: str, detail: str, *, retry: bool) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry = retry


class Verifier:
    """Checks frames against the keys of their accounts. Holds one parsed key per account."""

    def __init__(
        self,
        resolver: IdentityResolver,
        keys: dict[Did, str | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver
        self._stored = keys
        self._parsed: dict[Did, PublicKey] = {}
        self._docs: dict[Did, IdentityDoc] = {}
        self._clock = clock

    def learn(self, doc: IdentityDoc) -> None:
        """The account's identity was looked up: from now on its commits are checked with this key."""
        for cached in (self._parsed, self._docs):  # whoever writes comes in again: most never do
            cached.pop(doc.did, None)
        if doc.signing_key is None:  # its next commit asks again, and is set aside
            self._stored.pop(doc.did, None)
        else:
            self._stored[doc.did] = doc.signing_key

    async def verify(self, frames: Sequence[Received], source: str, *, wait_s: float) -> Verified:
        """Every frame in order, as an event or as a rejection. `wait_s` bounds the wait for identities."""
        missing = await self._fetch_keys(frames, wait_s)
        out = Verified()
        for n, received in enumerate(frames):
            if n % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            try:
                event = await self._event(received.frame, missing, out)
            except CommitRejected as error:
                out.rejections.append(received.rejection(source, error.reason, error.detail))
                if error.reason in _DOUBTFUL and (text := _did_of(received.frame.body)):
                    did = Did(text)
                    out.doubts.append(Doubt(did, error.reason, error.detail, received.seq))
                    out.identities.setdefault(did, self._new(did))
            except NoKey as error:
                retry_s = RETRY_S if error.retry else None
                out.rejections.append(received.rejection(source, error.reason, error.detail, retry_s))
            else:
                if event is not None:
                    out.checked.append(Checked(event, received))
        return out

    async def _event(self, frame: Frame, missing: dict[Did, NoKey], out: Verified) -> Event | None:
        match frame.type:
            case "#commit" | "#sync":
                return await self._signed(frame, missing, out)
            case "#unproven":
                event = unproven_of(frame.body, int(self._clock() * 1_000_000))
                out.identities.setdefault(event.did, self._new(event.did))
                return event
            case "#identity":
                return identity_of(frame.body)
            case "#account":
                return account_of(frame.body)
            case "#info":
                return info_of(frame.body)
            case _:
                return None  # a newer server's word, to be passed over (rule A3)

    async def _signed(self, frame: Frame, missing: dict[Did, NoKey], out: Verified) -> Event:
        check = _SIGNED[frame.type]
        now_us = int(self._clock() * 1_000_000)
        did = Did(str(frame.body.get("repo", frame.body.get("did"))))
        if did in missing:
            raise missing[did]
        key = await self._key(did)
        try:
            event = check(frame.body, key, now_us)
        except CommitRejected as error:
            if error.reason is not Reason.BAD_SIGNATURE:
                raise
            fresh = await self._fresh_key(did)
            if fresh.did_key == key.did_key:
                if self._resolver.refresh_due_s(did) is not None:
                    text = (
                        f"{error.detail}, though the key may have changed since it was fetched a moment ago"
                    )
                    raise NoKey(Reason.BAD_SIGNATURE, text, retry=True) from None
                raise
            event = check(frame.body, fresh, now_us)
            out.rotated.add(did)
        out.identities.setdefault(did, self._new(did))
        return event

    def _new(self, did: Did) -> NewRepo:
        doc, key = self._docs.get(did), self._parsed.get(did)
        return NewRepo(did, doc.pds if doc else None, key.did_key if key else None)

    async def _key(self, did: Did) -> PublicKey:
        key = self._parsed.get(did)
        if key is None:
            text = self._stored.get(did)
            if text is None:
                return self._remember(await self._resolve(did, refresh=False))
            key = self._parsed[did] = _parse(text)
        return key

    async def _fresh_key(self, did: Did) -> PublicKey:
        doc = await self._resolve(did, refresh=True)
        return self._remember(doc)

    def _remember(self, doc: IdentityDoc) -> PublicKey:
        if doc.signing_key is None:
            raise NoKey("no_identity", f"the document of {doc.did} has no #atproto key", retry=True)
        key = _parse(doc.signing_key)
        self._docs[doc.did] = doc
        self._stored[doc.did] = doc.signing_key
        self._parsed[doc.did] = key
        return key

    async def _resolve(self, did: Did, *, refresh: bool) -> IdentityDoc:
        try:
            return await self._resolver.resolve(did, refresh=refresh)
        except IdentityUnreachable as error:
            raise NoKey("identity_unreachable", str(error), retry=True) from None
        except (IdentityNotFound, IdentityInvalid) as error:
            raise NoKey("no_identity", str(error), retry=True) from None

    async def _fetch_keys(self, frames: Iterable[Received], wait_s: float) -> dict[Did, NoKey]:
        """Resolve all accounts whose key we lack, together. Returns those that we could not, and why."""
        unknown = {
            Did(did)
            for f in frames
            if f.frame.type in _SIGNED
            for did in [_did_of(f.frame.body)]
            if did is not None and self._stored.get(Did(did)) is None
        }
        if not unknown:
            return {}
        missing: dict[Did, NoKey] = {}

        async def fetch(did: Did) -> None:
            try:
                self._remember(await self._resolve(did, refresh=False))
            except NoKey as error:
                missing[did] = error

        tasks = {asyncio.create_task(fetch(did)): did for did in unknown}
        try:
            _, late = await asyncio.wait(tasks, timeout=wait_s)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in late:
            missing[tasks[task]] = NoKey("identity_unreachable", f"no answer within {wait_s} s", retry=True)
        return missing


def _did_of(body: dict[str, Any]) -> str | None:
    did = body.get("repo", body.get("did"))
    return did if isinstance(did, str) else None


def _parse(text: str) -> PublicKey:
    try:
        return PublicKey.parse(text)
    except BadKey as error:
        raise NoKey("no_identity", f"unusable key {text[:80]}: {error}", retry=True) from None
