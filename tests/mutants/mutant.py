"""A small mistake in our own code, and the tests that must notice it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "mutants.toml"


class DoesNotApply(ValueError):
    """The text that a mutant replaces is not in its file exactly once: the code has changed, so must it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`before` in `file` becomes `after`. `seen` is what a person would notice; each of `tests` must fail."""

    name: str
    file: str
    before: str
    after: str
    seen: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """The file's text with the mistake. Raises DoesNotApply."""
        found = text.count(self.before)
        if found != 1 or self.before == self.after:
            raise DoesNotApply(f"{self.name}: the text that it replaces is in {self.file} {found} times")
        return text.replace(self.before, self.after)


def load(path: Path = TABLE) -> list[Mutant]:
    """Every mutant of the table, in its order."""
    rows = tomllib.loads(path.read_text())["mutant"]
    return [Mutant(**row | {"tests": tuple(row["tests"])}) for row in rows]
