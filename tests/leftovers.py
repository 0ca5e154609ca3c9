"""A test leaves no connection, process, file or loop behind, or it is that test that fails.

Python tells of what was not closed when it collects the garbage: without this, in whatever test runs by then.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import warnings
from collections.abc import Callable, Generator, Mapping
from time import monotonic

import pytest
from aiohttp import web_app

# aiohttp remembers a thousand handlers, each with its application and all that hangs on it: what should be
# gone would stay, and be looked through after each test.
_middlewares = web_app._cached_build_middleware

PATIENCE_S = 5.0
PAUSE_S = 0.01
TURNS = 3  # of a loop, until what it does not watch any more is closed, under TLS too

__all__ = [
    "pytest_asyncio_loop_factories",
    "pytest_collection",
    "pytest_collection_finish",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
]


class PatientLoop(asyncio.SelectorEventLoop):
    """Before it closes it runs on until all that it watches is closed, for `PATIENCE_S` at most.

    What was told to close is not closed at once: it still sends its last bytes, or waits for the other end
    of TLS, or of a pipe. A loop that ends by then leaves it open.
    """

    def __init__(self) -> None:
        self._watching = selectors.DefaultSelector()
        super().__init__(self._watching)
        self._own = len(self._watching.get_map())

    def close(self) -> None:
        if not self.is_closed():
            deadline = monotonic() + PATIENCE_S
            while len(self._watching.get_map()) > self._own and monotonic() < deadline:
                self.run_until_complete(asyncio.sleep(PAUSE_S))
            for _ in range(TURNS):
                self.run_until_complete(asyncio.sleep(0))
        super().close()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"patient": PatientLoop}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is found and imported stays: to look for garbage in it would take a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end: looking through it each time would take long."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    yield
    if isinstance(item, pytest.Function):
        item.funcargs.clear()  # what its fixtures gave it is over
    _middlewares.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    if caught:
        left = "\n".join(sorted(str(warning.message) for warning in caught))
        pytest.fail(f"{item.nodeid} left behind:\n{left}", pytrace=False)
    if nextitem is None or nextitem.path != item.path:
        gc.freeze()  # what tests of this module have loaded and cached stays, too
