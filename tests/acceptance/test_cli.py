"""The command line as a person uses it: real processes, real files, what they print and how they end."""

from __future__ import annotations

import importlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bin import VERSION
from bin.cli import COMMANDS
from bin.settings import ROOT, Settings, flag
from tests.ports import free_port

PLYR = ROOT / "bin" / "plyr"
# Nobody listens there, as if there was no internet.
NO_NETWORK = {
    "PLYR_SOURCES": "ws://127.0.0.1:9",
    "PLYR_DEV_LOOPBACK": "true",
    "PLYR_PLC_URL": "http://127.0.0.1:9",
}


def clean(**variables: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")} | variables


def plyr(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PLYR, *arguments],
        env=clean(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answers(port: int, path: str = "/xrpc/_health") -> int | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found, grew = {pid}, True
    while grew:
        below = {child for child, parent in pairs if parent in found}
        grew = not below <= found
        found |= below
    return found - {pid}


def living(pids: set[int]) -> set[int]:
    alive: set[int] = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            alive.add(pid)
    return alive


class Up:
    """A `plyr up` with its output in a file."""

    def __init__(self, data: Path, **variables: str) -> None:
        self.port = free_port()
        self._data = data
        self._variables = NO_NETWORK | variables
        self.start()

    def start(self) -> None:
        self.output = self._data / f"output-{time.monotonic_ns()}"
        self.started = time.monotonic()
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [PLYR, "up", "--data-dir", self._data, "--port", str(self.port)],
                env=clean(**self._variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def until_it_answers(self, within_s: float = 60) -> float:
        """Seconds from the start to the first good answer."""
        while time.monotonic() - self.started < within_s:
            if answers(self.port) == 200:
                return time.monotonic() - self.started
            assert self.process.poll() is None, self.text
            time.sleep(0.02)
        raise AssertionError(f"no answer within {within_s} s:\n{self.text}")

    def until_it_says(self, pattern: str, within_s: float = 60) -> str:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = re.search(pattern, self.text)
            if found:
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"never said {pattern}:\n{self.text}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Seconds that the stop took."""
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20)
        return time.monotonic() - begin


@pytest.fixture
def up(data_dir: Path) -> Iterator[Up]:
    running = Up(data_dir)
    yield running
    if running.process.poll() is None:
        running.stop(signal.SIGKILL)


def test_plyr_alone_lists_its_commands() -> None:
    result = plyr()
    assert result.returncode == 0
    assert re.findall(r"^  (\w[\w-]*) ", result.stdout, re.MULTILINE) == list(COMMANDS)


def test_it_says_its_version() -> None:
    assert plyr("--version").stdout == f"plyr {VERSION}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = plyr(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: plyr {command}")


@pytest.mark.parametrize("group", ["sync", "archive", "lexicon", "blobs"])
def test_a_group_lists_its_commands_a_line_each(group: str) -> None:
    commands = importlib.import_module(COMMANDS[group].module).COMMANDS
    assert re.findall(r"^  (\w+) +\w", plyr(group).stdout, re.MULTILINE) == list(commands)


def test_a_question_makes_no_database(tmp_path: Path) -> None:
    result = plyr("sync", "status", "--data-dir", str(tmp_path / "typo"))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"plyr: no database in {tmp_path}/typo: --data-dir or --database-url names another,"
        " plyr up makes one\n"
    )
    assert not (tmp_path / "typo").exists()


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([PLYR, "sync"], stdout=writing, stderr=subprocess.PIPE, env=clean(), check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")


def test_help_of_a_question_names_the_settings_that_matter_to_it() -> None:
    text = plyr("sync", "explain", "--help").stdout
    assert [name for name in Settings.model_fields if flag(name) in text] == ["database_url", "data_dir"]


def test_help_lists_every_setting() -> None:
    text = plyr("up", "--help").stdout
    assert [name for name in Settings.model_fields if flag(name) not in text] == []


def test_it_works_from_any_folder_and_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "lexicons.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "deeper").mkdir()
    link = tmp_path / "deeper" / "plyr"
    link.symlink_to(Path(os.path.relpath(PLYR, link.parent)))
    second = tmp_path / "plyr"
    second.symlink_to("deeper/plyr")
    result = subprocess.run(
        ["./plyr", "--version"], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == (f"plyr {VERSION}\n", "")


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["ingets"], {}, "unknown command ingets, did you mean ingest?"),
        (["up", "--prot", "1"], {}, "--prot"),
        (["up", "--port", "http"], {}, "--port: "),
        (["up"], {"PLYR_PORT": "http"}, "PLYR_PORT: "),
        (["up"], {"PLYR_DATABSE_URL": "x"}, "did you mean PLYR_DATABASE_URL?"),
        (["ingest", "--sources", "https://relay.example"], {}, "--sources: "),
        (["web", "--public-url", "plyr.example"], {}, "--public-url: "),
        (["migrate", "--database-url", "mysql://x"], {}, "--database-url: "),
        (["rebuild"], {"PLYR_NAMESPACE": "fm.plry"}, "PLYR_NAMESPACE: "),
        (["verify", "x"], {"PLYR_NAMESPAC": "fm.plyr"}, "did you mean PLYR_NAMESPACE?"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: list[str], variables: dict[str, str], says: str
) -> None:
    result = plyr(*arguments, **variables)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("plyr: ")
    assert says in result.stderr


@pytest.mark.parametrize("command", ["up", "ingest", "web", "migrate", "rebuild"])
def test_a_database_out_of_reach_is_one_line_and_exit_1(command: str) -> None:
    result = plyr(command, "--database-url", "postgresql://plyr:hidden@127.0.0.1:9/plyr")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("plyr: cannot use the database: ")
    assert "hidden" not in result.stderr


def test_migrate_says_what_it_did(empty_database: str) -> None:
    first = plyr("migrate", "--database-url", empty_database)
    assert first.returncode == 0
    assert first.stdout.startswith("applied 0001_spine\n")
    second = plyr("migrate", PLYR_DATABASE_URL=empty_database)
    assert (second.returncode, second.stdout) == (
        0,
        "nothing to do, the database is at the newest migration\n",
    )


def test_a_taken_port_is_one_line(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        result = plyr("up", "--data-dir", str(data_dir), "--port", port)
    assert result.returncode == 1
    assert result.stderr == (
        f"plyr: cannot listen on 127.0.0.1:{port}, something else listens there; --port takes another\n"
    )
    assert list(data_dir.iterdir()) == []


@pytest.mark.alone
def test_up_serves_without_internet_says_so_and_stops_in_time(
    up: Up, measured: Callable[[str], None]
) -> None:
    first_s = up.until_it_answers()
    up.until_it_says(r"listening on http://127\.0\.0\.1:\d+")
    up.until_it_says(r"127\.0\.0\.1:9 [^|]*(refused|connect)")
    below = descendants(up.process.pid)
    assert len(below) >= 3
    stop_s = up.stop()
    assert up.process.returncode == 0
    assert stop_s < 5
    assert living(below) == set()

    up.start()
    second_s = up.until_it_answers()
    assert second_s < 15
    stop_again_s = up.stop(signal.SIGTERM)
    assert stop_again_s < 5
    measured(
        f"up: answers after {first_s:.1f} s, then {second_s:.1f} s;"
        f" stops in {stop_s:.1f} s, {stop_again_s:.1f} s"
    )


@pytest.mark.once
@pytest.mark.alone
def test_up_leaves_nothing_behind_when_it_is_killed(up: Up) -> None:
    up.until_it_answers()
    below = descendants(up.process.pid)
    up.stop(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while living(below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert living(below) == set()
    up.start()
    assert up.until_it_answers() < 15


@pytest.mark.once
def test_up_starts_a_killed_child_again_and_a_killed_postgres_too(up: Up) -> None:
    up.until_it_answers()
    (web,) = [
        pid for pid in descendants(up.process.pid) if "\0web\0" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    os.kill(web, signal.SIGKILL)
    up.until_it_says("web was killed by SIGKILL, starting it again in 1 s")
    time.sleep(0.2)
    up.started = time.monotonic()
    up.until_it_answers()
    assert web not in descendants(up.process.pid)

    server = int((up.output.parent / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(server, signal.SIGKILL)
    up.until_it_says("Postgres is back")
    up.started = time.monotonic()
    up.until_it_answers()
    assert int((up.output.parent / "postgres" / "postmaster.pid").read_text().split()[0]) != server
    assert up.process.poll() is None


def test_a_second_up_on_the_same_folder_is_refused(up: Up, data_dir: Path) -> None:
    up.until_it_answers()
    result = plyr("up", "--data-dir", str(data_dir), "--port", str(free_port()))
    assert result.returncode == 1
    assert result.stderr == f"plyr: another plyr is running on {data_dir}\n"
    assert answers(up.port) == 200


def test_on_a_terminal_up_draws_one_block_over_and_over(data_dir: Path) -> None:
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [PLYR, "up", "--data-dir", data_dir, "--port", str(free_port())],
        env=clean(**NO_NETWORK, COLUMNS="100"),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen, deadline = "", time.monotonic() + 60
    try:
        while "serving" not in seen and time.monotonic() < deadline:
            if select.select([control], [], [], 0.2)[0]:
                seen += os.read(control, 65536).decode(errors="replace")
    finally:
        process.send_signal(signal.SIGINT)
        while select.select([control], [], [], 5)[0]:
            try:
                seen += os.read(control, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
        process.wait(10)
        os.close(control)
    assert "\x1b[J" in seen
    assert "web" in seen.rpartition("\x1b[J")[0]
    assert "serving" in seen
    assert "stopped in" in seen
