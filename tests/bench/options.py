"""How large a run is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Options:
    """`scratch` is an empty folder that goes away after the run."""

    quick: bool
    profile: bool
    scratch: Path

    def size(self, full: _T, quick: _T) -> _T:
        """One of two sizes."""
        return quick if self.quick else full
