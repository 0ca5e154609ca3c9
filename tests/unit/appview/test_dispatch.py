"""The table of methods is the lexicons', and the reference is written from them."""

from __future__ import annotations

import pytest

from appview.xrpc.dispatch import UnmatchedMethods, handlers
from appview.xrpc.reference import PAGE, reference
from lexicons.catalog import Catalog
from lexicons.syntax import Nsid


def described(catalog: Catalog) -> dict[Nsid, object]:
    return {**catalog.queries(), **catalog.procedures()}


def test_every_method_has_a_handler_in_each_namespace():
    for namespace in ("fm.plyr", "fm.plyr.stg", "fm.plyr.dev"):
        found = handlers(namespace, described(Catalog.load(namespace)))
        assert f"{namespace}.feed.getLatest" in found


def test_t30_a_query_without_a_handler_fails_the_start():
    methods = {**described(Catalog.load()), Nsid("fm.plyr.feed.getNew"): None}
    with pytest.raises(UnmatchedMethods, match="getNew"):
        handlers("fm.plyr", methods)


def test_t30_a_handler_without_a_lexicon_fails_the_start():
    methods = described(Catalog.load())
    del methods[Nsid("fm.plyr.feed.getTop")]
    with pytest.raises(UnmatchedMethods, match="getTop"):
        handlers("fm.plyr", methods)


def test_the_reference_in_docs_is_that_of_the_lexicons():
    assert PAGE.read_text() == reference(Catalog.load()), "run python -m appview.xrpc.reference"


def test_every_parameter_field_and_error_of_ours_is_described():
    catalog = Catalog.load()
    methods = [*catalog.queries(), *catalog.procedures(), *catalog.subscriptions()]
    for nsid in [nsid for nsid in methods if nsid.startswith("fm.plyr.")]:
        definition = catalog.definition(nsid)
        fields = [*definition.get("parameters", {}).get("properties", {}).items()]
        fields += definition.get("output", {}).get("schema", {}).get("properties", {}).items()
        assert definition["description"].endswith("."), nsid
        assert all(field.get("description", "").endswith(".") for _, field in fields), nsid
        assert all(error["description"] for error in definition.get("errors", ())), nsid
