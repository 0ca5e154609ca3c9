"""`plyr capture` against a relay on a port of this machine."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from bin import capture
from firehose.capture import read_capture
from firehose.frames import decode_frame, seq_of
from tests.conftest import ROOT
from tests.fakenet.relay import FakeRelay, Say, numbered


def arguments(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser("plyr capture")
    capture.add_arguments(parser)
    return parser.parse_args([str(each) for each in given])


def seqs(path: Path) -> list[int | None]:
    with path.open("rb") as file:
        return [seq_of(decode_frame(raw)) for raw in read_capture(file)]


async def start(*given: object) -> Process:
    """The command in a process of its own, as it wants its signals."""
    code = "import sys; from bin.cli import main; sys.exit(main(sys.argv[1:]))"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "capture", *map(str, given), cwd=ROOT, stdout=PIPE, stderr=PIPE
    )


async def finished(*given: object) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr."""
    process = await start(*given)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


async def test_frames_are_recorded_until_there_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "capture.zst"
    async with FakeRelay() as relay:
        relay.publish(*range(1, 51), size=1000)
        code, out, _ = await finished(relay.url, path, "--frames", 20, "--cursor", 5, "--seconds", 20)
    assert code == 0
    assert seqs(path) == list(range(5, 25))
    assert "20 frames, seq 5 to 24" in out


async def test_a_broken_connection_leaves_no_gap_and_no_repetition(tmp_path: Path) -> None:
    path = tmp_path / "capture.zst"
    async with FakeRelay() as relay:
        relay.script.append(Say((numbered(1), numbered(2), numbered(3))))
        relay.publish(*range(1, 11))
        code, _, _ = await finished(relay.url, path, "--frames", 10, "--seconds", 20)
        assert [dial.cursor for dial in relay.dials] == [None, 3]
    assert code == 0
    assert seqs(path) == list(range(1, 11))


async def test_the_time_that_was_given_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "capture.zst"
    async with FakeRelay() as relay:
        relay.publish(1, 2)
        code, _, _ = await finished(relay.url, path, "--seconds", 1, "--cursor", 0)
    assert code == 0
    assert seqs(path) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_a_stopped_capture_leaves_a_readable_file(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "capture.zst"
    async with FakeRelay() as relay:
        relay.publish(*range(1, 101))
        process = await start(relay.url, path, "--cursor", 0)
        async with asyncio.timeout(20):
            while not path.exists() or path.stat().st_size == 0:
                await asyncio.sleep(0.05)
        process.send_signal(number)
        out, err = await process.communicate()
    if number == signal.SIGINT:
        assert (process.returncode, err) == (0, b"")
        assert b"100 frames" in out
    assert seqs(path) == list(range(1, 101))


async def test_nothing_is_left_where_nothing_came(tmp_path: Path) -> None:
    path = tmp_path / "capture.zst"
    async with FakeRelay() as relay:
        code, _, err = await finished(relay.url, path, "--seconds", 0.5)
    assert code == 1
    assert "no frame came" in err
    assert not path.exists()


def test_what_cannot_start_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").touch()
    for url, name in (
        ("ws://relay.example.com", "a"),
        ("jetstream+wss://jet.example.com", "b"),
        ("wss://relay.example.com", "there"),
        ("wss://relay.example.com", "no/where"),
    ):
        assert capture.run(arguments(url, tmp_path / name)) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        arguments("wss://relay.example.com", "x", "--frames", 0)
