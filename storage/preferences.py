"""Table `preference`: what people chose, for themselves and about their tracks.

Only what somebody chose is kept, so that a default may change without touching a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import orjson

from lexicons.syntax import Did
from storage.forgotten import Left, expect_stays
from storage.postgres import Connection
from storage.queries import load
from storage.reader import Reads

_SQL = load("preferences")

STATEMENTS = {f"preferences_{name}": _SQL[name] for name in ("of", "allows_comments")}
MAX_UI_BYTES = 16 * 1024


class TooMuch(Exception):
    """The settings of the user interface would take more than MAX_UI_BYTES."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """One account's; what it did not choose has the default that stands here. `ui_settings` is the
    frontend's own business."""

    accent_color: str = "#6a9fff"
    auto_advance: bool = True
    allow_comments: bool = False
    theme: str = "dark"
    download_policy: str | None = None
    hidden_tags: list[str] = field(default_factory=list[str])
    show_sensitive_artwork: bool = False
    show_sensitive_audio: bool = False
    show_liked_on_profile: bool = False
    support_url: str | None = None
    ui_settings: dict[str, Any] = field(default_factory=dict[str, Any])
    terms_accepted_at: datetime | None = None


CHOICES = frozenset(each.name for each in fields(Preferences)) - {"terms_accepted_at"}
DEFAULTS = Preferences()


async def of(reads: Reads, did: str) -> Preferences:
    """What holds for an account, whether it chose anything or not."""
    rows = await reads.fetch("preferences_of", did.encode())
    if not rows.count:
        return DEFAULTS
    chosen, accepted = rows.cell(0, 0), rows.cell(0, 1)
    # Postgres writes the offset of UTC as +00.
    moment = None if accepted is None else datetime.fromisoformat(accepted.decode() + ":00")
    return _preferences(orjson.loads(chosen or b"{}"), moment)


async def allows_comments(reads: Reads, did: str) -> bool:
    """Whether an artist wants comments on their tracks."""
    rows = await reads.fetch("preferences_allows_comments", did.encode())
    chosen = rows.cell(0, 0) if rows.count else None
    return DEFAULTS.allow_comments if chosen is None else chosen == b"t"


async def put(
    conn: Connection, did: Did, chosen: Mapping[str, Any], ui_settings: Mapping[str, Any]
) -> Preferences:
    """All that holds after `chosen`, names of CHOICES with what they are from now on; `ui_settings` are added
    to those that are there. Raises TooMuch, Left."""
    ui = orjson.dumps(ui_settings).decode()
    if len(ui) > MAX_UI_BYTES:
        raise TooMuch
    params = {"did": did, "chosen": orjson.dumps(chosen).decode(), "ui": ui, "max_bytes": MAX_UI_BYTES}
    row = await (await conn.execute(_SQL["put"], params)).fetchone()
    if row is None:
        await expect_stays(conn, did)
        raise TooMuch
    return _preferences(row[0], row[1])


async def accept_terms(conn: Connection, did: Did) -> datetime:
    """When this account accepted the terms: now, unless it had before. Raises Left."""
    row = await (await conn.execute(_SQL["accept_terms"], {"did": did})).fetchone()
    if row is None:
        raise Left
    return row[0]


async def erase(conn: Connection, did: Did) -> None:
    """Of an account that is deleted, in the caller's transaction."""
    await conn.execute(_SQL["erase"], {"did": did})


def _preferences(chosen: Mapping[str, Any], accepted: datetime | None) -> Preferences:
    known = {name: value for name, value in chosen.items() if name in CHOICES}
    return Preferences(**known, terms_accepted_at=accepted)
