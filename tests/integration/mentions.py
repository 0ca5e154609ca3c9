"""Who mentions a text: every table and every file, whatever form its bytes have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql


def in_tables(dsn: str, texts: Iterable[str], *, leave_out: Iterable[str] = ()) -> list[str]:
    """`table: row` for each row that has one of the texts in any column, as text or as bytes."""
    needles = [*texts, *(text.encode().hex() for text in texts)]
    found: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        tables = conn.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (table,) in sorted(tables):
            if table in leave_out:
                continue
            rows = conn.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(table))).fetchall()
            found += [f"{table}: {row[:500]}" for (row,) in rows if any(n in row for n in needles)]
    return found


def in_files(folder: Path, texts: Iterable[str]) -> list[str]:
    """`file: row` for each row of a Parquet file, `file` for each other, that has one of the texts."""
    needles = [*texts, *(text.encode().hex().upper() for text in texts)]
    found: list[str] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            data = file.read_bytes()
        except FileNotFoundError:  # whoever wrote it is done with it, or has given it its name
            continue
        if file.suffix == ".parquet":
            with duckdb.connect(":memory:") as db:
                rows = _texts(db.read_parquet([str(file)])).fetchall()
            shown = ["|".join(map(_shown, row)) for row in rows]
            found += [f"{file.name}: {row[:500]}" for row in shown if any(n in row for n in needles)]
        elif any(text.encode() in data for text in texts):
            found.append(file.name)
    return found


def _texts(file: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Without the times, which say nothing and want a package of their own."""
    kinds = zip(file.columns, file.types, strict=True)
    return file.project(*(f'"{name}"' for name, kind in kinds if "TIMESTAMP" not in str(kind)))


def _shown(value: object) -> str:
    return value.hex().upper() if isinstance(value, bytes) else str(value)
