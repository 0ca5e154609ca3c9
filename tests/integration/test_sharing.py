"""What the workers of one run may rely on: a run of a few small tests by two of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest

from bin.settings import ROOT
from bin.tests import shared_out

SMALL = """
import os
import time
import pytest

def note(measured, kind):
    began = time.monotonic()
    time.sleep(0.2)
    measured(f"ran {kind} {os.environ['PYTEST_XDIST_WORKER']} {began} {time.monotonic()}")

@pytest.mark.alone
@pytest.mark.parametrize("n", range(2))
def test_alone(n, measured):
    note(measured, "alone")

@pytest.mark.parametrize("n", range(9))
def test_quick(n, measured):
    note(measured, "quick")

@pytest.mark.slow
@pytest.mark.parametrize("n", range(3))
def test_slow(n, measured):
    note(measured, "slow")
"""


@dataclass(frozen=True)
class Ran:
    kind: str
    worker: str
    began: float
    ended: float


def test_slow_ones_come_first_and_nothing_runs_beside_one_that_is_alone(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n    alone\n")
    (tmp_path / "test_small.py").write_text(SMALL)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "xdist.plugin", "-p", "tests.sharing"]
    command = [sys.executable, "-m", "pytest", *plugins, *shared_out([], cores=1)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"=+ 14 passed in .* =+", done.stdout.splitlines()[-1])
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("ran ")]
    ran = [Ran(kind, worker, float(began), float(ended)) for _, kind, worker, began, ended in lines]
    assert Counter(each.kind for each in ran) == {"slow": 3, "quick": 9, "alone": 2}
    for one, other in permutations(ran, 2):
        if one.kind == "alone":
            assert not (one.began < other.ended and other.began < one.ended), "it was not alone"
        if one.worker == other.worker and one.kind == "slow" and other.kind != "slow":
            assert one.began < other.began


@pytest.mark.parametrize(
    "arguments", [["tests/unit/bin/test_view.py"], ["tests/x.py::test_y"], ["-s"], ["tests/unit", "--pdb"]]
)
def test_who_names_a_file_or_looks_on_gets_one_process(arguments: list[str]) -> None:
    assert shared_out(arguments, cores=2) == []


def test_what_is_said_of_workers_stands() -> None:
    assert shared_out(["-n0", "tests/unit"], cores=2)[:2] == ["-n", "3"]
