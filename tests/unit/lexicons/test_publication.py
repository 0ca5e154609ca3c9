"""What stands where in DNS and in the account, and how what is there compares with ours."""

from __future__ import annotations

from typing import Any

import pytest

from lexicons.catalog import documents
from lexicons.publication import Standing, authority, compare, group, groups, record
from lexicons.syntax import Nsid

THING = Nsid("com.example.thing")
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"


def document(**constraints: Any) -> dict[str, Any]:
    return {"lexicon": 1, "id": THING, "defs": {"main": {"type": "string", **constraints}}}


def test_x19_each_group_of_names_has_one_record_in_dns() -> None:
    assert group(Nsid("fm.plyr.track")) == "_lexicon.plyr.fm"
    assert group(Nsid("fm.plyr.actor.profile")) == "_lexicon.actor.plyr.fm"
    assert groups(documents()) == [
        "_lexicon.plyr.fm",
        "_lexicon.actor.plyr.fm",
        "_lexicon.audio.plyr.fm",
        "_lexicon.feed.plyr.fm",
        "_lexicon.graph.plyr.fm",
        "_lexicon.server.plyr.fm",
        "_lexicon.sync.plyr.fm",
    ]
    assert groups(documents("fm.plyr.dev"))[0] == "_lexicon.dev.plyr.fm"


@pytest.mark.parametrize(
    ("texts", "did"),
    [
        ([f"did={DID}"], DID),
        (["v=spf1 -all", f"did={DID}", f"did={DID}"], DID),
        ([f"did={DID}", "did=did:web:other.example"], None),
        (["did=alice"], None),
        ([DID], None),
        ([], None),
    ],
)
def test_dns_names_one_account_or_none(texts: list[str], did: str | None) -> None:
    assert authority(texts) == did


def test_a_schema_is_the_same_missing_different_or_extra() -> None:
    ours = {
        Nsid("com.example.same"): document(),
        Nsid("com.example.missing"): document(),
        Nsid("com.example.other"): document(maxLength=1),
    }
    published = {
        Nsid("com.example.same"): record(document()),
        Nsid("com.example.other"): record(document(maxLength=2)),
        Nsid("com.example.extra"): record(document()),
    }
    found = {one.nsid.rpartition(".")[2]: one for one in compare(ours, published)}
    assert {name: one.standing for name, one in found.items()} == {
        "extra": Standing.EXTRA,
        "missing": Standing.MISSING,
        "other": Standing.DIFFERENT,
        "same": Standing.SAME,
    }
    assert [str(breach) for breach in found["other"].breaches] == ["main: maxLength was 2, is 1"]


def test_other_prose_differs_and_breaks_nothing() -> None:
    (one,) = compare({THING: document(description="new")}, {THING: record(document(description="old"))})
    assert (one.standing, one.breaches) == (Standing.DIFFERENT, ())


@pytest.mark.parametrize("published", [None, "text", {"$type": "com.atproto.lexicon.schema"}, {"lexicon": 2}])
def test_what_is_no_schema_is_different_and_says_why(published: object) -> None:
    (one,) = compare({THING: document()}, {THING: published})
    assert one.standing is Standing.DIFFERENT
    assert one.unreadable
