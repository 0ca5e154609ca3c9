"""Values, their bytes, their JSON: the published fixtures, the traps, and round trips."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cbrrr
import libipld
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicons import strictcbor
from lexicons.datamodel import (
    MAX_INT,
    MIN_INT,
    InvalidData,
    Link,
    cid_bytes,
    cid_of,
    cid_str,
    decode,
    encode,
    from_json,
    to_json,
)
from lexicons.syntax import Cid

DIGEST = bytes(range(32))
SHA512 = b"\x01\x71\x13\x40" + bytes(64)
IDENTITY = b"\x01\x55\x00\x03abc"
VERSION_0 = b"\x12\x20" + DIGEST

links = st.builds(
    lambda codec, digest: Link(cid_str(b"\x01" + codec + b"\x12\x20" + digest)),
    st.sampled_from([b"\x71", b"\x55"]),
    st.binary(min_size=32, max_size=32),
)
keys = st.text().filter(lambda key: key not in ("$link", "$bytes", "$type"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(MIN_INT, MAX_INT) | st.text() | st.binary() | links,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
objects = st.dictionaries(keys, values, max_size=6)


def load(shared: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((shared / "data/interop/data-model" / f"{name}.json").read_text())


def link(raw: bytes) -> bytes:
    """The CBOR of a link, whatever its bytes say."""
    body = b"\x00" + raw
    head = bytes([0x40 + len(body)]) if len(body) < 24 else bytes([0x58, len(body)])
    return b"\xd8\x2a" + head + body


def nested(levels: int) -> bytes:
    return b"\x81" * (levels - 1) + b"\x80"


def test_published_fixtures_have_their_bytes_and_cids(shared: Path) -> None:
    fixtures = load(shared, "data-model-fixtures")
    assert len(fixtures) == 3
    for fixture in fixtures:
        block = base64.b64decode(fixture["cbor_base64"] + "==")
        assert encode(from_json(fixture["json"])) == block
        assert to_json(decode(block)) == fixture["json"]
        assert cid_of(block) == fixture["cid"]


def test_published_valid_data_goes_through_bytes_and_back(shared: Path) -> None:
    cases = load(shared, "data-model-valid")
    assert len(cases) == 5
    for case in cases:
        value = from_json(case["json"])
        assert decode(encode(value)) == value
        assert to_json(value) == case["json"]


def test_published_invalid_data_is_refused(shared: Path) -> None:
    cases = load(shared, "data-model-invalid")
    assert len(cases) == 12
    for case in cases:
        with pytest.raises(InvalidData):
            from_json(case["json"])


def test_real_records_have_the_cids_that_another_implementation_printed(shared: Path) -> None:
    lines = (shared / "data/relay-2026-07-04/expected_v1.jsonl").read_bytes().splitlines()
    commits = [line["commit"] for line in map(orjson.loads, lines) if line["kind"] == "commit"]
    records = [(commit["record"], commit["cid"]) for commit in commits if "record" in commit]
    assert len(records) > 100
    for record, cid in records:
        block = encode(from_json(record))
        assert cid_of(block) == cid
        assert to_json(decode(block)) == record


@given(values)
def test_a_value_goes_through_bytes_and_back(value: object) -> None:
    assert decode(encode(value)) == value


@given(objects)
def test_an_object_goes_through_json_text_and_back(value: dict[str, Any]) -> None:
    assert from_json(orjson.loads(orjson.dumps(to_json(value)))) == value


@given(objects)
def test_an_independent_encoder_writes_the_same_bytes(value: dict[str, Any]) -> None:
    assert cbrrr.encode_dag_cbor(to_json(value), atjson_mode=True) == encode(value)


@given(values, st.data())
def test_both_ways_of_reading_agree_on_damaged_bytes(value: object, data: st.DataObject) -> None:
    block = bytearray(encode(value))
    for _ in range(data.draw(st.integers(0, 2))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    damaged = (
        bytes(block[: data.draw(st.integers(0, len(block)))]) if data.draw(st.booleans()) else bytes(block)
    )
    try:
        slow: object = strictcbor.read(damaged)
    except InvalidData:
        with pytest.raises(InvalidData):
            decode(damaged)
    else:
        assert decode(damaged) == slow
        assert encode(slow) == damaged


@given(st.binary(max_size=64))
def test_whatever_is_let_through_has_one_encoding(block: bytes) -> None:
    try:
        value = decode(block)
    except InvalidData:
        return
    assert encode(value) == block


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00", id="float 1.5"),
        pytest.param(b"\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00", id="float 1.0"),
        pytest.param(b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", id="NaN"),
        pytest.param(b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00", id="infinity"),
        pytest.param(b"\xf9\x3c\x00", id="half float"),
        pytest.param(b"\xfa\x3f\x80\x00\x00", id="single float"),
        pytest.param(b"\x18\x00", id="integer padded to 1 byte"),
        pytest.param(b"\x19\x00\xff", id="integer padded to 2 bytes"),
        pytest.param(b"\x1a\x00\x00\xff\xff", id="integer padded to 4 bytes"),
        pytest.param(b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff", id="integer padded to 8 bytes"),
        pytest.param(b"\x38\x00", id="negative integer padded"),
        pytest.param(b"\x1b" + b"\xff" * 8, id="largest uint64"),
        pytest.param(b"\x1b\x80" + bytes(7), id="2^63"),
        pytest.param(b"\x3b" + b"\xff" * 8, id="-2^64"),
        pytest.param(b"\x3b\x80" + bytes(7), id="-2^63 - 1"),
        pytest.param(b"\x78\x01a", id="text length padded"),
        pytest.param(b"\x58\x01a", id="bytes length padded"),
        pytest.param(b"\x98\x01\x00", id="array length padded"),
        pytest.param(b"\xb8\x01\x61a\x00", id="map length padded"),
        pytest.param(b"\x9f\xff", id="array without length"),
        pytest.param(b"\xbf\xff", id="map without length"),
        pytest.param(b"\x7f\x61a\xff", id="text without length"),
        pytest.param(b"\x5f\x41a\xff", id="bytes without length"),
        pytest.param(b"\xf7", id="undefined"),
        pytest.param(b"\xf8\xff", id="simple value"),
        pytest.param(b"\xe0", id="simple value 0"),
        pytest.param(b"\xff", id="break"),
        pytest.param(b"\xc0\x60", id="tag 0"),
        pytest.param(b"\xd8\x2b\x40", id="tag 43"),
        pytest.param(b"\xd9\x00\x2a" + link(b"\x01\x71\x12\x20" + DIGEST)[2:], id="tag 42 padded"),
        pytest.param(b"\xa2\x61b\x01\x61a\x02", id="keys out of order"),
        pytest.param(b"\xa2\x62aa\x01\x61b\x02", id="longer key first"),
        pytest.param(b"\xa2\x61a\x01\x61a\x02", id="key twice"),
        pytest.param(b"\xa1\x01\x02", id="integer key"),
        pytest.param(b"\xa1\x41a\x02", id="bytes key"),
        pytest.param(b"\x61\xff", id="text is not UTF-8"),
        pytest.param(b"\x63\xed\xa0\x80", id="surrogate in UTF-8"),
        pytest.param(b"\x62\xc0\x80", id="overlong NUL"),
        pytest.param(nested(33), id="33 arrays deep"),
        pytest.param(b"\xa1\x61a" * 32 + b"\xa0", id="33 maps deep"),
        pytest.param(nested(1000), id="1000 deep"),
        pytest.param(nested(1_000_000), id="1,000,000 deep"),
        pytest.param(b"\x9a\x00\x02\x00\x01" + b"\x00" * 131_073, id="131,073 items"),
        pytest.param(b"\x9b" + b"\xff" * 8, id="array of 2^64 items"),
        pytest.param(b"\x7b" + b"\xff" * 8, id="text of 2^64 bytes"),
        pytest.param(b"\xa1\x79\x20\x01" + b"a" * 8193 + b"\x00", id="key of 8193 bytes"),
        pytest.param(link(VERSION_0), id="link of version 0"),
        pytest.param(link(b"\x02\x71\x12\x20" + DIGEST), id="link of version 2"),
        pytest.param(link(b"\x01\x71\x12\x20" + DIGEST[:-1]), id="link cut short"),
        pytest.param(link(b"\x01\x71\x12\x20" + DIGEST + b"x"), id="link with more behind"),
        pytest.param(link(b"\x01\xf1\x00\x12\x20" + DIGEST), id="link with a padded codec"),
        pytest.param(link(b"\x01\x71\x13\x61" + bytes(97)), id="link of 101 bytes"),
        pytest.param(link(b""), id="empty link"),
        pytest.param(b"\xd8\x2a\x40", id="link without prefix"),
        pytest.param(b"\xd8\x2a\x63abc", id="link of text"),
        pytest.param(b"\xd8\x2a\x58\x25\x01" + b"\x01\x71\x12\x20" + DIGEST, id="link with another prefix"),
        pytest.param(b"\x00\x00", id="two values"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x62a", id="text cut short"),
        pytest.param(b"\xa1\x61a", id="map cut short"),
        pytest.param(b"\xa1\x65$type\x60", id="empty $type"),
        pytest.param(b"\xa1\x65$type\xf6", id="null $type"),
        pytest.param(b"\xa1\x65$link\x60", id="map that JSON would take for a link"),
        pytest.param(b"\xa1\x66$bytes\x60", id="map that JSON would take for bytes"),
    ],
)
def test_t19_what_the_data_model_forbids_is_refused(block: bytes) -> None:
    with pytest.raises(InvalidData):
        decode(block)
    with pytest.raises(InvalidData):
        strictcbor.read(block)


@pytest.mark.parametrize(
    ("block", "value"),
    [
        (b"\x1b\x7f" + b"\xff" * 7, MAX_INT),
        (b"\x3b\x7f" + b"\xff" * 7, MIN_INT),
        (b"\x17", 23),
        (b"\x18\x18", 24),
        (b"\x60", ""),
        (b"\xa0", {}),
    ],
)
def test_values_at_the_limits_are_let_through(block: bytes, value: object) -> None:
    assert decode(block) == value
    assert strictcbor.read(block) == value


def test_nesting_ends_at_32_levels() -> None:
    assert encode(decode(nested(32))) == nested(32)
    with pytest.raises(InvalidData):
        encode([decode(nested(32))])


def test_a_container_ends_at_131072_items() -> None:
    block = b"\x9a\x00\x02\x00\x00" + b"\x00" * 131_072
    assert len(decode(block)) == 131_072
    with pytest.raises(InvalidData):
        encode([0] * 131_073)
    with pytest.raises(InvalidData):
        from_json({"items": [0] * 131_073})


def test_a_key_ends_at_8_kib() -> None:
    block = b"\xa1\x79\x20\x00" + b"a" * 8192 + b"\x00"
    assert decode(block) == {"a" * 8192: 0}
    for key in ("a" * 8193, "é" * 4097):
        with pytest.raises(InvalidData):
            encode({key: 0})
        with pytest.raises(InvalidData):
            from_json({key: 0})


def test_t19_nul_in_text_survives() -> None:
    block = b"\xa1\x62a\x00\x63\x00b\x00"
    assert decode(block) == {"a\0": "\0b\0"}
    assert encode(decode(block)) == block
    assert from_json(orjson.loads(orjson.dumps(to_json(decode(block))))) == {"a\0": "\0b\0"}


def test_bytes_that_look_like_a_cid_stay_bytes() -> None:
    looks_like_a_cid = b"\x01\x71\x12\x20" + DIGEST
    block = encode({"bytes": looks_like_a_cid, "link": Link(cid_str(looks_like_a_cid))})
    assert decode(block) == {"bytes": looks_like_a_cid, "link": Link(cid_str(looks_like_a_cid))}
    assert to_json(decode(block))["bytes"].keys() == {"$bytes"}
    assert libipld.encode_dag_cbor(libipld.decode_dag_cbor(block)) != block


@pytest.mark.parametrize("raw", [SHA512, IDENTITY])
def test_t19_links_by_other_hashes_are_kept_in_records_and_refused_where_ours_must_be(raw: bytes) -> None:
    value = decode(link(raw))
    assert encode(value) == link(raw)
    assert from_json(to_json({"a": value})) == {"a": value}
    with pytest.raises(InvalidData):
        cid_str(raw)
    with pytest.raises(InvalidData):
        cid_bytes(value.cid)


def test_a_cid_is_text_outside_and_36_bytes_inside() -> None:
    cid = cid_of(b"\xa0")
    assert cid == "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
    assert len(cid_bytes(cid)) == 36
    assert cid_str(cid_bytes(cid)) == cid
    assert cid_of(b"audio", "raw").startswith("bafkrei")


@pytest.mark.parametrize(
    "cid",
    [
        "",
        "b",
        ".",
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7",
        "BAFYREIGBTJ4X7IP5LEGNFZNUFUOPL4SG4KNZC2COF6DUAS4B3Q2FY6SWUA",
        "bAFYREIGBTJ4X7IP5LEGNFZNUFUOPL4SG4KNZC2COF6DUAS4B3Q2FY6SWUA",
        "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swu",
        "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swub",
        "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua\n",
        "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swuä",
        "\ud800",
    ],
)
def test_other_spellings_of_a_cid_are_refused(cid: str) -> None:
    with pytest.raises(InvalidData):
        cid_bytes(cid)
    with pytest.raises(InvalidData):
        from_json({"a": {"$link": cid}})
    with pytest.raises(InvalidData):
        encode(Link(Cid(cid)))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param("a\udfffb", id="lone surrogate within"),
        pytest.param(MAX_INT + 1, id="2^63"),
        pytest.param(MIN_INT - 1, id="-2^63 - 1"),
        pytest.param(10**30, id="huge"),
        pytest.param(float("nan"), id="NaN"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param(1e300, id="huge float"),
        pytest.param(0.5, id="fraction"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param({1: 2}, id="integer key"),
        pytest.param({"\ud800": 2}, id="lone surrogate in a key"),
        pytest.param((1, 2), id="tuple"),
        pytest.param({"$bytes": "%%%%"}, id="no base64"),
        pytest.param({"$bytes": "a"}, id="a quarter of base64"),
        pytest.param({"$bytes": "é"}, id="base64 beyond ASCII"),
    ],
)
def test_t21_json_that_has_no_value_is_refused_with_a_typed_error(value: object) -> None:
    with pytest.raises(InvalidData):
        from_json({"a": value})


def test_t21_json_nested_too_deep_is_refused_with_a_typed_error() -> None:
    deep = orjson.loads(b'{"a":' * 300 + b"1" + b"}" * 300)
    with pytest.raises(InvalidData):
        from_json(deep)
    with pytest.raises(InvalidData):
        encode(deep)


def test_t21_a_number_that_orjson_reads_as_a_float_is_refused() -> None:
    with pytest.raises(InvalidData):
        from_json(orjson.loads(b'{"a": 123456789012345678901234567890}'))
    with pytest.raises(InvalidData):
        from_json(orjson.loads(b'{"a": 18446744073709551615}'))


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), MAX_INT + 1, MIN_INT - 1, "\ud800", {"\ud800": 1}, {1: 1}, (1,), {1}, {"$link": "x"}],
    ids=repr,
)
def test_t21_values_without_an_encoding_are_refused_with_a_typed_error(value: object) -> None:
    with pytest.raises(InvalidData):
        encode(value)


@given(objects)
def test_t21_whatever_was_read_can_be_written_as_json(value: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(to_json(decode(encode(value))))) == to_json(value)


def test_a_whole_float_in_json_is_an_integer() -> None:
    assert from_json({"a": 123.0, "b": -0.0}) == {"a": 123, "b": 0}
    assert type(from_json({"a": 123.0})["a"]) is int


def test_padding_of_bytes_in_json_is_optional() -> None:
    assert from_json({"a": {"$bytes": "YQ=="}}) == from_json({"a": {"$bytes": "YQ"}}) == {"a": b"a"}
    assert to_json(b"a") == {"$bytes": "YQ"}


@pytest.mark.parametrize(
    "blob",
    [
        {"$type": "blob"},
        {"$type": "blob", "ref": Link(cid_of(b"x", "raw")), "mimeType": "audio/mpeg", "size": -1},
        {"$type": "blob", "ref": Link(cid_of(b"x", "raw")), "mimeType": "audio/mpeg", "size": True},
        {"$type": "blob", "ref": cid_of(b"x", "raw"), "mimeType": "audio/mpeg", "size": 1},
        {"$type": "blob", "ref": Link(cid_of(b"x", "raw")), "mimeType": None, "size": 1},
    ],
    ids=repr,
)
def test_a_malformed_blob_is_no_value(blob: dict[str, Any]) -> None:
    with pytest.raises(InvalidData):
        encode(blob)
    with pytest.raises(InvalidData):
        from_json({"blob": to_json(blob)})
