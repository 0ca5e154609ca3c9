"""What the workers of one run may rely on: a run of a few small tests by three of them."""

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

TOGETHER = """
import os
import time
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest.mark.parametrize("n", range(6))
def test_of_one_service(n, measured):
    time.sleep(0.1)
    measured(f"ran {__name__} {os.environ['PYTEST_XDIST_WORKER']}")
    assert n != 3
"""

FAILING = """
from pathlib import Path
import pytest

def fails_first(name):
    if not Path(name).exists():
        Path(name).touch()
        raise AssertionError(f"a bad day for {name}")

@pytest.fixture(scope="session")
def session(tmp_path_factory):
    yield tmp_path_factory.mktemp("session")

def test_of_chance(session):
    assert session.is_dir()
    fails_first(f"{__file__}.chance")

@pytest.mark.once
def test_of_a_promise():
    fails_first(f"{__file__}.promise")
"""


@dataclass(frozen=True)
class Ran:
    kind: str
    worker: str
    began: float
    ended: float


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow\n    alone\n    once\n    asyncio\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = [f"-p{name}" for name in ("xdist.plugin", "pytest_rerunfailures", "tests.sharing")]
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", *plugins, *shared_out([], cores=1)]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_slow_ones_come_first_and_nothing_runs_beside_one_that_is_alone(tmp_path: Path) -> None:
    (tmp_path / "test_small.py").write_text(SMALL)
    done = run(tmp_path)
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


def test_one_worker_runs_all_that_use_what_their_module_starts(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(TOGETHER)
    (tmp_path / "test_other.py").write_text(TOGETHER)
    lines = run(tmp_path).stdout.splitlines()
    ran = Counter(tuple(line.split()[1:]) for line in lines if line.startswith("ran "))
    assert sorted(ran.values()) == [6, 6]
    failed = sorted(line.split()[1] for line in lines if line.startswith("FAILED "))
    assert failed == [f"test_{name}.py::test_of_one_service[3]" for name in ("one", "other")]


def test_a_test_of_processes_may_fail_once_and_that_is_told(tmp_path: Path) -> None:
    for name in ("unit", "integration", "integration/indexer", "acceptance"):
        file = tmp_path / "tests" / name / "test_failing.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FAILING)
    done = run(tmp_path)
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"=+ 6 failed, 2 passed, 2 rerun in .* =+", lines[-1]), done.stdout
    again = sorted(line.removeprefix("RERUN ") for line in lines if line.startswith("RERUN "))
    assert again == [
        f"tests/{name}/test_failing.py::test_of_chance" for name in ("acceptance", "integration")
    ]
    assert re.search(r"AssertionError: a bad day for \S+/acceptance/test_failing.py.chance", done.stdout)


@pytest.mark.parametrize(
    "arguments", [["tests/unit/bin/test_view.py"], ["tests/x.py::test_y"], ["-s"], ["tests/unit", "--pdb"]]
)
def test_who_names_a_file_or_looks_on_gets_one_process(arguments: list[str]) -> None:
    assert shared_out(arguments, cores=2) == []


def test_what_is_said_of_workers_stands() -> None:
    assert shared_out(["-n0", "tests/unit"], cores=2)[:2] == ["-n", "4"]
