"""From a handle to a DID: DNS, then HTTPS; or a server that is asked instead of both.

DNS wins where the two disagree, so HTTPS is asked only when DNS has no answer; DNS records
that name several DIDs are an answer, namely none (/specs/handle#handle-resolution; rule D5).
A handle proves nothing alone: the DID's document has to claim it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlencode

from firehose.did_document import has_usable_tld
from firehose.dns import Dns, DnsFailed
from firehose.fetch_errors import BadBody, BadStatus, Blocked, FetchFailed, NoSuchHost, TooLarge, Unreachable
from firehose.net import GuardedClient
from lexicons.syntax import Did, Handle, is_did, is_handle

MAX_ANSWER_BYTES = 4096  # a DID has at most 2048


class HandleLookup:
    """Asks, remembers nothing.

    `servers` are base URLs of XRPC servers, asked in order for `resolveHandle`; with any
    given, neither DNS nor the handle's own host is asked.
    """

    def __init__(
        self,
        client: GuardedClient,
        *,
        servers: Sequence[str] = (),
        dns: Dns | None = None,
        timeout_s: float = 5,
    ) -> None:
        self._client = client
        self._servers = tuple(server.rstrip("/") for server in servers)
        self._dns = dns or Dns(lifetime_s=timeout_s)
        self._timeout_s = timeout_s

    async def find(self, handle: str) -> Did | None:
        """The DID that a handle resolves to, None if it certainly resolves to none.

        Raises `FetchFailed` when that cannot be known now.
        """
        handle = handle.lower()
        if not is_handle(handle) or not has_usable_tld(handle, development=self._client.allow_loopback):
            return None
        if self._servers:
            return await self._ask_servers(Handle(handle))
        try:
            named = _dids(await self._dns.txt(f"_atproto.{handle}"))
        except DnsFailed as exc:
            # Whatever HTTPS says, DNS might have said otherwise; but a yes is a yes.
            if (did := await self._ask_host(Handle(handle))) is None:
                raise Unreachable(str(exc)) from exc
            return did
        if named:
            return named.pop() if len(named) == 1 else None
        return await self._ask_host(Handle(handle))

    async def _ask_host(self, handle: Handle) -> Did | None:
        url = f"https://{handle}/.well-known/atproto-did"
        try:
            answer = await self._client.get_bytes(
                url, max_bytes=MAX_ANSWER_BYTES, timeout_s=self._timeout_s, accept="text/plain"
            )
        except (Blocked, NoSuchHost, TooLarge):
            return None
        if answer.status == 429 or answer.status >= 500:
            raise Unreachable(f"{url}: HTTP status {answer.status}")
        text = answer.body.decode("utf-8", "replace").strip()
        return Did(text) if answer.status == 200 and is_did(text) else None

    async def _ask_servers(self, handle: Handle) -> Did | None:
        unknown: FetchFailed | None = None
        for server in self._servers:
            url = f"{server}/xrpc/com.atproto.identity.resolveHandle?{urlencode({'handle': handle})}"
            try:
                answer = await self._client.get_json(
                    url, max_bytes=MAX_ANSWER_BYTES, timeout_s=self._timeout_s
                )
            except BadStatus as exc:
                if exc.status not in (400, 404):
                    unknown = exc
            except BadBody as exc:
                unknown = exc
            except FetchFailed as exc:
                unknown = exc
            else:
                did = cast(dict[str, Any], answer).get("did") if isinstance(answer, dict) else None
                if isinstance(did, str) and is_did(did):
                    return Did(did)
        if unknown is not None:
            raise unknown
        return None


def _dids(records: Sequence[str]) -> set[Did]:
    found = (record.removeprefix("did=").strip() for record in records if record.startswith("did="))
    return {Did(did) for did in found if is_did(did)}
