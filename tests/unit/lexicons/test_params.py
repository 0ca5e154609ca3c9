"""Query strings, read by their schema (rule X4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicons.catalog import Catalog
from lexicons.datamodel import MAX_INT, MIN_INT
from lexicons.schema import check_document
from lexicons.syntax import Nsid
from lexicons.validate import Invalid, validate_params

OURS = Catalog.load()
ASK = Nsid("com.example.ask")


def catalog_of(required: list[str] | None = None, **properties: dict[str, Any]) -> Catalog:
    parameters = {"type": "params", "required": required or [], "properties": properties}
    document = {"lexicon": 1, "id": ASK, "defs": {"main": {"type": "query", "parameters": parameters}}}
    check_document(document)
    return Catalog.of([document], "fm.plyr")


LIMIT = catalog_of(limit={"type": "integer", "minimum": 1, "maximum": 100, "default": 50})
ANY_INTEGER = catalog_of(n={"type": "integer"})
FLAG = catalog_of(flag={"type": "boolean"})
ACTORS = catalog_of(
    actors={"type": "array", "maxLength": 2, "items": {"type": "string", "format": "at-identifier"}}
)


def test_defaults_are_filled_in_and_unknown_names_left_out() -> None:
    assert validate_params(LIMIT, ASK, {}) == {"limit": 50}
    assert validate_params(LIMIT, ASK, {"limit": ["7"], "other": ["x", "y"]}) == {"limit": 7}


@pytest.mark.parametrize(
    "text", ["0", "101", "-1", "", "x", "7.0", "1e1", "07", "+7", " 7", "7\n", "７", "0x7", "--7"]
)
def test_an_integer_has_one_spelling_and_stays_in_its_bounds(text: str) -> None:
    with pytest.raises(Invalid) as error:
        validate_params(LIMIT, ASK, {"limit": [text]})
    assert error.value.path == "limit"


@given(st.integers(MIN_INT, MAX_INT))
def test_integers_of_64_bits_are_read(number: int) -> None:
    assert validate_params(ANY_INTEGER, ASK, {"n": [str(number)]}) == {"n": number}


@pytest.mark.parametrize("text", [str(MAX_INT + 1), str(MIN_INT - 1), "9" * 19, "9" * 10_000, "-0"])
def test_integers_beyond_64_bits_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        validate_params(ANY_INTEGER, ASK, {"n": [text]})


def test_a_boolean_is_true_or_false_and_nothing_else() -> None:
    assert validate_params(FLAG, ASK, {"flag": ["true"]}) == {"flag": True}
    assert validate_params(FLAG, ASK, {"flag": ["false"]}) == {"flag": False}
    for text in ("True", "1", "0", "yes", "foo", "", "true "):
        with pytest.raises(Invalid):
            validate_params(FLAG, ASK, {"flag": [text]})


def test_repeated_names_are_arrays() -> None:
    assert validate_params(ACTORS, ASK, {"actors": ["a.example.com"]}) == {"actors": ["a.example.com"]}
    two = ["a.example.com", "did:web:example.com"]
    assert validate_params(ACTORS, ASK, {"actors": two}) == {"actors": two}
    with pytest.raises(Invalid):
        validate_params(ACTORS, ASK, {"actors": [*two, "c.example.com"]})


def test_a_wrong_item_of_an_array_is_named_by_its_place() -> None:
    with pytest.raises(Invalid) as error:
        validate_params(ACTORS, ASK, {"actors": ["a.example.com", "?"]})
    assert error.value.path == "actors/1"


def test_a_name_that_is_no_array_cannot_be_repeated() -> None:
    with pytest.raises(Invalid):
        validate_params(LIMIT, ASK, {"limit": ["1", "2"]})


def test_required_names_must_be_there() -> None:
    catalog = catalog_of(["q"], q={"type": "string", "maxLength": 3})
    assert validate_params(catalog, ASK, {"q": ["abc"]}) == {"q": "abc"}
    for raw in ({}, {"q": []}, {"q": ["abcd"]}, {"q": ["\ud800"]}):
        with pytest.raises(Invalid) as error:
            validate_params(catalog, ASK, raw)
        assert error.value.path == "q"


def test_strings_are_checked_by_enum_and_format() -> None:
    catalog = catalog_of(
        sort={"type": "string", "enum": ["new", "top"]}, uri={"type": "string", "format": "at-uri"}
    )
    assert validate_params(catalog, ASK, {"sort": ["top"], "uri": ["at://a.example.com"]}) == {
        "sort": "top",
        "uri": "at://a.example.com",
    }
    for raw in ({"sort": ["old"]}, {"uri": ["at://a.example.com\n"]}):
        with pytest.raises(Invalid):
            validate_params(catalog, ASK, raw)


def test_a_method_without_parameters_ignores_all() -> None:
    document = {"lexicon": 1, "id": ASK, "defs": {"main": {"type": "query"}}}
    catalog = Catalog.of([document], "fm.plyr")
    assert validate_params(catalog, ASK, {"a": ["b"]}) == {}


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(Invalid):
        validate_params(LIMIT, Nsid("com.example.other"), {})


@given(st.dictionaries(st.sampled_from(["limit", "cursor"]), st.lists(st.text(), max_size=3)))
def test_no_query_string_makes_a_method_fail_untyped(raw: dict[str, list[str]]) -> None:
    catalog_nsid = Nsid("fm.plyr.feed.getLatest")
    try:
        params = validate_params(OURS, catalog_nsid, raw)
    except Invalid:
        return
    assert 1 <= params["limit"] <= 100
