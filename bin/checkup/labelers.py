"""What we are as a labeler, and the labelers that we follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from appview.moderation import declaration
from bin.checkup.network import Answer, NoAnswer, get
from bin.checkup.verdict import Finding, ok, skipped, warn
from bin.settings import Settings
from indexer.explain import span
from lexicons.catalog import Catalog
from storage import foreign_labels
from storage.foreign_labels import Followed
from storage.postgres import Connection


async def labelers(settings: Settings, conn: Connection) -> Sequence[Finding]:
    """How far each is heard that is to be followed."""
    return heard(settings.labelers, await foreign_labels.followed(conn))


def heard(wanted: Sequence[str], known: Sequence[Followed]) -> list[Finding]:
    if not wanted:
        return [skipped("labelers", "none is followed")]
    by_did: dict[str, Followed] = {each.did: each for each in known}
    return [_heard(did, by_did.get(did)) for did in wanted]


def _heard(did: str, one: Followed | None) -> Finding:
    if one is None:
        text = f"nothing of {did} was ever heard"
        return warn("labelers", text, "see whether plyr ingest runs, and what it says of this labeler")
    text = f"{did} is heard up to {one.seq:,}, {span(one.age_s)} ago"
    if one.refused:
        text += f"; {one.refused:,} labels did not hold, the last: {one.refusal}"
        return warn("labelers", text, "tell whoever runs it: these labels are left out")
    return ok("labelers", text)


async def declared(settings: Settings) -> list[Finding]:
    """Whether the repo of our DID tells which labels we give."""
    did, pds = settings.service_did, settings.service_pds
    if pds is None:
        text = f"{did} has no repo, so nothing there declares our labels: plyr labeler publish tells more"
        return [skipped("labeler", text)]
    asked = {"repo": did, "collection": declaration.COLLECTION, "rkey": declaration.RKEY}
    try:
        answer = await get(f"{pds}/xrpc/com.atproto.repo.getRecord?{urlencode(asked)}")
    except NoAnswer as error:
        return [warn("labeler", f"{pds} is not there: {error}", "look at PLYR_SERVICE_PDS")]
    ours = declaration.record(Catalog.load(settings.namespace).collections, datetime.now(UTC))
    return [declares(did, pds, answer, ours)]


def declares(did: str, pds: str, answer: Answer, ours: Mapping[str, Any]) -> Finding:
    """`answer`: to getRecord."""
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        told = None
    value = told.get("value") if isinstance(told, dict) else None
    if answer.status == 200 and declaration.is_same(value, ours):
        return ok("labeler", f"{did} declares our labels at {pds}")
    if answer.status == 200:
        return warn("labeler", f"what {did} declares at {pds} is not ours", "plyr labeler publish")
    name = told.get("error") if isinstance(told, dict) else None
    if name == "RecordNotFound":
        return warn("labeler", f"{did} declares no labels at {pds}", "plyr labeler publish")
    text = f"{pds} does not know {did}: HTTP status {answer.status} {name or ''}".rstrip()
    return warn("labeler", text, "look at PLYR_SERVICE_PDS, and whether the account is active there")
