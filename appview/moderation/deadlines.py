"""Task `moderation.sweep`: what a counter-notice brings back is back once its time is over."""

from __future__ import annotations

from datetime import UTC, datetime

from appview.jobs.tasks import Done, Run, Work
from appview.moderation import notices
from appview.moderation.decisions import Policy
from storage.postgres import Pool


def restore_what_is_due(pool: Pool, policy: Policy) -> Run:
    async def run(work: Work) -> Done:
        async with pool.connection() as conn:
            count = await notices.restore_due(conn, policy, datetime.now(UTC))
        return Done("Restored what was answered by a counter-notice.", {"restored": count})

    return run
