"""Schema documents: what is one, and where the first mistake is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lexicons.schema import InvalidLexicon, check_document


def document(definition: object, name: str = "main") -> dict[str, Any]:
    return {"lexicon": 1, "id": "com.example.thing", "defs": {name: definition}}


def with_field(field: object) -> dict[str, Any]:
    return document({"type": "object", "properties": {"field": field}})


def cases(shared: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((shared / "data/interop/lexicon" / f"{name}.json").read_text())


def test_published_valid_schemas_are_valid(shared: Path) -> None:
    valid = cases(shared, "lexicon-valid")
    assert len(valid) == 3
    for case in valid:
        check_document(case["lexicon"])


def test_published_catalog_is_valid(shared: Path) -> None:
    files = sorted((shared / "data/interop/lexicon/catalog").iterdir())
    assert len(files) == 5
    for file in files:
        check_document(json.loads(file.read_text()))


def test_published_invalid_schemas_are_refused(shared: Path) -> None:
    invalid = cases(shared, "lexicon-invalid")
    assert len(invalid) == 7
    for case in invalid:
        with pytest.raises(InvalidLexicon):
            check_document(case["lexicon"])


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ({"type": "strnig"}, "field"),
        ({"type": ["string"]}, "field/type"),
        ("string", "field"),
        ({"type": "string", "format": "date"}, "field/format"),
        ({"type": "string", "maxLength": "10"}, "field/maxLength"),
        ({"type": "string", "maxLength": -1}, "field/maxLength"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "field/minLength"),
        ({"type": "string", "minGraphemes": 3, "maxGraphemes": 2}, "field/minGraphemes"),
        ({"type": "string", "enum": ["a", 1]}, "field/enum"),
        ({"type": "string", "knownValues": "any"}, "field/knownValues"),
        ({"type": "string", "default": "c", "enum": ["a", "b"]}, "field/default"),
        ({"type": "string", "default": "a", "const": "a"}, "field"),
        ({"type": "string", "default": 1}, "field/default"),
        ({"type": "integer", "minimum": 1.5}, "field/minimum"),
        ({"type": "integer", "minimum": True}, "field/minimum"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "field/minimum"),
        ({"type": "integer", "enum": [True]}, "field/enum"),
        ({"type": "integer", "const": "1"}, "field/const"),
        ({"type": "boolean", "default": 0}, "field/default"),
        ({"type": "boolean", "default": True, "const": True}, "field"),
        ({"type": "bytes", "maxLength": None}, "field/maxLength"),
        ({"type": "blob", "accept": "audio/*"}, "field/accept"),
        ({"type": "blob", "accept": ["audio"]}, "field/accept"),
        ({"type": "blob", "maxSize": -1}, "field/maxSize"),
        ({"type": "array"}, "field/items"),
        ({"type": "array", "items": {"type": "token"}}, "field/items"),
        ({"type": "array", "items": {"type": "integer"}, "maxLength": "1"}, "field/maxLength"),
        ({"type": "ref"}, "field/ref"),
        ({"type": "ref", "ref": ""}, "field/ref"),
        ({"type": "ref", "ref": "thing"}, "field/ref"),
        ({"type": "ref", "ref": "com.example.thing#"}, "field/ref"),
        ({"type": "union"}, "field/refs"),
        ({"type": "union", "refs": [1]}, "field/refs"),
        ({"type": "union", "refs": [], "closed": True}, "field/refs"),
        ({"type": "union", "refs": ["#a"], "closed": "yes"}, "field/closed"),
        ({"type": "object", "properties": []}, "field/properties"),
        ({"type": "object", "required": ["a"]}, "field/required"),
        ({"type": "object", "nullable": ["a"]}, "field/nullable"),
        ({"type": "params", "properties": {}}, "field"),
        ({"type": "record", "key": "any", "record": {"type": "object"}}, "field"),
    ],
    ids=repr,
)
def test_a_mistake_in_a_field_is_named_by_its_path(field: object, path: str) -> None:
    with pytest.raises(InvalidLexicon) as error:
        check_document(with_field(field))
    assert error.value.path == f"defs/main/properties/{path}"


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"type": "record", "record": {"type": "object"}}, "key"),
        ({"type": "record", "key": "literal:", "record": {"type": "object"}}, "key"),
        ({"type": "record", "key": "tid\n", "record": {"type": "object"}}, "key"),
        ({"type": "record", "key": "tid"}, "record"),
        ({"type": "record", "key": "tid", "record": {"type": "ref", "ref": "#a"}}, "record"),
        ({"type": "query", "input": {"encoding": "application/json"}}, "input"),
        ({"type": "query", "output": {"schema": {"type": "object"}}}, "output/encoding"),
        ({"type": "query", "output": {"encoding": "a/b", "schema": {"type": "string"}}}, "output/schema"),
        ({"type": "query", "parameters": {"type": "object"}}, "parameters"),
        (
            {"type": "query", "parameters": {"type": "params", "properties": {"a": {"type": "blob"}}}},
            "parameters/properties/a",
        ),
        (
            {
                "type": "query",
                "parameters": {
                    "type": "params",
                    "properties": {"a": {"type": "array", "items": {"type": "object"}}},
                },
            },
            "parameters/properties/a/items",
        ),
        ({"type": "query", "parameters": {"type": "params", "required": ["a"]}}, "parameters/required"),
        ({"type": "query", "errors": [{"name": "Two words"}]}, "errors"),
        ({"type": "procedure", "input": []}, "input"),
        ({"type": "subscription", "message": {"schema": {"type": "object"}}}, "message/schema"),
        ({"type": "permission-set"}, "permissions"),
        ({"type": "permission-set", "permissions": [{"resource": "repo"}]}, "permissions/0/type"),
        ({"type": "permission-set", "permissions": [{"type": "permission"}]}, "permissions/0/resource"),
        (
            {
                "type": "permission-set",
                "permissions": [{"type": "permission", "resource": "repo", "collection": ["fm.plyr.*"]}],
            },
            "permissions/0",
        ),
        ({"type": "permission-set", "permissions": [], "title:lang": {"JA": "題"}}, "title:lang"),
    ],
    ids=repr,
)
def test_a_mistake_in_a_main_definition_is_named_by_its_path(definition: object, path: str) -> None:
    with pytest.raises(InvalidLexicon) as error:
        check_document(document(definition))
    assert error.value.path == f"defs/main/{path}"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"lexicon": True, "id": "com.example.thing", "defs": {"main": {"type": "token"}}},
        {"lexicon": 2, "id": "com.example.thing", "defs": {"main": {"type": "token"}}},
        {"lexicon": 1, "id": "com.example.thing"},
        {"lexicon": 1, "id": "com.example.thing", "defs": {}},
        {"lexicon": 1, "id": "com.example.thing", "defs": {"": {"type": "token"}}},
        {"lexicon": 1, "id": "com.example.thing", "defs": {"main": None}},
    ],
    ids=repr,
)
def test_what_is_no_document_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidLexicon):
        check_document(wrong)


def test_fields_that_the_language_does_not_have_yet_pass() -> None:
    check_document(with_field({"type": "string", "someday": 1}) | {"someday": 2})
