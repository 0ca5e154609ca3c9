"""`atproto-accept-labelers`: a list of RFC 8941, taken literally or refused (rule X12, trap T46)."""

from __future__ import annotations

import pytest

from appview.errors import InvalidRequest
from appview.labelers import MAX_BYTES, MOST, Labeler, read_labelers, shown
from lexicons.syntax import Did

A, B, WEB = "did:plc:aaaa", "did:plc:bbbb", "did:web:localhost%3A8000"
DEFAULT = (Labeler(Did("did:web:ours.test")),)

GOOD: list[tuple[list[str], str]] = [
    ([A], A),
    ([f"{A}, {B}"], f"{A}, {B}"),
    ([f"{B},{A}"], f"{B}, {A}"),
    ([A, B], f"{A}, {B}"),
    ([A, "", B], f"{A}, {B}"),
    ([f"{A};redact"], f"{A};redact"),
    ([f"{A};redact=?1"], f"{A};redact"),
    ([f"{A};redact=?0"], A),
    ([f"{A};redact=1"], A),
    ([f"{A};other=x;redact"], f"{A};redact"),
    ([f"{A}, {A};redact"], f"{A};redact"),
    ([f"{A};redact", A], f"{A};redact"),
    ([f'"{A}"'], A),
    ([WEB], WEB),
    ([""], ""),
    (["  "], ""),
]


@pytest.mark.parametrize(("lines", "echoed"), GOOD)
def test_a_list_is_read_as_the_rfc_says(lines: list[str], echoed: str):
    assert shown(read_labelers(lines, DEFAULT)) == echoed


BAD = [
    f"{A},",
    f"{A},,{B}",
    f"{A} {B}",
    f"({A} {B})",
    "alice.test",
    "1",
    "?1",
    ":YWJj:",
    f"{A};",
    f"{A};Redact",
    "did:plc:é",
    "did:",
    f"{A}#atproto_labeler",
    A + ", " * (MAX_BYTES // 2) + B,
    ", ".join([A] * MAX_BYTES),
]


@pytest.mark.parametrize("line", BAD)
def test_t46_what_is_no_list_of_dids_is_an_error(line: str):
    with pytest.raises(InvalidRequest, match="atproto-accept-labelers"):
        read_labelers([line], DEFAULT)


def test_without_the_header_the_service_chooses():
    assert read_labelers([], DEFAULT) == DEFAULT


def test_the_first_twenty_count():
    dids = [f"did:plc:{number}" for number in range(30)]
    assert [each.did for each in read_labelers([", ".join(dids)])] == dids[:MOST]
