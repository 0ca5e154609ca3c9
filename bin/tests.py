"""`plyr test`: prepares what the tests need, says what is missing, and runs pytest.

Arguments are pytest's own: `plyr test tests/unit -k handle`. Many tests of the whole wait for other
processes, so several workers share them; who names a file, or wants to look on, gets one process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bin.settings import ROOT, Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MOST_WORKERS = 8  # each may have a Postgres, a network of PDSs and a plyr of its own
# Which tests may run once more, tests/sharing.py says. If many fail, the machine is not to blame.
AGAIN = ("--max-suite-reruns", "5", "--rerun-show-tracebacks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [-h] [PYTEST_ARGUMENT ...]"
    parser.description = (
        "Run the tests: all of them, or what pytest's own arguments say, as in "
        "`plyr test tests/unit -k handle`. The test network (a PLC directory and two PDSs from npm) "
        "is installed once, which takes two to three minutes."
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    del settings
    arguments: list[str] = args.passed_on
    if _needs_network(arguments):
        for line in missing():
            print(f"plyr: {line}", file=sys.stderr)
        _install_devnet()
    sys.stderr.flush()
    # A process of its own, in the project's folder: tests must not find this one's modules.
    workers = shared_out(arguments, os.cpu_count() or 1)
    command = [sys.executable, "-m", "pytest", *workers, *arguments]
    # Hundreds of plyr's own processes start: each would compile all modules anew.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


def shared_out(arguments: Sequence[str], cores: int) -> list[str]:
    """What makes workers share the tests; nothing where a file is named, or somebody looks on.

    There are two more than cores, as many tests wait. Each gets a test at a time, as they differ in length,
    or all of a module that use what it has started.
    """
    looks_on = {"-s", "--capture=no", "--pdb", "--trace"}
    if any(argument in looks_on or ".py" in argument for argument in arguments):
        return []
    in_order = ("--dist", "loadscope", "--no-loadscope-reorder")
    return ["-n", str(min(cores + 2, MOST_WORKERS)), *in_order, *AGAIN]


def missing() -> list[str]:
    """What this machine lacks for the whole suite, one line each with how to get it."""
    lines: list[str] = []
    if not shutil.which("node") or not shutil.which("npm"):
        lines.append("no node or npm: tests on a real network are left out (apt install nodejs npm)")
    if not any(map(shutil.which, BROWSERS)):
        lines.append("no Chromium: tests of the web page are left out (apt install chromium)")
    if not shutil.which("nginx"):
        lines.append("no nginx: a test of serving behind one is left out (apt install nginx-light)")
    if not (Path(os.environ.get("PLYR_SHARED") or ROOT.parent / "shared") / "data").is_dir():
        lines.append("no ../shared/data: tests on published vectors are left out (set PLYR_SHARED)")
    return lines


def _needs_network(arguments: list[str]) -> bool:
    """Whether tests outside tests/unit may be asked for."""
    paths = [argument for argument in arguments if (ROOT / argument.partition("::")[0]).exists()]
    return not paths or any(not Path(path).is_relative_to("tests/unit") for path in paths)


def _install_devnet() -> None:
    from tests.devnet.install import InstallFailed, ensure

    try:
        ensure()
    except InstallFailed as error:
        print(f"plyr: {error}", file=sys.stderr)
