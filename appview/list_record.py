"""The record of a list, an album or a playlist: how one is written, and what a change makes of it. Pure.

A change is made to the whole record as it was read: fields that we don't know stay, in the record and in its
items, and so does `createdAt`. Items that a change does not name keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lexicons.catalog import Catalog
from lexicons.records import accepted
from lexicons.syntax import Cid, Rkey

MOST_ITEMS = 500

Record = dict[str, Any]


class ListFull(Exception):
    """It has as many items as a list may have."""


class AlreadyThere(Exception):
    """The track is in the list."""


class NotThere(Exception):
    """The track is not in the list."""


def item(uri: str, cid: Cid | str) -> Record:
    return {"subject": {"uri": uri, "cid": cid}}


def new_list(
    catalog: Catalog, rkey: Rkey, kind: str, name: str, items: Sequence[Record], created_at: str
) -> Record:
    """In JSON form. Raises InvalidRecord, ListFull."""
    record: Record = {
        "$type": catalog.collections.list,
        "name": name,
        "listType": kind,
        "items": list(items),
        "createdAt": created_at,
    }
    return _checked(catalog, rkey, record)


def renamed(catalog: Catalog, rkey: Rkey, record: Record, name: str, now: str) -> Record:
    """Raises InvalidRecord."""
    if record.get("name") == name:
        return record
    return _checked(catalog, rkey, record | {"name": name, "updatedAt": now})


def with_item(catalog: Catalog, rkey: Rkey, record: Record, added: Record, now: str) -> Record:
    """The item at the end. Raises AlreadyThere, ListFull, InvalidRecord."""
    items = _items(record)
    if any(_uri(each) == _uri(added) for each in items):
        raise AlreadyThere
    return _with_items(catalog, rkey, record, [*items, added], now)


def without(catalog: Catalog, rkey: Rkey, record: Record, uri: str, now: str) -> Record:
    """Nowhere this track. Raises NotThere."""
    items = _items(record)
    left = [each for each in items if _uri(each) != uri]
    if len(left) == len(items):
        raise NotThere
    return _with_items(catalog, rkey, record, left, now)


def reordered(catalog: Catalog, rkey: Rkey, record: Record, uris: Iterable[str], now: str) -> Record:
    """Those of its items that are named first, in this order; the others behind them. What is named and is
    not in the list is not put there: somebody has taken it out meanwhile."""
    items = _items(record)
    left: dict[str | None, list[int]] = {}
    for place in reversed(range(len(items))):
        left.setdefault(_uri(items[place]), []).append(place)
    first = [left[uri].pop() for uri in uris if left.get(uri)]
    named = set(first)
    order = first + [place for place in range(len(items)) if place not in named]
    return _with_items(catalog, rkey, record, [items[place] for place in order], now)


def led_by(catalog: Catalog, rkey: Rkey, record: Record, first: Sequence[Record], now: str) -> Record:
    """These items first, whether they were in it or not; the others behind them. Raises ListFull."""
    items = _items(record)
    known = {_uri(each): each for each in reversed(items)}
    named = {_uri(each) for each in first}
    ahead = [known.get(_uri(each), each) for each in first]
    behind = [each for each in items if _uri(each) not in named]
    return _with_items(catalog, rkey, record, ahead + behind, now)


def _with_items(catalog: Catalog, rkey: Rkey, record: Record, items: list[Record], now: str) -> Record:
    if items == record.get("items"):
        return record
    return _checked(catalog, rkey, record | {"items": items, "updatedAt": now})


def _checked(catalog: Catalog, rkey: Rkey, record: Record) -> Record:
    if len(record["items"]) > MOST_ITEMS:
        raise ListFull
    return accepted(catalog, catalog.collections.list, rkey, record)


def _items(record: Record) -> list[Record]:
    found = record.get("items")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _uri(each: Record) -> str | None:
    subject = each.get("subject")
    uri = subject.get("uri") if isinstance(subject, dict) else None
    return uri if isinstance(uri, str) else None
