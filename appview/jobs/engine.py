"""procrastinate as it is used here: its tables in a schema of their own, a worker that outlives its database.

Its worker ends when it cannot fetch a ticket, and is started again by ours. But it would go on without a
heartbeat if one failed, and so lose to others what it does; nor is a lost LISTEN a reason to end, as it asks
for tickets every second anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from uuid import UUID

import structlog
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.connector import Notify
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager

from storage.queue import at_home

log = structlog.get_logger()

CONNECTIONS = 7
AGAIN_S = 1.0

Attempt = Callable[[UUID, int], Awaitable[None]]


class _Connector(PsycopgConnector):
    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        wanted = list(channels)
        while True:
            try:
                await super().listen_notify(on_notification, wanted)
            except ConnectorException as error:
                log.warning("not told of new jobs", reason=str(error.__cause__ or error).strip())
            await asyncio.sleep(AGAIN_S)


class _Manager(JobManager):
    async def update_heartbeat(self, worker_id: int) -> None:
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            log.warning("cannot tell that this worker lives", reason=str(error.__cause__ or error).strip())


def make_engine(dsn: str, lanes: Mapping[str, str], attempt: Attempt) -> App:
    """An application of procrastinate's, to be opened with `open_async`. `lanes`: the lane of each kind;
    `attempt` gets the id of a job, and that of the ticket."""
    connector = _Connector(
        conninfo=dsn,
        kwargs={"application_name": "plyr queue", "connect_timeout": 5},
        configure=at_home,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=10,
    )
    app = App(connector=connector)
    app.job_manager = _Manager(connector)

    async def one(context: JobContext, id: str) -> None:
        assert context.job.id is not None
        await attempt(UUID(id), context.job.id)

    for kind, lane in lanes.items():
        app.task(name=kind, queue=lane, pass_context=True)(one)
    return app
