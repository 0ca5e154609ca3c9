"""Which of the sources are PDSs (rule B16).

A relay speaks for everybody and checks who may say what; a PDS speaks for its own accounts alone. A source
is a PDS if its host says so of itself, which the operator trusted enough to name it; who names whom in a DID
document proves nothing about a source. Until its host has answered, a source counts as a relay.
"""

from __future__ import annotations

import structlog

from firehose.host_errors import HostError
from firehose.relay import Source, SourceKind
from indexer.accounts import Host

log = structlog.get_logger()


class Hosting:
    """What the sources' hosts answered; `at` gives the client for an origin."""

    def __init__(self, at: Host) -> None:
        self._at = at
        self._hosts: dict[str, str | None] = {}

    def host_of(self, url: str) -> str | None:
        """The origin of the PDS that a source is; None: it is none, or that is not known."""
        return self._hosts.get(url)

    async def learn(self, source: Source) -> None:
        """Ask its host, unless it has answered. One that does not is asked again at the next connection."""
        if source.url in self._hosts:
            return
        if source.kind is SourceKind.JETSTREAM:
            self._hosts[source.url] = None
            return
        try:
            is_pds = await self._at(source.origin).is_pds()
        except HostError as error:
            log.info("cannot tell whether a source is a PDS", source=source.url, reason=str(error))
            return
        self._hosts[source.url] = source.origin if is_pds else None
        if is_pds:
            log.info("a source is a PDS, and has a say about its own accounts alone", source=source.url)
