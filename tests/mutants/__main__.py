"""`python -m tests.mutants [NAME …]`: each mutant, or those named, must be killed by each of its tests.

Two at a time, each in a copy of the tree of its own. The tests are run on an unchanged copy first. If all
were tried and killed, `docs/mutants.md` is written; else this ends with 1.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bin.settings import ROOT
from storage.embedded import THROWAWAY, EmbeddedPostgres
from tests.conftest import reachable_folder
from tests.mutants.mutant import DoesNotApply, Mutant, load
from tests.mutants.tree import Result, Tree, Unusable

PAGE = ROOT / "docs" / "mutants.md"
AT_ONCE = 2

_INTRO = """# Mutants

```
make mutants                               # all of them, some minutes
.venv/bin/python -m tests.mutants NAME …   # those alone
```

What are the tests worth? Our own code is broken on purpose here, in one small way at a time, and the
tests that are meant to notice must fail: {count} mutants, all killed. Each is applied to a copy of the tree
(`tests/mutants/mutants.toml` has the text before and after), and every test named beside it has to fail.
Before that, all of these tests pass on an unchanged copy. A failure that any nonsense would bring about (a
name that does not exist, a statement that Postgres cannot read) does not count. `make check` sees to it
that each mutant still fits the code. `make mutants` writes this page; the seconds are those of its machine,
with the start of pytest and the making of a database.

| mutant | what would go wrong | killed by | s |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """`why` it lives, None if it was killed."""

    mutant: Mutant
    why: str | None
    took_s: float


class Trial:
    """Tries mutants in copies that wait for the next one."""

    def __init__(self, trees: Sequence[Tree], count: int) -> None:
        self._trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for tree in trees:
            self._trees.put(tree)
        self._count = count
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, mutant: Mutant) -> Tried:
        tree = self._trees.get()
        began = time.monotonic()
        try:
            why = verdict(mutant, tree.kill(mutant))
        except (DoesNotApply, Unusable) as error:
            why = str(error)
        finally:
            self._trees.put(tree)
        tried = Tried(mutant, why, time.monotonic() - began)
        with self._lock:
            self._done += 1
            word = "killed" if why is None else f"LIVES: {why}"
            print(f"{self._done:4}/{self._count}  {tried.took_s:5.1f} s  {mutant.name}: {word}", flush=True)
        return tried


def unchanged_pass(trees: Sequence[Tree], tests: Sequence[str]) -> bool:
    """Whether the tests pass where nothing was broken; prints what does not."""
    print(f"{len(tests)} tests on an unchanged copy", flush=True)
    shares = [tests[n :: len(trees)] for n in range(min(len(trees), len(tests)))]
    with ThreadPoolExecutor(len(trees)) as threads:
        results = list(threads.map(lambda tree, share: tree.run(share, timeout_s=1800), trees, shares))
    for result in results:
        if result.failed:
            print(f"{result.output}\nthey fail there, too: {', '.join(sorted(result.failed))}")
    return not any(result.failed for result in results)


def verdict(mutant: Mutant, result: Result) -> str | None:
    """Why the mutant lives, None if each of its tests failed."""
    alive = [test for test in mutant.tests if test.partition("[")[0] not in result.failed]
    return None if not alive else "not noticed by " + ", ".join(alive)


def page(tried: Sequence[Tried]) -> str:
    rows = [
        f"| {each.mutant.name}<br>`{each.mutant.file}` | {each.mutant.seen} "
        f"| {'<br>'.join(f'`{_short(test)}`' for test in each.mutant.tests)} | {each.took_s:.0f} |\n"
        for each in tried
    ]
    return _INTRO.format(count=len(tried)) + "".join(rows)


def _short(test: str) -> str:
    path, _, name = test.partition("::")
    return f"{Path(path).stem}: {name.removeprefix('test_').replace('_', ' ')}"


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.mutants", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants; all if none is named")
    parser.add_argument(
        "--unproven", action="store_true", help="do not run the tests on an unchanged copy first"
    )
    args = parser.parse_args()
    everyone = load()
    chosen = [mutant for mutant in everyone if not args.names or mutant.name in args.names]
    if missing := set(args.names) - {mutant.name for mutant in chosen}:
        parser.error(f"no such mutant: {', '.join(sorted(missing))}")
    with (
        reachable_folder() as data,
        EmbeddedPostgres(data, server_settings=THROWAWAY) as postgres,
        tempfile.TemporaryDirectory(prefix="plyr-mutants-") as scratch,
    ):
        trees = [Tree.copied(Path(scratch) / f"tree{n}", postgres.dsn) for n in range(AT_ONCE)]
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        if not args.unproven and not unchanged_pass(trees, tests):
            return 1
        with ThreadPoolExecutor(AT_ONCE) as threads:
            tried = list(threads.map(Trial(trees, len(chosen)), chosen))
    alive = [each for each in tried if each.why is not None]
    print(f"{len(tried)} mutants, {len(alive)} live" + "".join(f"\n  {each.mutant.name}" for each in alive))
    if not alive and chosen == everyone:
        PAGE.write_text(page(tried))
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
