"""A running Swift: proxy, account, container and object server on one folder, and the S3 address in front.

    with Swift(folder) as swift:
        swift.endpoint, swift.access_key, swift.secret_key
        swift.stop(); swift.start()     # an outage: the objects are still there

The servers end with the block, and with whoever opened it. Writes are not synced: what a power cut does is no
question here.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ports import free_ports

_START_TIMEOUT_S = 60
_RINGS = ("account", "container", "object")
_MODULES = {
    "account": "swift.account.server",
    "container": "swift.container.server",
    "object": "swift.obj.server",
    "proxy": "swift.proxy.server",
}
# What the S3 API needs of the filters that Swift has, in the order in which they must stand.
_PIPELINE = "catch_errors gatekeeper healthcheck listing_formats s3api tempauth bulk copy slo dlo"
_SWIFT_CONF = """\
[swift-hash]
swift_hash_path_suffix = t
swift_hash_path_prefix = t
[storage-policy:0]
name = only
default = yes
"""
_STORAGE_CONF = """\
[DEFAULT]
swift_dir = {base}
devices = {base}/srv
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_level = WARNING
fallocate_reserve = 0
disable_fallocate = true
recon_cache_path = {base}/cache
lock_path = {base}/lock
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY_CONF = """\
[DEFAULT]
swift_dir = {base}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_level = WARNING
[pipeline:main]
pipeline = {pipeline} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 30
"""
# 1 is PR_SET_PDEATHSIG: where the kernel has it, a server does not outlive who started it.
_SERVER_PROGRAM = """\
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
from {module} import main
sys.argv[0] = "swift-{kind}"
sys.exit(main())
"""
# Each command exits: 1 is a warning, and a ring of one device is one.
_RING_PROGRAM = """\
import json, sys
from swift.cli.ringbuilder import main
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as end:
        if end.code not in (None, 0, 1):
            raise
"""
_SPECIAL = {
    "s3api": "location = us-east-1\ns3_acl = false\ncheck_bucket_owner = false\n",
    "tempauth": "user_test_tester = testing .admin\n",
}


class SwiftFailed(Exception):
    """A server did not come up; the message carries its last words."""


class Swift:
    """See the module. `packages` is what tests.s3.install gave, `folder` an empty one."""

    access_key = "test:tester"
    secret_key = "testing"
    region = "us-east-1"

    def __init__(self, packages: Path, folder: Path) -> None:
        self._packages = packages
        self._folder = folder
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._configure()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['proxy']}"

    @property
    def pids(self) -> list[int]:
        return [server.pid for server in self._servers.values()]

    def start(self) -> None:
        """All four, until the proxy answers. Raises SwiftFailed."""
        for kind, module in _MODULES.items():
            code = _SERVER_PROGRAM.format(module=module, kind=kind)
            with (self._folder / f"{kind}.log").open("ab") as log:
                self._servers[kind] = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-c", code, str(self._folder / f"{kind}.conf")],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            for kind, server in self._servers.items():
                if server.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    words = (self._folder / f"{kind}.log").read_text(errors="replace").strip()
                    raise SwiftFailed(f"Swift's {kind} server did not start: {words[-400:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        for server in self._servers.values():
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
        for server in self._servers.values():
            server.wait(10)
        self._servers.clear()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthcheck", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._packages), "SWIFT_TEST_CONFIG_FILE": ""}

    def _configure(self) -> None:
        base = self._folder
        for name in ("srv/d1", "cache", "lock"):
            (base / name).mkdir(parents=True)
        (base / "swift.conf").write_text(_SWIFT_CONF)
        self._ports = dict(zip(_MODULES, free_ports(len(_MODULES)), strict=True))
        user = pwd.getpwuid(os.getuid()).pw_name
        for kind in _RINGS:
            conf = _STORAGE_CONF.format(base=base, port=self._ports[kind], user=user, kind=kind)
            (base / f"{kind}.conf").write_text(conf)
        self._rings()
        proxy = _PROXY_CONF.format(base=base, port=self._ports["proxy"], user=user, pipeline=_PIPELINE)
        for name in _PIPELINE.split():
            proxy += f"[filter:{name}]\nuse = egg:swift#{name}\n{_SPECIAL.get(name, '')}"
        (base / "proxy.conf").write_text(proxy)

    def _rings(self) -> None:
        """A ring of one device for each kind, all by one run of Python: its start is most of it."""
        commands = [
            ["ring", str(self._folder / f"{kind}.builder"), *words]
            for kind in _RINGS
            for words in (
                ["create", "4", "1", "0"],
                ["add", f"r1z1-127.0.0.1:{self._ports[kind]}/d1", "1"],
                ["rebalance"],
            )
        ]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _RING_PROGRAM, json.dumps(commands)],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SwiftFailed(f"no rings: {done.stdout}{done.stderr}")
