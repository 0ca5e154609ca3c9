"""What a change makes of a list's record; fields that nobody knows survive all of them."""

from __future__ import annotations

from typing import Any

import pytest

from appview.list_record import (
    MOST_ITEMS,
    AlreadyThere,
    ListFull,
    NotThere,
    item,
    led_by,
    new_list,
    renamed,
    reordered,
    with_item,
    without,
)
from lexicons.catalog import Catalog
from lexicons.records import InvalidRecord
from lexicons.syntax import Rkey

CATALOG = Catalog.load()
RKEY = Rkey("3mpt222222222")
CID = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
THEN, NOW = "2026-01-01T00:00:00.000Z", "2026-02-02T00:00:00.000Z"


def uri(n: int) -> str:
    return f"at://did:plc:abcdefghijklmnopqrstuvwx/fm.plyr.track/3mpt2222{n:05}".replace("0", "2").replace(
        "1", "a"
    )


def listed(*numbers: int, **more: Any) -> dict[str, Any]:
    items = [{**item(uri(n), CID), "note": n} for n in numbers]
    return new_list(CATALOG, RKEY, "playlist", "Evenings", items, THEN) | {"mood": "x"} | more


def order(record: dict[str, Any]) -> list[int]:
    return [each["note"] for each in record["items"]]


def test_a_new_list_is_one_that_the_lexicon_accepts() -> None:
    record = new_list(CATALOG, RKEY, "album", "Evenings", [item(uri(2), CID)], THEN)
    assert record == {
        "$type": "fm.plyr.list",
        "name": "Evenings",
        "listType": "album",
        "items": [{"subject": {"uri": uri(2), "cid": CID}}],
        "createdAt": THEN,
    }
    with pytest.raises(InvalidRecord):
        new_list(CATALOG, RKEY, "album", "x" * 65, [], THEN)


def test_what_is_appended_comes_last_and_the_rest_stays() -> None:
    before = listed(2, 3)
    after = with_item(CATALOG, RKEY, before, {**item(uri(4), CID), "note": 4}, NOW)
    assert after == before | {"items": after["items"], "updatedAt": NOW}
    assert order(after) == [2, 3, 4]
    assert order(before) == [2, 3]


def test_nothing_is_in_a_playlist_twice_by_our_doing() -> None:
    with pytest.raises(AlreadyThere):
        with_item(CATALOG, RKEY, listed(2, 3), item(uri(3), CID), NOW)


def test_a_list_has_an_end() -> None:
    full = listed() | {"items": [item(f"{uri(2)[:-5]}{n:05}", CID) for n in range(MOST_ITEMS)]}
    with pytest.raises(ListFull):
        with_item(CATALOG, RKEY, full, item(uri(3), CID), NOW)


def test_a_track_is_taken_out_wherever_it_stands() -> None:
    assert order(without(CATALOG, RKEY, listed(2, 3, 2, 4), uri(2), NOW)) == [3, 4]
    with pytest.raises(NotThere):
        without(CATALOG, RKEY, listed(2), uri(3), NOW)


@pytest.mark.parametrize(
    ("before", "named", "after"),
    [
        ((2, 3, 4), (4, 2), [4, 2, 3]),
        ((2, 3, 4), (4, 5, 2), [4, 2, 3]),  # 5 was taken out meanwhile
        ((2, 3, 2), (3, 2, 2), [3, 2, 2]),
        ((2, 3, 2), (2,), [2, 3, 2]),
        ((2, 3), (), [2, 3]),
    ],
)
def test_an_order_moves_what_it_names_and_loses_nothing(
    before: tuple[int, ...], named: tuple[int, ...], after: list[int]
) -> None:
    assert order(reordered(CATALOG, RKEY, listed(*before), map(uri, named), NOW)) == after


def test_an_albums_order_brings_in_what_was_not_there() -> None:
    new = {**item(uri(5), "bafyreinew"), "note": 5}
    first = [new | {"subject": {"uri": uri(5), "cid": CID}}, item(uri(3), CID)]
    assert order(led_by(CATALOG, RKEY, listed(2, 3, 4), first, NOW)) == [5, 3, 2, 4]


def test_what_changes_nothing_is_the_same_record() -> None:
    before = listed(2, 3)
    assert reordered(CATALOG, RKEY, before, map(uri, (2, 3)), NOW) is before
    assert renamed(CATALOG, RKEY, before, "Evenings", NOW) is before
    assert renamed(CATALOG, RKEY, before, "Nights", NOW) == before | {"name": "Nights", "updatedAt": NOW}
