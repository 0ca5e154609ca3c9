"""What gets into the log of a process, and what does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

_FAILS = """
import structlog
from bin.logs import configure

configure("{}", "info")


def handle(key):
    raise ValueError("no good")


try:
    handle("a" * 4 + "-key-" + "b" * 4)
except ValueError:
    structlog.get_logger().exception("request failed", said="one\\ntwo")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_failure_is_told_without_what_was_in_its_hands(log_format: str) -> None:
    """Keys and tokens are in the variables of whatever fails."""
    done = subprocess.run(
        [sys.executable, "-c", _FAILS.format(log_format)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ValueError: no good" in done.stderr
    assert "in handle" in done.stderr
    assert "aaaa-key-bbbb" not in done.stderr
    assert "one\ntwo" not in done.stderr
