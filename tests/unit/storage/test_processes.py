"""storage/processes.py: only who is certainly gone is called gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import processes
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="the system does not tell")


def started() -> tuple[subprocess.Popen[str], str]:
    """Another process, that waits for the end of its input; and its name."""
    command = (
        "import sys; from storage import processes; print(processes.own(), flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", command], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def own() -> str:
    name = processes.own()
    assert name is not None
    return name


def test_who_lives_is_not_gone() -> None:
    assert processes.own() == own()
    assert processes.gone([own()]) == []


def test_who_was_killed_is_gone_even_before_anybody_noticed() -> None:
    child, name = started()
    with child:
        assert processes.gone([name, own()]) == []
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # and it stays a zombie
        assert processes.gone([own(), name]) == [name]
    assert processes.gone([own(), name]) == [name]


def test_another_with_the_same_number_is_not_who_had_it_before() -> None:
    where, start = own().rsplit(":", 1)
    before = f"{where}:{int(start) - 1}"
    assert processes.gone([before]) == [before]


def test_of_who_is_elsewhere_nothing_is_known() -> None:
    boot, space, *process = own().split(":")
    child, name = started()
    with child:
        pass
    ended = name.split(":")[2:]
    names = [":".join(["another-boot", space, *ended]), ":".join([boot, "1", *ended])]
    assert processes.gone(names) == []
    assert processes.gone([":".join([boot, "1", *process])]) == []
