"""What a change of a schema breaks: a table, and for records what the rule itself says of values."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicons.catalog import Catalog, documents
from lexicons.evolution import Rule, broken
from lexicons.schema import check_document
from lexicons.syntax import Nsid
from lexicons.validate import Invalid, validate_record

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NSID = "com.example.thing"


def document(main: Schema, **others: Schema) -> Schema:
    made = {"lexicon": 1, "id": NSID, "defs": {"main": main, **others}}
    check_document(made)
    return made


def record(field: Schema | None = None, **changed: Any) -> Schema:
    fields = {"title": TEXT} | ({"field": field} if field is not None else {})
    return document(
        {"type": "record", "key": "tid", "record": {"type": "object", "properties": fields} | changed}
    )


def query(parameter: Schema, **changed: Any) -> Schema:
    params = {"type": "params", "properties": {"limit": parameter}} | changed
    return document({"type": "query", "parameters": params})


def output(field: Schema, **changed: Any) -> Schema:
    schema = {"type": "object", "properties": {"field": field}} | changed
    return document({"type": "query", "output": {"encoding": "application/json", "schema": schema}})


def taking(field: Schema, **changed: Any) -> Schema:
    schema = {"type": "object", "properties": {"field": field}} | changed
    return document({"type": "procedure", "input": {"encoding": "application/json", "schema": schema}})


def told(refs: list[str], **changed: Any) -> Schema:
    message = {"schema": {"type": "union", "refs": refs} | changed}
    return document({"type": "subscription", "message": message})


def grant(*permissions: Schema) -> Schema:
    return document(
        {"type": "permission-set", "permissions": [{"type": "permission", **one} for one in permissions]}
    )


def text(**constraints: Any) -> Schema:
    return {"type": "string", **constraints}


def number(**constraints: Any) -> Schema:
    return {"type": "integer", **constraints}


def union(*refs: str, **changed: Any) -> Schema:
    return {"type": "union", "refs": list(refs), **changed}


# What is done, before, after, and the rules that it breaks.
CASES: list[tuple[str, Schema, Schema, list[Rule]]] = [
    ("nothing", record(text()), record(text()), []),
    ("a description", record(text()), record(text(description="What it is.")), []),
    ("a new optional field", record(), record(text()), []),
    ("a new required field", record(), record(text(), required=["field"]), [Rule.REQUIRED]),
    ("a field becomes required", record(text()), record(text(), required=["field"]), [Rule.REQUIRED]),
    ("a field becomes optional", record(text(), required=["field"]), record(text()), [Rule.REQUIRED]),
    ("a field goes", record(text()), record(), [Rule.GONE]),
    ("a required field goes", record(text(), required=["field"]), record(), [Rule.GONE]),
    ("another type", record(text()), record(number()), [Rule.TYPE]),
    ("one value becomes a list", record(text()), record({"type": "array", "items": text()}), [Rule.TYPE]),
    ("another ref", record({"type": "ref", "ref": "#a"}), record({"type": "ref", "ref": "#b"}), [Rule.TYPE]),
    ("may be null", record(text()), record(text(), nullable=["field"]), [Rule.NULLABLE]),
    ("may not be null", record(text(), nullable=["field"]), record(text()), [Rule.NULLABLE]),
    ("shorter", record(text(maxLength=10)), record(text(maxLength=9)), [Rule.BOUND]),
    ("longer", record(text(maxLength=10)), record(text(maxLength=11)), [Rule.BOUND]),
    ("a first length", record(text()), record(text(maxLength=10)), [Rule.BOUND]),
    ("no length any more", record(text(maxLength=10)), record(text()), [Rule.BOUND]),
    ("fewer graphemes", record(text(maxGraphemes=9)), record(text(maxGraphemes=8)), [Rule.BOUND]),
    ("at least more", record(text(minLength=1)), record(text(minLength=2)), [Rule.BOUND]),
    ("a higher minimum", record(number(minimum=0)), record(number(minimum=1)), [Rule.BOUND]),
    ("a lower minimum", record(number(minimum=0)), record(number(minimum=-1)), [Rule.BOUND]),
    ("an enum shrinks", record(text(enum=["a", "b"])), record(text(enum=["a"])), [Rule.ENUM]),
    ("an enum grows", record(text(enum=["a"])), record(text(enum=["a", "b"])), [Rule.ENUM]),
    ("an enum is turned round", record(text(enum=["a", "b"])), record(text(enum=["b", "a"])), []),
    ("an enum where none was", record(text()), record(text(enum=["a"])), [Rule.ENUM]),
    ("no enum any more", record(number(enum=[1])), record(number()), [Rule.ENUM]),
    ("known values come and go", record(text(knownValues=["a"])), record(text(knownValues=["b"])), []),
    ("a default", record(text()), record(text(default="a")), []),
    ("another default", record(number(default=1)), record(number(default=2)), []),
    ("a constant", record(text()), record(text(const="a")), [Rule.CONST]),
    ("another constant", record(number(const=1)), record(number(const=2)), [Rule.CONST]),
    ("no constant", record({"type": "boolean", "const": True}), record({"type": "boolean"}), [Rule.CONST]),
    ("a format", record(text()), record(text(format="uri")), [Rule.FORMAT]),
    ("another format", record(text(format="uri")), record(text(format="did")), [Rule.FORMAT]),
    ("no format any more", record(text(format="uri")), record(text()), [Rule.FORMAT]),
    (
        "a larger blob",
        record({"type": "blob", "maxSize": 1}),
        record({"type": "blob", "maxSize": 2}),
        [Rule.BOUND],
    ),
    (
        "fewer media types",
        record({"type": "blob", "accept": ["audio/*", "image/png"]}),
        record({"type": "blob", "accept": ["audio/*"]}),
        [Rule.ACCEPT],
    ),
    (
        "a narrower pattern, which is less",
        record({"type": "blob", "accept": ["audio/*"]}),
        record({"type": "blob", "accept": ["audio/flac"]}),
        [Rule.ACCEPT],
    ),
    (
        "a media type that was accepted anyway",
        record({"type": "blob", "accept": ["audio/*"]}),
        record({"type": "blob", "accept": ["audio/*", "audio/flac"]}),
        [],
    ),
    ("a list may be longer", record({"type": "array", "items": TEXT, "maxLength": 1}),
     record({"type": "array", "items": TEXT, "maxLength": 2}), [Rule.BOUND]),
    ("what is in a list", record({"type": "array", "items": text(maxLength=2)}),
     record({"type": "array", "items": text(maxLength=1)}), [Rule.BOUND]),
    ("an open union grows", record(union("#a")), record(union("#a", "#b")), []),
    ("an open union shrinks", record(union("#a", "#b")), record(union("#a")), []),
    ("a union closes", record(union("#a")), record(union("#a", closed=True)), [Rule.UNION]),
    ("a union opens", record(union("#a", closed=True)), record(union("#a")), [Rule.UNION]),
    ("a closed union grows", record(union("#a", closed=True)), record(union("#a", "#b", closed=True)),
     [Rule.UNION]),
    ("a closed union shrinks", record(union("#a", "#b", closed=True)), record(union("#a", closed=True)),
     [Rule.UNION]),
    ("another key", document({"type": "record", "key": "tid", "record": {"type": "object"}}),
     document({"type": "record", "key": "any", "record": {"type": "object"}}), [Rule.KEY]),
    ("a new definition", document(TEXT), document(TEXT, more=TEXT), []),
    ("a definition goes", document(TEXT, more=TEXT), document(TEXT), [Rule.GONE]),
    ("another kind of thing", record(), query(number()), [Rule.TYPE]),
    # Whoever calls us may be older than we are, never newer.
    ("a parameter may be more", query(number(maximum=50)), query(number(maximum=100)), []),
    ("a parameter may be less", query(number(maximum=100)), query(number(maximum=50)), [Rule.BOUND]),
    ("a parameter is required", query(number()), query(number(), required=["limit"]), [Rule.REQUIRED]),
    ("a parameter is not required any more", query(number(), required=["limit"]), query(number()), []),
    ("a parameter goes", query(number()), document({"type": "query"}), [Rule.GONE]),
    ("the first parameters", document({"type": "query"}), query(number()), []),
    ("the first parameters, one required", document({"type": "query"}),
     query(number(), required=["limit"]), [Rule.REQUIRED]),
    ("a body may hold less", taking(text(maxLength=2)), taking(text(maxLength=1)), [Rule.BOUND]),
    ("a body may hold more", taking(text(maxLength=1)), taking(text(maxLength=2)), []),
    ("a body is asked for", document({"type": "procedure"}), taking(TEXT), [Rule.REQUIRED]),
    ("a body goes", taking(TEXT), document({"type": "procedure"}), [Rule.GONE]),
    # Whoever reads what we answer may be older, too.
    ("an answer is less", output(text(maxLength=2)), output(text(maxLength=1)), []),
    ("an answer is more", output(text(maxLength=1)), output(text(maxLength=2)), [Rule.BOUND]),
    ("an answer always has it", output(TEXT), output(TEXT, required=["field"]), []),
    ("an answer may lack it", output(TEXT, required=["field"]), output(TEXT), [Rule.REQUIRED]),
    ("there is no answer", output(TEXT), document({"type": "query"}), [Rule.GONE]),
    ("there is an answer", document({"type": "query"}), output(TEXT), []),
    ("an answer of another kind", output(TEXT),
     document({"type": "query", "output": {"encoding": "text/csv"}}), [Rule.ENCODING, Rule.GONE]),
    ("a new message", told(["#a"]), told(["#a", "#b"]), []),
    ("a new message where they are all known", told(["#a"], closed=True), told(["#a", "#b"], closed=True),
     [Rule.UNION]),
    ("new names of errors", document({"type": "query", "errors": [{"name": "Old"}]}),
     document({"type": "query", "errors": [{"name": "New"}]}), []),
    # Who asked for a set has what it holds.
    ("a set allows more", grant({"resource": "repo", "action": ["create"], "collection": [NSID]}),
     grant({"resource": "repo", "collection": [NSID]}), []),
    ("a set allows less", grant({"resource": "repo", "collection": [NSID]}),
     grant({"resource": "repo", "action": ["create", "update"], "collection": [NSID]}), [Rule.PERMISSION]),
    ("a set says the same in two", grant({"resource": "rpc", "lxm": [NSID, "com.example.more"], "aud": "*"}),
     grant({"resource": "rpc", "lxm": ["com.example.more"], "aud": "*"},
           {"resource": "rpc", "lxm": [NSID], "aud": "*"}), []),
    ("a set is for another service", grant({"resource": "rpc", "lxm": [NSID], "inheritAud": True}),
     grant({"resource": "rpc", "lxm": [NSID], "aud": "did:web:x.example#y"}), [Rule.PERMISSION]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "rules"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_a_change_breaks(before: Schema, after: Schema, rules: list[Rule]) -> None:
    assert [breach.rule for breach in broken(before, after)] == rules


def test_a_breach_says_where_and_what() -> None:
    before, after = record(text(maxLength=10)), record(text(maxLength=9))
    assert [str(breach) for breach in broken(before, after)] == ["main.field: maxLength was 10, is 9"]


def test_every_rule_is_in_the_table() -> None:
    assert {rule for *_, rules in CASES for rule in rules} == set(Rule)


def test_our_schemas_break_nothing_by_staying_as_they_are() -> None:
    own = documents()
    assert len(own) > 20
    assert [breach for one in own.values() for breach in broken(one, deepcopy(one))] == []


CONSTRAINTS = st.one_of(
    st.fixed_dictionaries({}, optional={"minLength": st.integers(0, 2), "maxLength": st.integers(2, 4)}),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({"const": st.sampled_from("ab")}),
)


@given(CONSTRAINTS, CONSTRAINTS, st.booleans(), st.booleans())
def test_what_breaks_nothing_lets_the_same_records_through(
    old: Schema, new: Schema, was_required: bool, is_required: bool
) -> None:
    """The rule itself, on values: no breach means that old and new agree about every record."""
    versions = [
        record(text(**constraints), required=["field"] if required else [])
        for constraints, required in ((old, was_required), (new, is_required))
    ]
    if broken(*versions):
        return
    catalogs = [Catalog.of([version], "com.example") for version in versions]
    for value in (None, "", "a", "b", "c", "ab", "abc", "abcd", "abcde"):
        body = {"$type": NSID} | ({} if value is None else {"field": value})
        verdicts = {_holds(catalog, body) for catalog in catalogs}
        assert len(verdicts) == 1, value


def _holds(catalog: Catalog, body: dict[str, Any]) -> bool:
    try:
        validate_record(catalog, Nsid(NSID), body)
    except Invalid:
        return False
    return True
