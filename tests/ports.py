"""Ports for programs that have to be told theirs; whoever can choose for itself is given 0."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below those that the kernel gives to connections: one of them could take it before it is listened on.
RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """That many different ones that nobody listens on."""
    free: set[int] = set()
    while len(free) < count:
        port = random.choice(RANGE)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            free.add(port)
    return list(free)


def free_port() -> int:
    return free_ports(1)[0]
