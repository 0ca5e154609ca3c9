"""A copy of the tree to break things in, and what pytest says there. The original is never changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bin.settings import ROOT
from tests.mutants.mutant import Mutant

PARTS = ("appview", "bin", "firehose", "indexer", "lexicons", "storage", "tests", "pyproject.toml")
TIMEOUT_S = 60  # one test: a mutant may well wait for ever
# A mistake that does not even run is noticed by anything: it says nothing about the tests.
_DOES_NOT_RUN = re.compile(
    r"\b(SyntaxError|UndefinedColumn|UndefinedTable|AmbiguousColumn|UndefinedFunction|DatatypeMismatch|"
    r"NameError|UnboundLocalError|ImportError|ModuleNotFoundError)\b"
)


class Unusable(Exception):
    """What pytest did says nothing: no test ran, or what ran could not work at all."""


@dataclass(frozen=True, slots=True)
class Result:
    """`failed` and `passed` are tests without their parameters; one that did both failed."""

    failed: frozenset[str]
    passed: frozenset[str]
    output: str


class Tree:
    """A copy in `folder`, whose tests use the Postgres at `dsn`."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self._report = folder.with_suffix(".xml")
        self._env = os.environ | {
            "PLYR_TEST_DATABASE_URL": dsn,
            "PLYR_SHARED": os.environ.get("PLYR_SHARED") or str(ROOT.parent / "shared"),
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # of a mutant nothing stays, not even what it was compiled to
        }

    @classmethod
    def copied(cls, folder: Path, dsn: str) -> Tree:
        if folder.is_relative_to(ROOT):
            raise ValueError(f"{folder} is inside the working tree")
        folder.mkdir()
        for name in PARTS:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            else:
                shutil.copy2(source, folder / name)
        return cls(folder, dsn)

    def kill(self, mutant: Mutant) -> Result:
        """What the mutant's tests make of it; the copy stays as it was. Raises DoesNotApply, Unusable."""
        path = self.folder / mutant.file
        kept = path.with_name(f"{path.name}.kept")
        mutated = mutant.apply(path.read_text())
        shutil.copy2(path, kept)
        try:
            path.write_text(mutated)
            return self.run(mutant.tests)
        finally:
            kept.replace(path)

    def run(self, tests: Sequence[str], timeout_s: float = 300) -> Result:
        """Raises Unusable."""
        self._report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}"]
        try:
            done = subprocess.run(
                [*command, f"--junitxml={self._report}", *tests],
                cwd=self.folder,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unusable(f"not done after {timeout_s:.0f} s") from None
        if done.returncode not in (0, 1) or not self._report.exists():
            raise Unusable(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}")
        failed, passed = _read(self._report)
        return Result(failed, passed - failed, done.stdout)


def _read(report: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Tests that failed, and tests that passed with some parameters. Raises Unusable."""
    failed: set[str] = set()
    passed: set[str] = set()
    for case in ElementTree.parse(report).iter("testcase"):
        path = case.get("classname", "").replace(".", "/")
        name = f"{path}.py::{case.get('name', '').partition('[')[0]}"
        failure, error = case.find("failure"), case.find("error")
        if failure is not None:
            text = f"{failure.get('message')}\n{failure.text}"
            if found := _DOES_NOT_RUN.search(text):
                raise Unusable(f"{name} ends with {found[0]}:\n{text[-2000:]}")
            failed.add(name)
        elif error is not None:
            raise Unusable(
                f"{name} could not begin or end: {error.get('message')}\n{(error.text or '')[-2000:]}"
            )
        elif case.find("skipped") is None:
            passed.add(name)
    return frozenset(failed), frozenset(passed)
