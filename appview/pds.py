"""Calls to a person's PDS in their name.

An access token that ran out, or that the PDS calls invalid, is refreshed once and the call is made again;
that is safe because such a call was refused before it did anything. Nothing else is tried twice here.

    CredentialsFailed   nothing to act with: see appview/auth/credentials.py
    PdsUnreachable      no answer, or an address that we do not go to; the call may have done something
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from appview.auth.credentials import CredentialStore, Grant
from appview.auth.grant import Credentials, Refusal, SignInFailed
from appview.auth.oauth import PdsAnswer
from firehose.net import Streamed

TIMEOUT_S = 10.0
_SOON_S = 5.0


class PdsUnreachable(Exception):
    """The PDS gave no answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"no answer of the PDS: {refusal}")
        self.refusal = refusal


class Client(Protocol):
    """The part of the OAuth client that is needed here."""

    async def call_pds(
        self,
        credentials: Credentials,
        method: str,
        nsid: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | Streamed | None = None,
        content_type: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[PdsAnswer, Credentials]: ...


class Pds:
    """Speaks for whoever holds a session."""

    def __init__(
        self, store: CredentialStore, client: Client, *, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._client = client
        self._now = now

    async def call(
        self,
        session_id: int,
        method: str,
        nsid: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | Streamed | None = None,
        content_type: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> PdsAnswer:
        """The answer, whatever its status. Raises CredentialsFailed, PdsUnreachable."""

        async def ask(grant: Grant) -> PdsAnswer:
            try:
                answer, after = await self._client.call_pds(
                    grant.credentials,
                    method,
                    nsid,
                    params=params,
                    body=body,
                    content_type=content_type,
                    timeout_s=timeout_s,
                )
            except SignInFailed as failed:
                raise PdsUnreachable(failed.refusal) from None
            if after.pds_nonce != grant.credentials.pds_nonce:
                await self._store.keep(session_id, grant.version, after)
            return answer

        grant = await self._store.read(session_id)
        expires_at = grant.credentials.expires_at
        if expires_at is not None and expires_at <= self._now() + _SOON_S:
            grant = await self._store.refreshed(session_id, grant.version)
        answer = await ask(grant)
        if answer.invalid_token:
            answer = await ask(await self._store.refreshed(session_id, grant.version))
        return answer
