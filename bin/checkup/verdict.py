"""What a look at something comes to, and how several looks are kept from waiting for each other.

Contract: every check has a finding, in the order of the checks, at most `limit_s` after the start. One that
raises or hangs is told as a failure of its own, and takes nothing from the others: each has a thread, with an
event loop, and a thread that hangs keeps nobody from ending.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

LIMIT_S = 15.0


class Verdict(StrEnum):
    OK = "ok"
    SKIPPED = "skip"  # it does not apply here, or cannot be known
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what is, `todo` what to do about it: there is one where the verdict is WARN or FAIL."""

    subject: str
    verdict: Verdict
    text: str
    todo: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """`look` opens what it needs itself."""

    subject: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Verdict.OK, text)


def skipped(subject: str, text: str) -> Finding:
    return Finding(subject, Verdict.SKIPPED, text)


def warn(subject: str, text: str, todo: str) -> Finding:
    return Finding(subject, Verdict.WARN, text, todo)


def fail(subject: str, text: str, todo: str) -> Finding:
    return Finding(subject, Verdict.FAIL, text, todo)


def examine(checks: Sequence[Check], limit_s: float = LIMIT_S) -> list[Finding]:
    """What all of them find."""
    looks = [_Look(check, limit_s) for check in checks]
    for look in looks:
        look.start()
    deadline = time.monotonic() + limit_s
    for look in looks:
        look.join(max(0.0, deadline - time.monotonic()))
    return [finding for look in looks for finding in look.found()]


class _Look(threading.Thread):
    def __init__(self, check: Check, limit_s: float) -> None:
        super().__init__(name=f"check {check.subject}", daemon=True)
        self._check = check
        self._limit_s = limit_s
        self._found: Sequence[Finding] | None = None

    def run(self) -> None:
        try:
            self._found = asyncio.run(self._bounded())
        except TimeoutError:
            return
        except Exception as error:  # noqa: BLE001 a check's boundary
            lines = str(error).strip().splitlines() or [""]
            text = f"could not be looked at: {type(error).__name__}: {lines[0]}"
            self._found = [fail(self._check.subject, text, "see what it says; the other checks went on")]

    async def _bounded(self) -> Sequence[Finding]:
        async with asyncio.timeout(self._limit_s):
            return await self._check.look()

    def found(self) -> Sequence[Finding]:
        if self._found is not None:
            return self._found
        text = f"gave no answer within {self._limit_s:g} s"
        return [fail(self._check.subject, text, "see what it waits for: a disk, a lock, the network")]
