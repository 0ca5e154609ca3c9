"""Cursors come back as what they were, or not at all."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appview import cursors
from appview.errors import InvalidRequest
from storage import keyset
from storage.keyset import Keyset

KEYSETS = [
    keyset.TIME_ID, keyset.TIME_REPO, keyset.TIME_RKEY, keyset.COUNT_ID, keyset.RANK_ID, keyset.RANK_REPO,
    keyset.POSITION, keyset.MOMENT,
]  # fmt: skip


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 2**63 - 1))
def test_a_place_survives_the_way_through_a_cursor(moment: datetime, number: int):
    place = (str(moment).removesuffix(":00").encode(), str(number).encode())
    assert cursors.decode(cursors.encode(place).decode(), keyset.TIME_ID) == place


@pytest.mark.parametrize("texts", [("0.6079271", "12"), ("1e-20", "0"), ("0.06079271", "2147483647")])
def test_ranks_survive_too(texts: tuple[str, str]):
    place = (texts[0].encode(), texts[1].encode())
    assert cursors.decode(cursors.encode(place).decode(), keyset.RANK_REPO) == place


def test_without_a_cursor_a_listing_starts_before_everything():
    assert all(cursors.decode(None, each) == each.start for each in KEYSETS)


@pytest.mark.parametrize("each", KEYSETS)
@given(raw=st.one_of(st.text(max_size=40), st.binary(max_size=40)))
def test_whatever_comes_is_a_place_or_refused(each: Keyset, raw: str | bytes):
    text = raw if isinstance(raw, str) else base64.urlsafe_b64encode(raw).decode()
    try:
        place = cursors.decode(text, each)
    except InvalidRequest:
        return
    assert len(place) == len(each.start)
    assert cursors.decode(cursors.encode(place).decode(), each) == place


@pytest.mark.parametrize(
    "keys",
    [
        ("2026-02-30 00:00:00+00", "1"),
        ("2026-01-01 24:61:00+00", "1"),
        ("2026-01-01 00:00:00+01", "1"),
        ("2026-01-01T00:00:00+00", "1"),
        ("infinity", "1"),
        ("2026-01-01 00:00:00+00", "-1"),
        ("2026-01-01 00:00:00+00", "9223372036854775808"),
        ("2026-01-01 00:00:00+00", "1 "),
        ("2026-01-01 00:00:00+00", "１"),
        ("2026-01-01 00:00:00+00",),
        ("2026-01-01 00:00:00+00", "1", "1"),
    ],
)
def test_keys_that_postgres_never_wrote_are_refused(keys: tuple[str, ...]):
    with pytest.raises(ValueError, match="key"):
        keyset.TIME_ID.parse(keys)
