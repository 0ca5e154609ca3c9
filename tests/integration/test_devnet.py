"""The test network itself: its install, its plan of a load, its PDSs, and the proxy that breaks streams."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import libipld
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.devnet import install
from tests.devnet.drive import Drive
from tests.devnet.load import make_plan
from tests.devnet.network import Account, Devnet, XrpcFailed
from tests.fakenet.proxy import FaultyProxy

pytestmark = pytest.mark.timeout(600)  # the first may have to install the network

DIDS = [f"did:plc:{i:024d}" for i in range(24)]
FIREHOSE = "/xrpc/com.atproto.sync.subscribeRepos?cursor=0"

GOOD_NPM = """mkdir -p node_modules/better-sqlite3/build/Release; echo "$1" >> "$LOG"; sleep 0.2"""


# -- install


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Makes the environment of a machine that has just these programs, each a shell script."""

    def make(
        npm: str | None = GOOD_NPM, node: str | None = "echo v22.1.0", compiler: bool = True
    ) -> dict[str, str]:
        path = tmp_path / "bin"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        scripts = {"npm": npm, "node": node} | (
            {"g++": "true", "make": "true", "python3": "true"} if compiler else {}
        )
        for name, body in scripts.items():
            if body is not None:
                (path / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
                (path / name).chmod(0o755)
        return {
            "PATH": str(path),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "LOG": str(tmp_path / "npm.log"),
        }

    return make


Machine = Callable[..., dict[str, str]]


def npm_calls(environ: dict[str, str]) -> list[str]:
    log = Path(environ["LOG"])
    return log.read_text().split() if log.exists() else []


def test_an_install_is_done_once_and_found_again(machine: Machine) -> None:
    environ = machine()
    lines: list[str] = []
    first = install.ensure(environ, lines.append)
    assert install.ensure(environ, lines.append) == first
    assert npm_calls(environ) == ["ci", "rebuild"]
    assert any("once" in line for line in lines)
    assert lines[-1].startswith("installed in")
    assert (first / "node_modules").is_dir()
    assert first.parent == Path(environ["XDG_CACHE_HOME"]) / "plyr"


def test_two_at_once_install_one_time(machine: Machine) -> None:
    environ = machine()
    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(lambda _: install.ensure(environ, lambda _: None), range(4)))
    assert len(folders) == 1
    assert npm_calls(environ) == ["ci", "rebuild"]


def test_an_install_killed_midway_does_not_count(machine: Machine) -> None:
    environ = machine(npm="mkdir -p node_modules/half; echo started >> $LOG; sleep 60")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.devnet.install"],
        env=environ | {"PYTHONPATH": str(install.HERE.parent.parent)},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not npm_calls(environ) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert npm_calls(environ) == ["started"]

    folder = install.ensure(machine(), lambda _: None)
    assert npm_calls(environ) == ["started", "ci", "rebuild"]
    assert not (folder / "node_modules" / "half").exists()


def test_a_failed_install_says_why_and_leaves_nothing_that_counts(machine: Machine) -> None:
    environ = machine(npm="echo 'npm error network request to https://registry failed'; exit 1")
    for _ in range(2):
        with pytest.raises(install.InstallFailed, match=r"fetching packages failed: .*registry failed"):
            install.ensure(environ, lambda _: None)
    assert not [
        path for path in (Path(environ["XDG_CACHE_HOME"]) / "plyr").glob("devnet-*") if not path.suffix
    ]


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ({"node": None}, r"needs Node 20 or newer: `node` was not found"),
        ({"node": "echo v18.19.0"}, r"needs Node 20 or newer: \S+ is Node 18"),
        ({"node": "exit 127"}, r"needs Node 20 or newer: \S+ does not start"),
        ({"npm": None}, r"needs npm .*`npm` was not found"),
        ({"compiler": False}, r"did not find `g\+\+`, `make`, `python3`"),
    ],
)
def test_a_missing_tool_is_named_in_one_line(machine: Machine, without: dict[str, None], says: str) -> None:
    with pytest.raises(install.InstallFailed, match=says) as failure:
        install.ensure(machine(**without), lambda _: None)
    assert "\n" not in str(failure.value)


def test_another_lock_file_or_node_is_another_install() -> None:
    old, new = install.Tools("node", "npm", 20), install.Tools("node", "npm", 24)
    assert install.install_key(b"a", old) == install.install_key(b"a", install.Tools("node", "npm", 21))
    keys = {install.install_key(lock, tools) for lock in (b"a", b"b") for tools in (old, new)}
    assert len(keys) == 4


# -- the plan of a load


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    assert make_plan(DIDS, 500, 7) == make_plan(DIDS, 500, 7)
    assert make_plan(DIDS, 500, 7) != make_plan(DIDS, 500, 8)


def test_a_plan_holds_every_trap_and_ends_in_the_state_that_it_names() -> None:
    plan = make_plan(DIDS, 2000, 7)
    assert plan.operations >= 2000
    assert {
        "early like",
        "late track",
        "double like",
        "delete like",
        "delete track",
        "re-create",
        "born invalid",
        "update to invalid",
        "back to valid",
        "other app",
        "bsky profile",
        "outsider",
        "unknown field",
        "same again",
    } <= {name for name, count in plan.features.items() if count >= 5}
    state: dict[tuple[int, str, str], object] = {}
    for step in plan.steps:
        keys = [(step.actor, write.collection, write.rkey) for write in step.writes]
        assert len(set(keys)) == len(keys), "one commit names each record once"
        for key, write in zip(keys, step.writes, strict=True):
            assert (key in state) == (write.action != "create")
            if write.record is None:
                del state[key]
            else:
                state[key] = write.record
    assert state == {key: write.record for key, write in plan.final.items()}


# -- the network


@pytest.fixture
async def net() -> AsyncIterator[Devnet]:
    async with Devnet(pds=2) as network:
        yield network


async def frames_of(stream: ClientConnection, quiet_s: float = 1.0) -> list[bytes]:
    """Frames until the stream has been quiet for a while, or is cut."""
    frames: list[bytes] = []
    while True:
        try:
            message = await asyncio.wait_for(stream.recv(), quiet_s)
        except (TimeoutError, ConnectionClosed):
            return frames
        assert isinstance(message, bytes)
        frames.append(message)


def seq(frame: bytes) -> int:
    return libipld.decode_dag_cbor_multi(frame)[1]["seq"]


async def tracks(net: Devnet, artist: Account, count: int) -> None:
    for i in range(count):
        await net.put(
            artist, "fm.plyr.track", f"3jzfcijpj2z{'abcdefghijklmnopqrstuvwxyz234567'[i]}a", {"title": f"{i}"}
        )


@pytest.mark.devnet
async def test_a_pds_answers_goes_down_and_comes_back_with_its_data(net: Devnet) -> None:
    ada, bob = await net.accounts(["ada", "bob"])
    assert (ada.handle, bob.handle) == ("ada.p0.test", "bob.p1.test")
    await tracks(net, bob, 2)
    assert len(await net.list_records(bob, "fm.plyr.track")) == 2
    assert await net.collections(bob) == ["fm.plyr.track"]
    with pytest.raises(XrpcFailed) as refused:
        await net.call("com.atproto.repo.getRecord", pds=0, params={"repo": ada.did})
    assert (refused.value.status, refused.value.error) == (400, "InvalidRequest")

    before = await net.last_seq(1)
    await net.stop_pds(1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await net.list_records(bob, "fm.plyr.track")
    async with aiohttp.ClientSession() as session:
        resolver = f"{net.control_url}/xrpc/com.atproto.identity.resolveHandle"
        async with session.get(resolver, params={"handle": bob.handle}) as answer:
            assert await answer.json() == {"did": bob.did}
        async with session.get(resolver, params={"handle": "nobody.p1.test"}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "HandleNotFound")
    await net.start_pds(1)
    assert len(await net.list_records(bob, "fm.plyr.track")) == 2
    assert await net.last_seq(1) == before
    await tracks(net, bob, 3)  # the session outlives the outage


@pytest.mark.devnet
@pytest.mark.parametrize("alone", [True, False])
async def test_a_network_leaves_nothing_behind(alone: bool) -> None:
    async with Devnet(pds=1, alone=alone) as net:
        async with aiohttp.ClientSession() as session, session.get(net.control_url) as answer:
            described = await answer.json()
        assert Path(described["data"]).is_dir()
    assert not Path(described["data"]).exists()
    for url in (net.plc_url, net.control_url, net.pds[0].url):
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    if alone:
        with pytest.raises(ProcessLookupError):
            os.kill(described["pid"], 0)


@pytest.mark.devnet
async def test_a_process_of_networks_that_died_is_followed_by_another() -> None:
    async with aiohttp.ClientSession() as session:
        pids: list[int] = []
        for _ in range(2):
            async with Devnet(pds=1) as net, session.get(net.control_url) as answer:
                pids.append((await answer.json())["pid"])
        assert pids[0] == pids[1]
        os.kill(pids[0], signal.SIGKILL)
        async with Devnet(pds=1) as net, session.get(net.control_url) as answer:
            assert (await answer.json())["pid"] != pids[0]


@pytest.mark.devnet
@pytest.mark.slow
async def test_a_load_driven_through_an_outage_ends_as_planned(net: Devnet) -> None:
    accounts = await net.accounts([f"artist{i}" for i in range(8)])
    plan = make_plan([account.did for account in accounts], 300, seed=11)
    drive = Drive(net, accounts, plan, steps_per_s=30)

    async def outage() -> None:
        await drive.reached(60)
        await net.stop_pds(1)
        await asyncio.sleep(0.5)
        await net.start_pds(1)

    await asyncio.gather(drive.run(), outage())
    assert drive.done == plan.operations
    assert drive.retried > 0
    listed = {}
    for actor, account in enumerate(accounts):
        for collection in await net.collections(account):
            for record in await net.list_records(account, collection):
                listed[actor, collection, record.uri.rsplit("/", 1)[1]] = record.value
    assert listed == {key: write.record for key, write in plan.final.items()}


# -- the proxy


@pytest.mark.devnet
async def test_the_proxy_repeats_and_reorders_within_its_window_and_loses_nothing(net: Devnet) -> None:
    ada = await net.account("ada")
    await tracks(net, ada, 30)
    async with connect(net.pds[0].source + FIREHOSE) as stream:
        plain = await frames_of(stream)
    async with (
        FaultyProxy(net.pds[0].source, seed=3, duplicate=0.3, reorder=0.3, window=4) as proxy,
        connect(proxy.source + FIREHOSE) as stream,
    ):
        faulty = await frames_of(stream)
    assert set(faulty) == set(plain)
    assert proxy.faults.frames == len(plain)
    assert proxy.faults.duplicated == len(faulty) - len(plain) > 0
    firsts = list(dict.fromkeys(seq(frame) for frame in faulty))
    late = [max(firsts[:i], default=0) - each for i, each in enumerate(firsts)]
    assert proxy.faults.reordered > 0
    assert 0 < max(late) <= 4 + 4  # a late frame may pass one that is late itself


@pytest.mark.devnet
async def test_the_proxy_holds_no_frame_on_a_quiet_stream(net: Devnet) -> None:
    ada = await net.account("ada")
    async with (
        FaultyProxy(net.pds[0].source, seed=1, duplicate=1, reorder=1, window=1000) as proxy,
        connect(proxy.source + FIREHOSE) as stream,
    ):
        await frames_of(stream)
        await tracks(net, ada, 1)
        copies = [await asyncio.wait_for(stream.recv(), 60) for _ in range(2)]
        assert copies[0] == copies[1]


@pytest.mark.devnet
async def test_the_proxy_cuts_and_passes_an_outage_on(net: Devnet) -> None:
    async with FaultyProxy(net.pds[0].source, seed=1) as proxy:
        async with connect(proxy.source + FIREHOSE) as stream:
            assert proxy.cut() == proxy.faults.cut == 1
            await frames_of(stream, quiet_s=5)
            assert stream.close_code == 1006  # no close frame came
        await net.stop_pds(0)
        with pytest.raises(InvalidStatus) as refused:
            await connect(proxy.source + FIREHOSE)
        assert refused.value.response.status_code == 502
        assert proxy.faults.refused == 1
