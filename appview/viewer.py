"""Whoever asks, once we know who that is."""

from __future__ import annotations

from dataclasses import dataclass, field

from appview.auth.proviso import Proviso
from lexicons.syntax import Did, Rev


@dataclass(frozen=True, slots=True)
class Viewer:
    """An account that asks. Up to `rev` all that it wrote was here when it asked; None: that is unknown.
    `session`: by whose key it asks; None: by a service's token. `proviso`: what has yet to be found out:
    whoever answers asks through it or settles it, and it knows `rev` then. None: it is certain who asks."""

    did: Did
    rev: Rev | None = None
    session: int | None = field(default=None, compare=False)
    proviso: Proviso[Rev | None] | None = field(default=None, compare=False)
