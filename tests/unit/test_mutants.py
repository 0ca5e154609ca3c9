"""Every mutant of tests/mutants still fits the code, so `make mutants` can say what the tests are worth."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from bin.settings import ROOT
from tests.mutants.mutant import DoesNotApply, Mutant, load

MUTANTS = load()
HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 30
    assert [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1] == []
    assert [mutant.name for mutant in MUTANTS if not mutant.seen or not mutant.tests] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_exactly_once_and_its_result_compiles(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    mutated = mutant.apply(text)
    if mutant.file.endswith(".py"):
        compile(mutated, mutant.file, "exec", dont_inherit=True)
    else:
        assert HEAD.findall(mutated) == HEAD.findall(text)
        assert mutated.count("(") == mutated.count(")")


def test_the_tests_that_must_fail_are_there() -> None:
    functions = {
        path: set(re.findall(r"^(?:async )?def (test_\w+)\(", (ROOT / path).read_text(), re.MULTILINE))
        for path in {test.partition("::")[0] for mutant in MUTANTS for test in mutant.tests}
    }
    named = [test.partition("[")[0].partition("::") for mutant in MUTANTS for test in mutant.tests]
    assert [f"{path}::{name}" for path, _, name in named if name not in functions[path]] == []


def test_a_text_that_is_there_twice_or_not_at_all_is_an_error() -> None:
    mutant = Mutant("any", "any.py", "a", "b", "", ())
    assert mutant.apply("xax") == "xbx"
    for text in ("", "aa"):
        with pytest.raises(DoesNotApply):
            mutant.apply(text)


def test_the_page_in_the_docs_has_them_all() -> None:
    page = (ROOT / "docs" / "mutants.md").read_text()
    listed = re.findall(r"^\| ([^|]+?)<br>", page, re.MULTILINE)
    assert listed == [mutant.name for mutant in MUTANTS], "run `make mutants`"
