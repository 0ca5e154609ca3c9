"""Every fault that a set of runs must have seen: one that never happens proves nothing."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fakenet.channel import Wire
from tests.fakenet.server import Fault
from tests.fakenet.story import ACTS, WRITES_ON

EVERY = (
    *map(str, Wire),
    *map(str, Fault),
    *(f"act: {act}" for act in (*ACTS, WRITES_ON)),
    *(f"the directory: {fault}" for fault in (Fault.RETRY_AFTER, Fault.HTML_200, Fault.CUT, Fault.SLOW)),
    "a cursor ahead of the relay's seqs",
    "a host is away",
    "ingest killed",
    "sync run killed",
)


def never_fired(fired: Mapping[str, int]) -> list[str]:
    return [fault for fault in EVERY if not fired.get(fault)]
