"""indexer/albums.py: slugs that people can read, whatever they write in."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.albums import MAX_SLUG, album_id, slug


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("My Álbum", "my-album"),
        ("  Über  den --- Wolken ", "uber-den-wolken"),
        ("AC/DC: Live!", "acdc-live"),
        ("Ночные записи", "ночные-записи"),
        ("夜の歌 2", "夜の歌-2"),
        ("한국 음악", "한국-음악"),
        ("हिन्दी", "हिनदी"),
        ("I \N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16} You", "i-you"),
        ("a_b", "a-b"),
        ("nul\0 inside", "nul-inside"),
    ],
)
def test_a_title_becomes_what_stands_in_an_address(title: str, expected: str) -> None:
    assert slug(title) == expected


def test_a_long_title_is_cut_at_a_hyphen() -> None:
    assert slug("nine char " * 20) == "-".join(["nine-char"] * 10)
    assert slug("x" * 300) == "x" * MAX_SLUG


def test_titles_of_nothing_but_signs_have_slugs_of_their_own() -> None:
    assert slug("!!!").startswith("album-")
    assert slug("!!!") != slug("???")


@given(st.text(max_size=300))
def test_a_slug_is_short_and_is_its_own_slug(title: str) -> None:
    made = slug(title)
    assert 1 <= len(made) <= MAX_SLUG
    assert slug(made) == made
    assert made == unicodedata.normalize("NFC", made)
    assert not {"/", "?", "#", " ", "%"} & {*made}


def test_an_id_is_of_one_account_and_one_slug() -> None:
    ids = {album_id(did, name) for did in ("did:web:a", "did:web:b") for name in ("x", "y")}
    assert len(ids) == 4
    assert album_id("did:web:a", "x") in ids
