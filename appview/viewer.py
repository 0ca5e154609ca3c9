"""Whoever asks, once we know who that is."""

from __future__ import annotations

from dataclasses import dataclass

from lexicons.syntax import Did, Rev


@dataclass(frozen=True, slots=True)
class Viewer:
    """An account that asks. Up to `rev` all that it wrote was here when it asked; None: that is unknown."""

    did: Did
    rev: Rev | None = None
