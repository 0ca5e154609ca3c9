"""One statement of a person to the archive, answered. It reads the segments, and nothing else."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import duckdb
import orjson

from storage.queries import load
from storage.segment import open_events

_SQL = load("segments")
_CHUNK = 1000
Shape = Literal["table", "json", "csv"]


class Refused(Exception):
    """The statement is wrong, or would do something else than read; the text says what."""


def answer(
    db: duckdb.DuckDBPyConnection, files: Sequence[Path], statement: str, *, shape: Shape, rows: int
) -> Iterator[str]:
    """The answer in pieces of text. The table `event` holds all segments. Raises Refused.

    From here on this DuckDB sees no other file, and its settings are fixed. Bytes are shown as hex.
    """
    open_events(db, files)
    try:
        kinds = [one.type for one in duckdb.extract_statements(statement)]
        if kinds != [duckdb.StatementType.SELECT]:
            raise Refused("one statement that reads, as a select, is what can be asked")
        db.execute(_SQL["allow"], {"files": [str(file) for file in files]})
        db.execute(_SQL["lock"])
        relation = db.sql(statement)
        if shape == "table":
            yield _table(relation, rows)
            return
        names = relation.columns
        types = [str(kind) for kind in relation.types]
        shown = relation.project(", ".join(map(_shown, names, types)))
        if shape == "csv":
            yield _csv([names])
        rows_ = iter(shown.iter_rows())
        while found := list(islice(rows_, _CHUNK)):
            yield _csv(found) if shape == "csv" else _json(names, found)
    except duckdb.Error as error:
        raise Refused(str(error).strip().splitlines()[0]) from error


def _shown(name: str, kind: str) -> str:
    column = '"' + name.replace('"', '""') + '"'
    if kind == "BLOB":
        return f"lower(hex({column})) as {column}"
    # Times with a zone would need one more package to become Python's.
    return f"{column}::varchar as {column}" if kind == "TIMESTAMP WITH TIME ZONE" else column


def _table(relation: duckdb.DuckDBPyRelation, rows: int) -> str:
    return relation.__str__() if rows <= 0 else relation.limit(rows).__str__()


def _csv(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _json(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "".join(
        orjson.dumps(dict(zip(names, row, strict=True)), default=str).decode() + "\n" for row in rows
    )
