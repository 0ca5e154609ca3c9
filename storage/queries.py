"""Named SQL: `load("feed")` reads `storage/sql/feed.sql` into {name: statement}.

A file holds statements, each after a line `-- name: the_name` and one line of reason.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

_HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(file: str) -> dict[str, LiteralString]:
    """The statements of one file by name. Raises FileNotFoundError, or ValueError on a name given twice."""
    text = (Path(__file__).parent / "sql" / f"{file}.sql").read_text()
    parts = _HEAD.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file}.sql names a statement twice")
    # The files are part of the program: their text is as literal as a string in a module.
    return {name: cast(LiteralString, body.strip()) for name, body in zip(names, bodies, strict=True)}


def in_sight(statement: str) -> str:
    """The statement with the parts of `sight.sql` where it names them."""
    for name, part in load("sight").items():
        statement = statement.replace(f"{{{name}}}", part)
    return statement
