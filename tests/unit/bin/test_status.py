from __future__ import annotations

import os

import pytest

from bin.status import StatusWriter, read_status


def test_what_is_written_is_read_again() -> None:
    reader, writer = os.pipe()
    StatusWriter(writer).write({"part": "web", "requests": 3})
    assert read_status(os.read(reader, 4096)) == {"part": "web", "requests": 3}
    os.close(reader)
    os.close(writer)


def test_a_supervisor_that_does_not_read_blocks_nobody_and_sees_whole_lines() -> None:
    reader, writer = os.pipe()
    status = StatusWriter(writer)
    for number in range(5000):
        status.write({"part": "ingest", "rejected": number, "sources": [{"url": "x" * 300}]})
    os.set_blocking(reader, False)
    seen = b""
    for _ in range(3):
        while chunk := _read(reader):
            seen += chunk
        status.write({"part": "ingest", "rejected": 5000})
    lines = seen.splitlines()
    assert len(lines) > 10
    assert all(read_status(line) for line in lines)
    os.close(reader)
    os.close(writer)


def test_a_supervisor_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert StatusWriter(writer).write({"part": "web"}) is None
    os.close(writer)


def test_without_a_pipe_nothing_is_written() -> None:
    assert StatusWriter(None).write({"part": "web"}) is None


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"{}", b'{"part": 3}', b'{"part": "web", "requests": "many"}']
)
def test_a_line_that_is_no_status_is_none(line: bytes) -> None:
    assert read_status(line) is None


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""
