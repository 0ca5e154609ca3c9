"""`plyr jobs cancel`: ends jobs; what they began is undone."""

from __future__ import annotations

import argparse
import asyncio

from bin.jobs_choice import add_choice, each_of, missing, told
from bin.kinds import job_queue
from bin.settings import Settings
from storage.jobs import JobState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_choice(parser, "all jobs of this kind that are not finished")


def run(args: argparse.Namespace, settings: Settings) -> int:
    if missing(args):
        return 2
    count = asyncio.run(each_of(args, settings, [JobState.PENDING, JobState.RUNNING], job_queue().cancel))
    return told(count, "will end within seconds, if `plyr worker` runs", "it has ended")
