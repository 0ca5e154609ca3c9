"""Carries a plan out against a devnet, at a bounded rate, through outages.

Each account's steps happen in the plan's order, those of different accounts side by side. A
request whose answer was lost is sent again; where that is refused, a look at the PDS tells whether
the first one had arrived.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.devnet.load import Plan, Step, Write
from tests.devnet.network import Account, Devnet, XrpcFailed

WORKERS = 8
PATIENCE_S = 60
RETRY_S = 0.1


@dataclass
class Drive:
    """One run of a plan: progress while it runs, figures afterwards."""

    net: Devnet
    accounts: Sequence[Account]
    plan: Plan
    steps_per_s: float
    slow_after: int | None = None  # writes from which on it goes at a fifth of that
    done: int = 0  # writes that a PDS has answered
    retried: int = 0
    forgiven: list[str] = field(default_factory=list)  # refusals of what had arrived before
    seconds: float = 0.0
    first_rev: dict[str, str] = field(default_factory=dict)  # of each URI's first version
    _next_at: float = 0.0
    _waiting: list[tuple[int, asyncio.Event]] = field(default_factory=list)

    async def reached(self, writes: int) -> None:
        """Returns once so many writes are done; at once when they are already."""
        event = asyncio.Event()
        self._waiting.append((writes, event))
        self._count(0)
        await event.wait()

    async def run(self) -> None:
        """Returns when every step is answered. Raises XrpcFailed on a refusal that no outage explains."""
        started = time.monotonic()
        self._next_at = started
        async with asyncio.TaskGroup() as group:
            for worker in range(WORKERS):
                group.create_task(self._work([s for s in self.plan.steps if s.actor % WORKERS == worker]))
        self.seconds = time.monotonic() - started

    async def _work(self, steps: Sequence[Step]) -> None:
        for step in steps:
            now = time.monotonic()
            slow = self.slow_after is not None and self.done >= self.slow_after
            self._next_at = max(self._next_at, now - 1.0) + (5 if slow else 1) / self.steps_per_s
            await asyncio.sleep(max(0.0, self._next_at - now))
            await self._send_until_answered(step)
            self._count(len(step.writes))

    def _count(self, writes: int) -> None:
        self.done += writes
        for wanted, event in self._waiting:
            if self.done >= wanted:
                event.set()

    async def _send_until_answered(self, step: Step) -> None:
        deadline = time.monotonic() + PATIENCE_S
        lost = False
        while True:
            try:
                rev = await self._send(step)
            except XrpcFailed as failure:
                if lost and await self._arrived(step):
                    self.forgiven.append(str(failure))
                    return
                if failure.status < 500 or time.monotonic() > deadline:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
            else:
                if rev is not None:
                    for write in step.writes:
                        self.first_rev.setdefault(self._uri(step, write), rev)
                return
            lost = True
            self.retried += 1
            await asyncio.sleep(RETRY_S)

    async def _arrived(self, step: Step) -> bool:
        """Whether the PDS holds what this step wrote (a commit is there whole, or not at all)."""
        account, write = self.accounts[step.actor], step.writes[-1]
        key = {"repo": account.did, "collection": write.collection, "rkey": write.rkey}
        try:
            answer = await self.net.call("com.atproto.repo.getRecord", account, params=key)
        except XrpcFailed as failure:
            return write.record is None and failure.error == "RecordNotFound"
        except (aiohttp.ClientError, TimeoutError):
            return False
        return answer["value"] == write.record

    def _uri(self, step: Step, write: Write) -> str:
        return f"at://{self.accounts[step.actor].did}/{write.collection}/{write.rkey}"

    async def _send(self, step: Step) -> str | None:
        """One request; the rev of the commit, if one was needed."""
        account = self.accounts[step.actor]
        if step.single:
            answer = await self._single(account, step.writes[0])
        else:
            writes = [
                {
                    "$type": f"com.atproto.repo.applyWrites#{write.action}",
                    "collection": write.collection,
                    "rkey": write.rkey,
                    **({"value": write.record} if write.record is not None else {}),
                }
                for write in step.writes
            ]
            answer = await self.net.call(
                "com.atproto.repo.applyWrites", account, body={"repo": account.did, "writes": writes}
            )
        return answer["commit"]["rev"] if "commit" in answer else None

    async def _single(self, account: Account, write: Write) -> dict[str, Any]:
        body: dict[str, Any] = {"repo": account.did, "collection": write.collection, "rkey": write.rkey}
        if write.action == "delete":
            return await self.net.call("com.atproto.repo.deleteRecord", account, body=body)
        body["record"] = write.record
        method = "createRecord" if write.action == "create" else "putRecord"
        return await self.net.call(f"com.atproto.repo.{method}", account, body=body)
