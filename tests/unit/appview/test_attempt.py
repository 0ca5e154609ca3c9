from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from appview.jobs.attempt import Cancelled, Failed, begun_to_end, wait_s
from appview.jobs.tasks import Done, Task, Work
from storage.jobs import Job, JobState

NOW = datetime(2026, 11, 28, tzinfo=UTC)
JOB = Job(
    id=uuid4(),
    kind="note",
    did=None,
    subject=None,
    args={},
    state=JobState.RUNNING,
    phase=None,
    facts={},
    progress=None,
    message=None,
    attempts=1,
    error=None,
    warnings=[],
    result=None,
    created_at=NOW,
    updated_at=NOW,
    finished_at=None,
)


async def run(work: Work) -> Done:
    raise NotImplementedError


TASK = Task("note", run, attempts=3)


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 5), (2, 10), (5, 80), (7, 300), (99, 300)])
def test_the_oftener_it_was_tried_the_longer_it_waits(attempts: int, seconds: float) -> None:
    assert wait_s(attempts, 0.5) == seconds
    assert wait_s(attempts, 0.0) == seconds * 0.75
    assert wait_s(attempts, 1.0) == seconds * 1.25


def test_a_job_is_done_unless_it_is_to_end() -> None:
    assert begun_to_end(replace(JOB, attempts=3), TASK) is None
    assert begun_to_end(replace(JOB, cancel_asked_at=NOW), TASK) == Cancelled()
    assert begun_to_end(replace(JOB, error="No."), TASK) == Failed("No.")
    assert isinstance(begun_to_end(replace(JOB, attempts=4), TASK), Failed)
    assert begun_to_end(replace(JOB, attempts=4, uncounted=1), TASK) is None
