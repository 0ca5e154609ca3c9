"""Who we listen to and ask, and how others find us.

The addresses are the operator's own, so nothing is guarded here; answers are bounded all the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import orjson

from appview.wellknown import document_of, label_key_of
from bin.addresses import JETSTREAM_PREFIX
from bin.checkup.clocks import by_header
from bin.checkup.verdict import Finding, Verdict, fail, ok, skipped, warn
from bin.checkup.wishes import is_public
from bin.lexicon_check import authorities
from bin.moderating import home
from bin.settings import Settings
from firehose.dns import Dns, DnsFailed, NoSuchName
from firehose.schema_account import PublishFailed
from indexer.alarms import Thresholds
from indexer.explain import span
from lexicons.catalog import documents
from lexicons.publication import groups
from storage.health import Cursor

TIMEOUT_S = 8.0
MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for a question that was asked and answered at these times since 1970."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    asked_s: float
    told_s: float


class NoAnswer(Exception):
    """Nothing usable came. The text says why."""


async def get(url: str) -> Answer:
    """Raises NoAnswer."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    asked_s = time.time()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "plyr"}) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            told_s = time.time()
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise NoAnswer(f"more than {MAX_BYTES:,} bytes")
            return Answer(response.status, response.headers, bytes(body), asked_s, told_s)
    except TimeoutError:
        raise NoAnswer(f"no answer within {TIMEOUT_S:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error


async def source(url: str) -> list[Finding]:
    """Whether somebody answers there, and their clock."""
    origin = "http" + url.removeprefix(JETSTREAM_PREFIX).removeprefix("ws")
    try:
        answer = await get(f"{origin}/xrpc/_health")
    except NoAnswer as error:
        return [fail("source", f"{url} is not there: {error}", "look at PLYR_SOURCES, and at your network")]
    if answer.status >= 500:
        text = f"{url} says HTTP status {answer.status}"
        return [fail("source", text, "wait for it, or name another in PLYR_SOURCES")]
    return [ok("source", f"{url} answers"), *_clock(url, answer)]


async def directory(url: str) -> list[Finding]:
    try:
        answer = await get(f"{url}/_health")
    except NoAnswer as error:
        text = f"{url} is not there: {error}"
        return [fail("directory", text, "look at PLYR_PLC_URL, and at your network")]
    if answer.status >= 500:
        text = f"{url} says HTTP status {answer.status}"
        return [warn("directory", text, "wait for it: identities are not looked up meanwhile")]
    return [ok("directory", f"{url} answers"), *_clock(url, answer)]


def _clock(url: str, answer: Answer) -> list[Finding]:
    found = by_header("clocks", url, answer.headers.get("Date"), answer.asked_s, answer.told_s)
    return [skipped("clocks", f"{url} does not tell the time") if found is None else found]


def cursors(wanted: Sequence[str], read: Sequence[Cursor], limits: Thresholds) -> list[Finding]:
    """How old the cursor of each source is that the settings name."""
    return [_cursor(url, _of(url, read), limits.cursor_s) for url in wanted]


def _of(url: str, read: Sequence[Cursor]) -> Cursor | None:
    plain = url.removeprefix(JETSTREAM_PREFIX)
    return next(
        (cursor for cursor in read if cursor.url in (plain, url) or cursor.url.startswith(f"{plain}/")), None
    )


def _cursor(url: str, cursor: Cursor | None, limit_s: float) -> Finding:
    if cursor is None:
        return warn("cursor", f"{url} was never read", "start plyr up, or plyr ingest")
    text = f"{url} is read up to {cursor.seq:,}, {span(cursor.age_s)} ago"
    if cursor.age_s > limit_s:
        return warn("cursor", text, "see whether plyr ingest runs, and what it says of this source")
    return ok("cursor", text)


async def name(settings: Settings) -> list[Finding]:
    """Whether DNS knows the host of our public address."""
    if not is_public(settings):
        return [skipped("dns", "there is no public address")]
    host = urlsplit(settings.public_url or "").hostname or ""
    try:
        found = await Dns().resolve(host)
    except NoSuchName:
        return [fail("dns", f"{host} has no address", "add A and AAAA records for it")]
    except DnsFailed as error:
        return [fail("dns", f"{host} cannot be resolved: {error}", "see the name servers of this machine")]
    return [ok("dns", f"{host} is {', '.join(each['host'] for each in found)}")]


async def identity(settings: Settings) -> list[Finding]:
    """Whether what is served at our public address is our own DID document."""
    url = settings.public_url
    if url is None or not (is_public(settings) or settings.dev_loopback):
        return [skipped("did", "there is no public address")]
    where = f"{url}/.well-known/did.json"
    try:
        answer = await get(where)
    except NoAnswer as error:
        return [warn("did", f"{where}: {error}", "start plyr up, and see that the proxy in front finds it")]
    if answer.status != 200:
        text = f"{where}: HTTP status {answer.status}"
        return [fail("did", text, "start plyr up, and have the proxy pass on the Host header")]
    try:
        served = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        served = None
    if served != document_of(settings.service_did, url, label_key_of(served), home(settings)):
        return [
            fail("did", f"{where} is not the document of {settings.service_did}", "see who answers there")
        ]
    return [ok("did", f"{settings.service_did} is served")]


async def schemas(settings: Settings) -> list[Finding]:
    """Whether DNS names an account that publishes our schemas; which may be somebody else's business."""
    if settings.dev_loopback:
        return [skipped("lexicons", "a test network has no DNS")]
    names = groups(documents(settings.namespace))
    try:
        named = await authorities(Dns(), names)
    except PublishFailed as error:
        return [warn("lexicons", str(error), "see the name servers of this machine")]
    return [lexicons(named)]


def lexicons(named: Mapping[str, str | None]) -> Finding:
    unnamed = [name for name, did in named.items() if did is None]
    dids = {did for did in named.values() if did is not None}
    if not dids:
        return skipped("lexicons", "no TXT record names an account that publishes them")
    if unnamed:
        text = f"no TXT record for {', '.join(unnamed)}"
        return warn("lexicons", text, "plyr lexicon publish prints what is needed")
    if len(dids) > 1:
        text = f"TXT records name several accounts: {', '.join(sorted(dids))}"
        return warn("lexicons", text, "plyr lexicon check")
    return ok("lexicons", f"published by {dids.pop()}")


def one_is_enough(findings: Sequence[Finding]) -> list[Finding]:
    """Of several sources one that is gone is no failure, as long as another is there."""
    if not any(each.subject == "source" and each.verdict is Verdict.OK for each in findings):
        return list(findings)
    return [
        warn(each.subject, each.text, each.todo or "")
        if each.subject == "source" and each.verdict is Verdict.FAIL
        else each
        for each in findings
    ]
