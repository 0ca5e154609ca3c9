"""Where a labeler is and what it signs with, as its DID document says: service `#atproto_labeler`, key
`#atproto_label`. <https://atproto.com/specs/label>"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from firehose.address import is_loopback_host, is_public_address
from firehose.did_document import WrongDocument, document_url, read_labeler
from firehose.fetch_errors import FetchFailed
from firehose.keys import PublicKey
from firehose.net import GuardedClient
from lexicons.syntax import Did

ENDPOINT = "/xrpc/com.atproto.label.subscribeLabels"
_MAX_DOCUMENT_BYTES = 256 * 1024
_TIMEOUT_S = 15.0


class NoLabeler(Exception):
    """The DID leads to nobody who can be followed; the message tells why."""


@dataclass(frozen=True, slots=True)
class LabelerService:
    """`url`: of its stream of labels."""

    url: str
    key: PublicKey


async def find_labeler(client: GuardedClient, plc_url: str, did: Did) -> LabelerService:
    """The labeler as its document says now. Raises NoLabeler."""
    url = document_url(did, plc_url, development=client.allow_loopback)
    if url is None:
        raise NoLabeler("no DID of this network")
    try:
        document = await client.get_json(url, max_bytes=_MAX_DOCUMENT_BYTES, timeout_s=_TIMEOUT_S)
        claims = read_labeler(did, document, development=client.allow_loopback)
    except (FetchFailed, WrongDocument) as error:
        raise NoLabeler(str(error)) from error
    if claims.endpoint is None or claims.label_key is None:
        raise NoLabeler("its document names no labeler, or no key of one")
    await _check_address(claims.endpoint, allow_loopback=client.allow_loopback)
    return LabelerService(
        f"ws{claims.endpoint.removeprefix('http')}{ENDPOINT}", PublicKey.parse(claims.label_key)
    )


async def _check_address(url: str, *, allow_loopback: bool) -> None:
    """Raises NoLabeler if the document leads into a network that is not the public one."""
    host = urlsplit(url).hostname or ""
    if allow_loopback and is_loopback_host(host):
        return
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoLabeler(f"{host} has no address: {error}") from error
    if not all(is_public_address(str(address[4][0])) for address in found):
        raise NoLabeler(f"{host} is no public host")
