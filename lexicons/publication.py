"""How schemas are published (/specs/lexicon#lexicon-publication-and-resolution; rule X19): pure.

Each is a record of `com.atproto.lexicon.schema` under its own name in one account's repo. Which account
that is says a DNS TXT record for each group of names, that is, a name without its last part; a group says
nothing about those below it:

    fm.plyr.track           _lexicon.plyr.fm         TXT "did=did:plc:…"
    fm.plyr.feed.getTrack   _lexicon.feed.plyr.fm    TXT "did=did:plc:…"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lexicons.evolution import Breach, broken
from lexicons.schema import InvalidLexicon, check_document
from lexicons.syntax import Did, Nsid, is_did

COLLECTION = Nsid("com.atproto.lexicon.schema")
ENVIRONMENTS = ("fm.plyr", "fm.plyr.stg", "fm.plyr.dev")
Document = Mapping[str, Any]


class Standing(StrEnum):
    """How a published schema stands to ours."""

    SAME = "same"
    MISSING = "missing"  # ours alone
    DIFFERENT = "different"
    EXTRA = "extra"  # published alone


@dataclass(frozen=True, slots=True)
class Compared:
    """One schema, there and here. `breaches`: what replacing theirs with ours breaks; `unreadable`: why what
    is published is no schema document."""

    nsid: Nsid
    standing: Standing
    breaches: tuple[Breach, ...] = ()
    unreadable: str | None = None


def compare(ours: Mapping[Nsid, Document], published: Mapping[Nsid, object]) -> list[Compared]:
    """Ours against what is published of the same namespace, by name; records or bare documents."""
    found: list[Compared] = []
    for nsid in sorted({*ours, *published}):
        if nsid not in published:
            found.append(Compared(nsid, Standing.MISSING))
        elif nsid not in ours:
            found.append(Compared(nsid, Standing.EXTRA))
        else:
            found.append(_compared(nsid, ours[nsid], published[nsid]))
    return found


def _compared(nsid: Nsid, ours: Document, theirs: object) -> Compared:
    if theirs == record(ours) or theirs == ours:
        return Compared(nsid, Standing.SAME)
    try:
        return Compared(nsid, Standing.DIFFERENT, tuple(broken(_document(theirs), ours)))
    except InvalidLexicon as error:
        return Compared(nsid, Standing.DIFFERENT, unreadable=str(error))


def _document(value: object) -> Document:
    check_document(value)
    assert isinstance(value, dict)
    return value  # pyright: ignore[reportUnknownVariableType]


def within(nsid: str, namespace: str) -> bool:
    """Whether a name is of this namespace, and not of another that begins alike (`fm.plyr.dev`)."""
    longer = (other for other in ENVIRONMENTS if len(other) > len(namespace))
    return nsid.startswith(f"{namespace}.") and not any(nsid.startswith(f"{other}.") for other in longer)


def record(document: Document) -> dict[str, Any]:
    """The record that publishes a schema; its key is the schema's `id`."""
    return {"$type": COLLECTION, **document}


def group(nsid: Nsid) -> str:
    """The name that DNS is asked for about this schema: `_lexicon.` and its authority."""
    return "_lexicon." + ".".join(reversed(nsid.split(".")[:-1]))


def groups(nsids: Iterable[Nsid]) -> list[str]:
    """The names in DNS that these schemas need, shortest first."""
    return sorted({group(nsid) for nsid in nsids}, key=lambda name: (name.count("."), name))


def authority(texts: Sequence[str]) -> Did | None:
    """The account that the TXT records of a group name; None if they name none, or several."""
    named = {text.removeprefix("did=").strip() for text in texts if text.startswith("did=")}
    dids = {Did(did) for did in named if is_did(did)}
    return dids.pop() if len(dids) == 1 else None
