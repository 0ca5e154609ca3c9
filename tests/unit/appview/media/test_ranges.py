from __future__ import annotations

import pytest

from appview.media.ranges import MOST_RANGES, Parts, Unchanged, Unsatisfiable, Wanted, Whole, wanted

ETAG = '"abc"'


def ask(size: int = 1000, **headers: str) -> Wanted:
    return wanted({name.replace("_", "-"): value for name, value in headers.items()}, size=size, etag=ETAG)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-", [(500, 1000)]),
        ("bytes=-1", [(999, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=900-5000", [(900, 1000)]),
        ("bytes=0-", [(0, 1000)]),
        ("Bytes = 1-2", [(1, 3)]),
        ("bytes=0-0,-1", [(0, 1), (999, 1000)]),
        ("bytes=5-6, 0-1", [(5, 7), (0, 2)]),
        ("bytes=0-1,2000-", [(0, 2)]),
        ("bytes=,0-1,", [(0, 2)]),
    ],
)
def test_every_form_of_a_range_is_understood(text: str, ranges: list[tuple[int, int]]) -> None:
    assert ask(Range=text) == Parts(tuple(ranges))


@pytest.mark.parametrize("text", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=1000-,2000-"])
def test_what_is_not_there_is_not_satisfiable(text: str) -> None:
    assert ask(Range=text) == Unsatisfiable()
    assert ask(size=0, Range="bytes=0-") == Unsatisfiable()


@pytest.mark.parametrize(
    "text",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1-2-3", "lines=0-1"),
        *("bytes=0x1-", "bytes=+1-2", "bytes=0-,0-,0-"),
        "bytes=0-" + "9" * 5000,
        "bytes=" + ",".join(f"{n}-{n}" for n in range(MOST_RANGES + 1)),
    ],
)
def test_what_is_no_range_or_too_much_of_it_is_ignored(text: str) -> None:
    assert ask(Range=text) == Whole()


@pytest.mark.parametrize(
    ("text", "whole"),
    [(ETAG, False), ('"other"', True), ('W/"abc"', True), ("Sat, 28 Nov 2026 10:00:00 GMT", True)],
)
def test_a_range_of_another_version_is_ignored(text: str, whole: bool) -> None:
    assert (ask(Range="bytes=0-1", If_Range=text) == Whole()) == whole


@pytest.mark.parametrize("text", [ETAG, "*", f'"x", {ETAG}', 'W/"abc"'])
def test_what_the_client_has_is_not_sent(text: str) -> None:
    assert ask(If_None_Match=text) == Unchanged()
    assert ask(If_None_Match=text, Range="bytes=0-1") == Unchanged()


def test_another_version_is_sent() -> None:
    assert ask(If_None_Match='"x"') == Whole()
