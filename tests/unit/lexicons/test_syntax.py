"""String formats: the published vectors, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicons.syntax import (
    FORMATS,
    InvalidSyntax,
    Tid,
    is_at_uri,
    is_atproto_did,
    is_cid,
    is_datetime,
    is_did,
    is_handle,
    is_language,
    is_nsid,
    is_rkey,
    is_tid,
    is_uri,
    parse_at_uri,
    parse_datetime,
    parse_language,
    tid_from_us,
    tid_time_us,
)

FILES = {
    "atidentifier": "at-identifier",
    "aturi": "at-uri",
    "cid": "cid",
    "datetime": "datetime",
    "did": "did",
    "handle": "handle",
    "language": "language",
    "nsid": "nsid",
    "recordkey": "record-key",
    "tid": "tid",
    "uri": "uri",
}


def vectors(shared: Path, name: str) -> list[str]:
    """The lines of a vector file, comments and blank lines left out."""
    text = (shared / "data/interop/syntax" / f"{name}.txt").read_text()
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert lines, name
    return lines


@pytest.mark.parametrize("name", FILES)
def test_published_valid_strings_are_valid(shared: Path, name: str) -> None:
    is_format = FORMATS[FILES[name]]
    assert [line for line in vectors(shared, f"{name}_syntax_valid") if not is_format(line)] == []


@pytest.mark.parametrize("name", FILES)
def test_published_invalid_strings_are_invalid(shared: Path, name: str) -> None:
    is_format = FORMATS[FILES[name]]
    assert [line for line in vectors(shared, f"{name}_syntax_invalid") if is_format(line)] == []


@pytest.mark.parametrize(("name", "parse"), [("datetime", parse_datetime), ("language", parse_language)])
def test_published_unparseable_strings_are_refused(
    shared: Path, name: str, parse: Callable[[str], object]
) -> None:
    for line in vectors(shared, f"{name}_parse_invalid"):
        with pytest.raises(InvalidSyntax):
            parse(line)


def test_every_published_syntax_file_is_used(shared: Path) -> None:
    files = {path.stem for path in (shared / "data/interop/syntax").iterdir()}
    used = {f"{name}_syntax_{kind}" for name in FILES for kind in ("valid", "invalid")}
    assert files == used | {"datetime_parse_invalid", "language_parse_invalid"}
    assert len(files) == 24


@pytest.mark.parametrize("name", FILES)
def test_t38_a_trailing_newline_is_never_let_through(shared: Path, name: str) -> None:
    is_format = FORMATS[FILES[name]]
    for line in vectors(shared, f"{name}_syntax_valid"):
        assert not is_format(line + "\n"), line
        assert not is_format("\n" + line), line


@pytest.mark.parametrize("first", "234567abcdefghij")
def test_t37_a_tid_may_start_with_any_of_its_first_sixteen_letters(first: str) -> None:
    assert is_tid(first + "zzzzzzzzzzzz")


@pytest.mark.parametrize("first", "klmnopqrstuvwxyz0189AJ")
def test_a_tid_with_its_high_bit_set_is_invalid(first: str) -> None:
    assert not is_tid(first + "222222222222")


@given(st.integers(0, (1 << 53) - 1), st.integers(0, 1023))
def test_a_tid_gives_back_the_time_that_it_was_made_of(us: int, clock_id: int) -> None:
    tid = tid_from_us(us, clock_id)
    assert is_tid(tid)
    assert tid_time_us(tid) == us


@given(st.lists(st.tuples(st.integers(0, (1 << 53) - 1), st.integers(0, 1023)), min_size=2))
def test_tids_sort_as_their_times_do(times: list[tuple[int, int]]) -> None:
    assert sorted(tid_from_us(*time) for time in times) == [tid_from_us(*time) for time in sorted(times)]


def test_a_known_tid_has_its_known_time() -> None:
    assert tid_time_us(Tid("3jzfcijpj2z2a")) == 1688137381887007


@pytest.mark.parametrize(("us", "clock_id"), [(-1, 0), (1 << 53, 0), (0, -1), (0, 1024)])
def test_a_time_or_clock_that_does_not_fit_makes_no_tid(us: int, clock_id: int) -> None:
    with pytest.raises(InvalidSyntax):
        tid_from_us(us, clock_id)


@pytest.mark.parametrize(
    ("is_format", "longest", "length"),
    [
        (is_did, "did:web:".ljust(2048, "e"), 2048),
        (is_handle, ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61]), 253),
        (is_nsid, ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 63, "e" * 61]), 317),
        (is_rkey, "e" * 512, 512),
        (is_uri, "https:".ljust(8192, "e"), 8192),
    ],
)
def test_lengths_end_where_the_specification_ends_them(
    is_format: Callable[[str], bool], longest: str, length: int
) -> None:
    assert len(longest) == length
    assert is_format(longest)
    assert not is_format(longest + "e")


@pytest.mark.parametrize(
    "did",
    [
        "did:plc:7iza6de2dwap2sbkpav7c6c6",
        "did:web:example.com",
        "did:web:a.b.example.com",
        "did:web:localhost",
        "did:web:localhost%3A1234",
    ],
)
def test_dids_of_the_two_methods_of_the_network_are_known(did: str) -> None:
    assert is_did(did)
    assert is_atproto_did(did)


@pytest.mark.parametrize(
    "did",
    [
        "did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N",
        "did:plc:7iza6de2dwap2sbkpav7c6c",
        "did:plc:7iza6de2dwap2sbkpav7c6c61",
        "did:plc:7IZA6DE2DWAP2SBKPAV7C6C6",
        "did:plc:7iza6de2dwap2sbkpav7c6c6\n",
        "did:plc:0iza6de2dwap2sbkpav7c6c6",
        "did:web:example.com:user:alice",
        "did:web:example.com%3A8443",
        "did:web:localhost%3A",
        "did:web:169.254.169.254",
        "did:web:internal",
        "did:web:example.com.",
        "did:web:user%40example.com",
    ],
)
def test_other_dids_are_none_of_ours(did: str) -> None:
    assert not is_atproto_did(did)


def test_an_at_uri_comes_apart_into_its_parts() -> None:
    whole = parse_at_uri("at://did:plc:7iza6de2dwap2sbkpav7c6c6/fm.plyr.track/3jzfcijpj2z2a")
    assert (whole.authority, whole.collection, whole.rkey) == (
        "did:plc:7iza6de2dwap2sbkpav7c6c6",
        "fm.plyr.track",
        "3jzfcijpj2z2a",
    )
    short = parse_at_uri("at://artist.example.com")
    assert (short.authority, short.collection, short.rkey) == ("artist.example.com", None, None)


@pytest.mark.parametrize("rkey", [".", ".."])
def test_an_at_uri_cannot_climb_out_of_its_collection(rkey: str) -> None:
    assert not is_at_uri(f"at://did:plc:7iza6de2dwap2sbkpav7c6c6/fm.plyr.track/{rkey}")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1985-04-12T23:20:50.123Z", datetime(1985, 4, 12, 23, 20, 50, 123000, UTC)),
        ("1985-04-12T23:20:50.123456789Z", datetime(1985, 4, 12, 23, 20, 50, 123456, UTC)),
        ("1985-04-12T23:20:50+01:45", datetime(1985, 4, 12, 21, 35, 50, 0, UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_datetime_is_read_as_an_instant_in_utc(text: str, instant: datetime) -> None:
    assert is_datetime(text)
    assert parse_datetime(text) == instant
    assert parse_datetime(text).utcoffset() == UTC.utcoffset(None)


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00.000Z",
        "0000-01-01T00:00:00.000-01:00",
        "0001-01-01T00:00:00.000+01:00",
        "9999-12-31T23:30:00.000-01:00",
    ],
)
def test_t20_valid_datetimes_beyond_our_clocks_are_valid_and_refused_by_the_parser(text: str) -> None:
    assert is_datetime(text)
    with pytest.raises(InvalidSyntax):
        parse_datetime(text)


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29T00:00:00Z",
        "2023-04-31T00:00:00Z",
        "0000-02-30T00:00:00Z",
        "0000-01-01T00:59:00+01:00",
        "1985-04-12T24:00:00Z",
        "1985-04-12T23:59:60Z",
        "1985-04-12T23:20:50.123+24:00",
        "1985-04-12T23:20:50." + "1" * 21 + "Z",
        "１985-04-12T23:20:50Z",
    ],
)
def test_days_and_hours_that_do_not_exist_are_no_datetime(text: str) -> None:
    assert not is_datetime(text)
    with pytest.raises(InvalidSyntax):
        parse_datetime(text)


def test_repeated_subtags_are_well_formed_and_refused_by_the_parser(shared: Path) -> None:
    for line in vectors(shared, "language_parse_invalid"):
        assert is_language(line)
    assert parse_language("en-GB-boont-r-extended-x-r-r") == (
        "en",
        "gb",
        "boont",
        "r",
        "extended",
        "x",
        "r",
        "r",
    )


def test_a_cid_of_version_0_is_no_cid() -> None:
    assert not is_cid("QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR")


@given(st.text())
def test_no_text_makes_a_format_fail(text: str) -> None:
    for is_format in FORMATS.values():
        assert is_format(text) in (True, False)
