"""The rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bin.settings import ROOT

FOLDERS = ("bin", "appview", "indexer", "firehose", "storage", "lexicons")

# A statement, not a sentence that begins with the word.
SQL = re.compile(
    r"\s*(select\s.+\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|with\s+\w+\s+as\s*\(|"
    r"create\s+(table|index|database)\s|alter\s+table\s|copy\s+\w+\s*\()",
    re.IGNORECASE | re.DOTALL,
)


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string constant of a module, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_in_its_first_line_what_it_is(folder: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text()))


def test_there_is_no_sql_outside_storage() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules(*(folder for folder in FOLDERS if folder != "storage"))
        for line, text in texts(path)
        if SQL.match(text)
    ]
    assert found == []


def test_the_pattern_knows_sql_from_a_sentence() -> None:
    assert SQL.match("\n  select 1 from x")
    assert SQL.match("Insert into x values (1)")
    assert not SQL.match("Select a track, and play it.")
    assert not SQL.match("update the profile")


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "manager", "common", "misc"}
    assert [str(path.relative_to(ROOT)) for path in modules(*FOLDERS, "tests") if path.stem in drawers] == []


def test_only_the_settings_read_the_environment() -> None:
    allowed = {
        "bin/settings.py",
        "bin/bootstrap.py",  # nothing is installed when it runs
        "bin/supervisor.py",  # hands it on to the children
        "bin/demo.py",  # likewise
        "bin/tests.py",  # the variables of tests
        "storage/binaries.py",  # PATH, for a server that gets nothing else
    }
    found = {
        str(path.relative_to(ROOT))
        for path in modules(*FOLDERS)
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text())
    }
    assert found - allowed == set()


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in modules(*FOLDERS) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_every_link_in_the_docs_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_a_connection_of_ones_own_commits_by_itself() -> None:
    """Psycopg leaves one open whose user is cancelled while it commits at the end of its block."""
    waiting = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules(*FOLDERS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("AsyncConnection.connect")
        and "autocommit" not in {each.arg for each in node.keywords}
    ]
    assert waiting == []
