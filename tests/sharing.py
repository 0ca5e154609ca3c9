"""How the workers of one run share its tests, and how figures reach its end.

pytest-xdist gives each worker a test after the other, in the order that all of them found. A worker has a
Postgres, folders and ports of its own; what it installs, it installs under a lock. Where tests of a module
have an event loop in common, they have a network or a service in it: one worker gets that whole module, or
every other would have to start one, too.

A test of processes that fails may have met a machine that was too busy: it is run once more, and both are
told. Never so a test of what must hold whatever happens: its failure is a finding.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

MEASURED = "measured"
AGAIN = ("tests/integration", "tests/acceptance")
NEVER = "tests/integration/indexer"  # any order, any crash, the same state

__all__ = [
    "measured",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
]


class InOrder(LoadScopeScheduling):
    """A test at a time; all of a module that stays together."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _stays_together(self.config.rootpath / module) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InOrder:
    return InOrder(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow ones come first, and whole modules, so that in the end nobody waits for one; last, those that want
    to be alone.

    Says also which may run once more: only in such a run, as whoever looks at one test wants to see it fail.
    """
    if _folder(config):
        if config.getoption("max_suite_reruns", None):
            for item in filter(_may_run_again, items):
                item.add_marker(pytest.mark.flaky(reruns=1))
        items.sort(
            key=lambda item: (_is(item, "alone"), not (_is(item, "slow") or _stays_together(item.path)))
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is marked `alone` begins when no other runs, and none begins beside it.

    Whoever waits does so before its own time begins to run. A worker that dies leaves no lock behind.
    """
    folder = _folder(item.config)
    if folder is None:
        return (yield)
    with (folder / "alone.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if _is(item, "alone") else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line of figures, which is shown at the end of the run: what a passing test prints is not."""
    return lambda line: record_property(MEASURED, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    lines = [line for report in reports for name, line in report.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section("measured")
    for line in lines:
        terminalreporter.write_line(str(line))


def _is(item: pytest.Item, mark: str) -> bool:
    return item.get_closest_marker(mark) is not None


@cache
def _stays_together(module: Path) -> bool:
    """Who gives out the tests knows their names alone."""
    return 'loop_scope="module"' in module.read_text()


def _may_run_again(item: pytest.Item) -> bool:
    path = item.path.relative_to(item.config.rootpath)
    within = any(map(path.is_relative_to, AGAIN)) and not path.is_relative_to(NEVER)
    return within and not _is(item, "once")


def _folder(config: pytest.Config) -> Path | None:
    """One that all workers of this run have in common; None in a run without workers."""
    return Path(config.option.basetemp).parent if hasattr(config, "workerinput") else None
