"""Which words an index is asked for, and when the newest rows are looked through instead."""

from __future__ import annotations

from storage.spread import MOST_ENTRIES, MOST_NAMES, MOST_ROWS, SAMPLE, Sample, Spread

# Every title has "track", half have "night", one in twenty "ferry", and each its number.
TITLES = [
    " ".join(["track", *["night"] * (n % 2), *["ferry"] * (n % 20 == 0), f"n{n:04}"]) for n in range(SAMPLE)
]
NOBODY = Sample([], 0)


def spread(total: int, names: Sample = NOBODY) -> Spread:
    return Spread(Sample(TITLES, total), names)


def test_of_few_rows_it_is_exact() -> None:
    sample = Sample(TITLES, SAMPLE)
    assert (sample.rows("track"), sample.rows("ferry"), sample.rows("n0001")) == (SAMPLE, SAMPLE / 20, 1)
    assert (sample.rows("n00"), sample.rows("n"), sample.rows("ack"), sample.rows("z")) == (
        100, SAMPLE, 0, 0,
    )  # fmt: skip
    assert sample.rows_with_all(["night", "n000"]) == 5
    assert sample.rows_with_all(["ferry", "night"]) == 0


def test_of_many_rows_it_is_an_estimate() -> None:
    assert Sample(TITLES, 1_000_000).rows("ferry") == 50_000
    assert Sample(TITLES, 3).rows("n0001") == 1  # never less than what was seen
    assert NOBODY.rows("x") == NOBODY.rows_with_all(["x", "y"]) == 0


def test_where_there_is_little_every_word_is_looked_up_and_nothing_else() -> None:
    terms = spread(SAMPLE).for_tracks(["track", "n0001"])
    assert terms.whole == b"'track':* & 'n0001':*"
    assert terms.rare == b"'n0001':* & 'track':*"
    assert (terms.each, terms.newest) == (("'n0001':*", "'track':*"), b"f")


def test_a_common_word_is_not_looked_up_beside_a_rare_one() -> None:
    terms = spread(1_000_000).for_tracks(["track", "n0001"])
    assert (terms.whole, terms.rare) == (b"'track':* & 'n0001':*", b"'n0001':*")
    assert (terms.each, terms.newest) == (("'n0001':*",), b"f")


def test_of_common_words_alone_the_newest_are_looked_through() -> None:
    for asked in (["track"], ["night", "track"]):
        for terms in (spread(1_000_000).for_tracks(asked), spread(1_000_000).for_albums(asked)):
            assert (terms.rare, terms.each, terms.newest) == (None, (), b"t")


def test_so_they_are_where_the_index_leads_to_too_much() -> None:
    total = 20 * (MOST_ROWS + 1000)
    assert total / 20 < MOST_ENTRIES
    assert spread(total).for_tracks(["ferry"]).newest == b"t"
    assert spread(total).for_tracks(["ferry"]).rare == b"'ferry':*"
    assert spread(20 * MOST_ROWS).for_tracks(["ferry"]).newest == b"f"


def test_so_they_are_where_too_many_authors_are_called_so() -> None:
    names = Sample(["test"] * (MOST_NAMES + 1), MOST_NAMES + 1)
    assert spread(SAMPLE, names).for_tracks(["test"]).newest == b"t"
    assert spread(SAMPLE, names).for_names(["test"]).newest == b"f"
    many = Sample(["test"] * SAMPLE, 1_000_000)
    assert spread(SAMPLE, many).for_tracks(["test"]).rare is None
    assert spread(SAMPLE, many).for_names(["test"]).rare is None
    assert spread(SAMPLE, many).for_albums(["test"]).rare is not None
