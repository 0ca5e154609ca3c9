"""Whoever asks, once we know who that is."""

from __future__ import annotations

from dataclasses import dataclass, field

from appview.auth.unspent import Unspent
from lexicons.syntax import Did, Rev


@dataclass(frozen=True, slots=True)
class Viewer:
    """An account that asks. Up to `rev` all that it wrote was here when it asked; None: that is unknown.
    `session`: by whose key it asks; None: by a service's token. `unspent`: that token, which whoever answers
    asks through or uses up, and which knows `rev` then; None: there is nothing to use up."""

    did: Did
    rev: Rev | None = None
    session: int | None = field(default=None, compare=False)
    unspent: Unspent | None = field(default=None, compare=False)
