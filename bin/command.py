"""What the command line knows about a command before it imports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Command:
    """`settings`: takes the flags of bin.settings. `database`: wants one, migrated, before it runs.

    `alone`: everything it needs is among its arguments, and its `run` takes these alone. `group`: its
    module has no `run` but commands of its own, in `COMMANDS`. `supervised`: `plyr up` may run it.
    """

    module: str
    summary: str
    settings: bool = False
    database: Literal["no", "open", "migrated"] = "no"
    alone: bool = False
    group: bool = False
    supervised: bool = False
