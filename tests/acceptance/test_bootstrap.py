"""`bin/plyr` on a machine that has never seen it, with a lock file that is short: an empty one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bin.settings import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone that holds the bootstrap and, instead of the command line, a line that says it was reached."""
    root = tmp_path / "a clone"
    (root / "requirements").mkdir(parents=True)
    (root / "bin").mkdir()
    for name in ("plyr", "bootstrap.py"):
        shutil.copy(ROOT / "bin" / name, root / "bin" / name)
    (root / "bin" / "cli.py").write_text("import sys; print('reached', *sys.argv[1:])\n")
    (root / "bin" / "token.py").write_text("raise SystemExit('not the one of the standard library')")
    for name in ("runtime", "dev"):
        (root / "requirements" / f"{name}.lock").write_text(f"# {name}\n")
    return root


def start(project: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.Popen(
        [project / "bin" / "plyr", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_as_from_a_terminal,
    )


def _as_from_a_terminal() -> None:
    """Whoever runs the tests in the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def without_warnings(err: str) -> list[str]:
    """What was said, but pip's remark that the lock file is empty."""
    return [line for line in err.splitlines() if line.startswith("plyr: ")]


def test_the_first_start_installs_and_says_so_and_the_second_is_silent(project: Path) -> None:
    code, out, err = finish(start(project, "up", "--port", "1"))
    assert (code, out) == (0, "reached up --port 1\n")
    said = without_warnings(err)
    assert len(said) == 2
    assert "installing" in said[0]
    assert "installed in" in said[1]
    assert finish(start(project, "up")) == (0, "reached up\n", "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]])
def test_help_needs_nothing_installed(project: Path, arguments: list[str]) -> None:
    assert finish(start(project, *arguments)) == (0, " ".join(["reached", *arguments]) + "\n", "")
    assert not (project / ".venv").exists()


def test_a_changed_lock_file_installs_again_and_tests_have_their_own(project: Path) -> None:
    finish(start(project, "up"))
    (project / "requirements" / "runtime.lock").write_text("# newer\n")
    assert "runtime.lock" in finish(start(project, "up"))[2]
    assert "dev.lock" in finish(start(project, "test"))[2]
    assert finish(start(project, "up")) == (0, "reached up\n", "")
    assert finish(start(project, "test")) == (0, "reached test\n", "")


def test_of_two_at_once_one_installs_and_both_run(project: Path) -> None:
    results = [finish(process) for process in (start(project, "up"), start(project, "web"))]
    assert [code for code, _, _ in results] == [0, 0]
    said = [line for _, _, err in results for line in without_warnings(err)]
    assert sum("installing" in line for line in said) == 1
    assert sum("waiting" in line for line in said) <= 1


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_taken_up_by_the_next_start(
    project: Path, number: signal.Signals
) -> None:
    process = start(project, "up")
    deadline = time.monotonic() + 60
    while not (project / ".venv" / "bin" / "python").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    code, out, _ = finish(process)
    assert code != 0
    assert out == ""
    code, out, err = finish(start(project, "up"))
    assert (code, out) == (0, "reached up\n")
    assert "installed in" in err


def test_a_python_too_old_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "readlink", "dirname", "cmp"):
        (programs / name).symlink_to(shutil.which(name) or name)
    old = programs / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    code, _, err = finish(start(project, "up", PATH=str(programs)))
    assert (code, err) == (1, "plyr: needs Python 3.11 or newer, this is Python 3.9.2\n")
    old.unlink()
    code, _, err = finish(start(project, "up", PATH=str(programs)))
    assert (code, err) == (1, "plyr: needs Python 3.11 or newer: apt install python3 python3-venv\n")


def test_a_python_without_venv_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    # As Debian ships it: python3 is there, ensurepip is in another package.
    block = """
import sys

class Block:
    def find_spec(self, name, *_):
        if name == "ensurepip":
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Block())
"""
    (tmp_path / "sitecustomize.py").write_text(block)
    code, _, err = finish(start(project, "up", PYTHONPATH=str(tmp_path)))
    assert code == 1
    assert err.startswith("plyr: ")
    assert err.endswith("install python3-venv: apt install python3-venv\n")
    assert len(err.splitlines()) == 1
