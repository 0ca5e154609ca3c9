"""`python -m tests.soak --seeds 1-200 --events 2000`: every seed's world must be found in the tables.

Worlds are read some at a time by one plyr. A seed that fails is printed with what differs, and with the
command that tells its story again. Ends with 1 if any did, or if a fault that is known never happened.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import psycopg
from psycopg import sql

from storage.embedded import THROWAWAY, EmbeddedPostgres
from storage.migrate import migrate
from tests.conftest import reachable_folder, with_database
from tests.soak.faults import never_fired
from tests.soak.run import Outcome, Run

SHOWN = 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", default="1-200", help="one, or a range as 1-200")
    parser.add_argument("--events", type=int, default=2000, help="that happen in each world")
    parser.add_argument("--together", type=int, default=10, help="worlds that one plyr reads")
    parser.add_argument("--streamed", action="store_true", help="nothing is lost, and ingest runs alone")
    parser.add_argument("--keep", type=Path, help="folder for the logs of runs that fail")
    return parser.parse_args()


async def one_run(seeds: list[int], args: argparse.Namespace, server: str) -> Outcome:
    name = f"soak_{uuid.uuid4().hex[:12]}"
    folder = Path(tempfile.mkdtemp(prefix="plyr-soak-", dir="/tmp"))
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    dsn = with_database(server, name)
    try:
        await migrate(dsn)
        outcome = await Run(seeds, args.events, dsn, folder, streamed=args.streamed)()
        if args.keep is not None and not outcome.good:
            shutil.copytree(folder, args.keep / f"seeds-{seeds[0]}-{seeds[-1]}", dirs_exist_ok=True)
        return outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def show(seeds: list[int], outcome: Outcome, events: int) -> None:
    ends = {part: dict(ends) for part, ends in outcome.ends.items()}
    print(
        f"seeds {seeds[0]}-{seeds[-1]}: {outcome.events} events in {outcome.played_s:.0f} s,"
        f" settled in {outcome.settled_s:.0f} s, ends {ends}: {'equal' if outcome.good else 'NOT EQUAL'}",
        flush=True,
    )
    for seed, lines in outcome.lines.items():
        if lines:
            print(
                f"  seed {seed}: {len(lines)} rows differ;"
                f" python -m tests.soak --seeds {seed} --events {events}"
            )
            for line in lines[:SHOWN]:
                print(f"    {line}")
    for difference in outcome.replayed:
        print(f"  a replay differs: {difference}")
    if not outcome.good:
        for line in outcome.waiting[: 2 * SHOWN]:
            print(f"  {line}")


async def main() -> int:
    args = arguments()
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # no process stays behind
    first, _, last = args.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    fired: Counter[str] = Counter()
    failed: list[int] = []
    began = time.monotonic()
    with reachable_folder() as folder, EmbeddedPostgres(folder, server_settings=THROWAWAY) as postgres:
        for n in range(0, len(seeds), args.together):
            batch = seeds[n : n + args.together]
            outcome = await one_run(batch, args, postgres.dsn)
            fired.update(outcome.fired)
            fired.update({f"act: {act}": count for act, count in outcome.acts.items()})
            fired.update({f"{part} killed": ends[-9] for part, ends in outcome.ends.items()})
            failed += [
                seed for seed, lines in outcome.lines.items() if lines or outcome.crashes or outcome.replayed
            ]
            show(batch, outcome, args.events)
    for what, count in sorted(fired.items()):
        print(f"{count:8}  {what}")
    silent = never_fired(fired) if len(seeds) >= 10 and not args.streamed else []
    print(f"{len(seeds)} seeds, {len(failed)} not equal {failed or ''}, {time.monotonic() - began:.0f} s")
    if silent:
        print("never happened: " + ", ".join(silent))
    return 1 if failed or silent else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
