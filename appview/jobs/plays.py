"""What is done with plays from time to time: `plays.rollup` adds them to their days, `plays.seal` puts old
ones into files and forgets what is over. Both do what is due: any number of times does as much as once."""

from __future__ import annotations

from pathlib import Path

from appview.jobs.tasks import Done, Task, TryLater, Work
from storage import play_archive, plays
from storage.postgres import Pool
from storage.segment import BrokenSegment

ROLL_UP, SEAL = "plays.rollup", "plays.seal"


def play_tasks(pool: Pool, folder: Path) -> tuple[Task, ...]:
    """The tasks; files go below `folder`."""

    async def roll_up(_: Work) -> Done:
        async with pool.connection() as conn:
            count = await plays.roll_up(conn)
        return Done(f"{count:,} plays added to their days", {"plays": count})

    async def seal(work: Work) -> Done:
        rows = 0
        async with pool.connection() as conn:
            await plays.roll_up(conn)
            await plays.tidy(conn)
            try:
                while (done := await play_archive.seal(conn, folder)) is not None:
                    rows += done.rows
                    await work.report("seal", f"{rows:,} plays sealed")
            except (BrokenSegment, OSError) as error:
                raise TryLater(str(error)) from error
        return Done(f"{rows:,} plays sealed", {"plays": rows})

    return Task(ROLL_UP, roll_up), Task(SEAL, seal)
