"""Folding: what is indexed and what is asked for meet."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.search import MAX_WORD_LENGTH, MAX_WORDS, fold, ts_query, words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Sigur Rós – Ágætis byrjun", "sigur ros agaetis byrjun"),
        ("STRASSE straße", "strasse strasse"),
        ("Łódź, Øresund; þú ðað Œuvre", "lodz oresund thu dad oeuvre"),
        ("İstanbul ISPARTA ılık", "istanbul isparta ilik"),
        ("don't don’t", "dont dont"),
        ("ﬁne Ｆｕｌｌ ²", "fine full 2"),
        ("alice.bsky.social", "alice bsky social"),
        ("夜に駆ける", "夜 に 駆 け る"),
        ("が", "が"),
        ("한국어 노래", "한국어 노래"),
        ("हिन्दी गीत", "हिन्दी गीत"),
        ("a_b-c/d", "a b c d"),
        ("a\x00b\ud800c", "a b c"),
        (" \t\n!?:*&|'\"\\", ""),
    ],
)
def test_text_becomes_plain_words(text: str, folded: str):
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text: str):
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_nothing_that_postgres_could_stumble_over_is_left(text: str):
    folded = fold(text)
    folded.encode()
    assert not set(folded) & set(string.punctuation + "\x00\t\n")


@given(st.text(max_size=200))
def test_a_text_is_found_by_its_own_words(text: str):
    indexed = set(fold(text).split())
    assert all(any(known.startswith(word) for known in indexed) for word in words(text))


def test_a_query_joins_prefixes():
    assert ts_query(words("Ró sig ró")) == "'ro':* & 'sig':*"
    assert ts_query(words("?!")) == ""


def test_a_query_is_bounded():
    many = words(" ".join(f"w{number}" for number in range(1000)))
    assert len(many) == MAX_WORDS
    assert len(words("x" * 100_000)[0]) == MAX_WORD_LENGTH
