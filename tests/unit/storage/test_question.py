"""What people may ask the archive, and how it answers."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lexicons.syntax import Did, Rev
from storage import segment
from storage.outbox import Batch, Entry, Kind
from storage.question import Refused, Shape, answer
from storage.segment import BrokenSegment, Segment

WHEN = datetime(2026, 7, 4, 14, 0, 0, 123456, UTC)


@pytest.fixture
def sealed(tmp_path: Path) -> Segment:
    entries = [
        Entry(Kind.REPO, "wss://a.example", 1, Did("did:plc:a"), detail={"id": 1, "pds": None}),
        Entry(
            Kind.RECORD, "wss://a.example", 2, Did("did:plc:a"), Rev("3k"), block=b"\x00\xff", verdict="valid"
        ),
        Entry(
            Kind.RECORD,
            "wss://a.example",
            3,
            Did("did:plc:b"),
            verdict="invalid",
            reason='a "quote"\n\0 and NUL',
        ),
    ]
    return write(tmp_path, entries)


def write(folder: Path, entries: list[Entry], *, claimed: int | None = None) -> Segment:
    lines = folder / "lines"
    lines.write_bytes(segment.lines(Batch(11, 10 + len(entries), WHEN, entries)))
    last = 10 + (claimed or len(entries))
    return segment.write(folder, lines, first_seq=11, last_seq=last, month="2026-07")


def ask(folder: Path, sealed: Segment, statement: str, shape: Shape = "json", rows: int = 100) -> str:
    with segment.connect(threads=1) as db:
        return "".join(answer(db, [folder / sealed.path], statement, shape=shape, rows=rows))


def test_an_entry_comes_back_as_it_was_told(tmp_path: Path, sealed: Segment) -> None:
    first, second, third = map(
        json.loads, ask(tmp_path, sealed, "select * from event order by seq").splitlines()
    )
    assert (first["seq"], first["kind"], first["did"]) == (11, "repo", "did:plc:a")
    assert json.loads(first["detail"]) == {"id": 1, "pds": None}
    assert first["received_at"] == "2026-07-04 14:00:00.123456+00"
    assert second["block"] == "00ff"
    assert third["reason"] == 'a "quote"\n\0 and NUL'


def test_an_answer_keeps_its_order_in_each_shape(tmp_path: Path, sealed: Segment) -> None:
    query = "select seq, block, received_at from event order by seq desc"
    assert [json.loads(line)["seq"] for line in ask(tmp_path, sealed, query).splitlines()] == [13, 12, 11]
    rows = list(csv.reader(io.StringIO(ask(tmp_path, sealed, query, "csv"))))
    assert [row[0] for row in rows] == ["seq", "13", "12", "11"]
    table = ask(tmp_path, sealed, query, "table")
    assert table.index(" 13 ") < table.index(" 12 ") < table.index(" 11 ")


@pytest.mark.parametrize(
    "statement",
    [
        "copy event to '/tmp/plyr-leak.parquet'",
        "explain analyze copy event to '/tmp/plyr-leak.parquet'",
        "select 1; select 2",
        "create table x as select 1",
        "insert into event select * from event",
        "attach '/tmp/plyr-leak.db'",
        "set enable_external_access = true",
        "pragma database_list",
        "select * from read_text('/etc/hostname')",
        "select * from glob('/etc/*')",
        "select * from nothing",
        "selec",
        "",
    ],
)
def test_what_does_more_than_read_the_archive_is_refused(
    tmp_path: Path, sealed: Segment, statement: str
) -> None:
    with pytest.raises(Refused):
        ask(tmp_path, sealed, statement)
    assert not Path("/tmp/plyr-leak.parquet").exists()


def test_an_empty_archive_can_be_asked_too() -> None:
    with segment.connect(threads=1) as db:
        (line,) = answer(db, [], "select count(*) as n from event", shape="json", rows=1)
    assert json.loads(line) == {"n": 0}


def test_a_segment_that_lacks_an_entry_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(BrokenSegment, match="holds 1 rows from 11 to 11, not 2 to 12"):
        write(tmp_path, [Entry(Kind.DOUBT, "wss://a.example")], claimed=2)
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_sealed_file_is_known_by_its_bytes(tmp_path: Path, sealed: Segment) -> None:
    segment.verify(tmp_path, sealed)
    file = tmp_path / sealed.path
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(BrokenSegment, match="sha-256"):
        segment.verify(tmp_path, sealed)
