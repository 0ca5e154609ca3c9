"""`plyr jobs retry`: has jobs done again that failed or were cancelled, and those now that wait."""

from __future__ import annotations

import argparse
import asyncio

from bin.jobs_choice import add_choice, each_of, missing, told
from bin.kinds import job_queue
from bin.settings import Settings
from storage.jobs import JobState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_choice(parser, "all jobs of this kind that failed")


def run(args: argparse.Namespace, settings: Settings) -> int:
    if missing(args):
        return 2
    count = asyncio.run(each_of(args, settings, [JobState.FAILED], job_queue().retry))
    return told(count, "will be done again, if `plyr worker` runs", "it is on, or done")
