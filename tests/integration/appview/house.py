"""A server with people who have keys to it, and the rows behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.integration.appview.seed import Seed
from tests.integration.appview.uploads.studio import Studio, bearer


@dataclass
class House:
    studio: Studio
    seed: Seed

    async def get(self, path: str, key: str | None = None, status: int = 200, **query: Any) -> Any:
        answer = await self.studio.request("GET", path, params=query, headers=bearer(key))
        assert answer.status == status, answer.body
        return answer.json

    async def refused(self, path: str, status: int, key: str | None = None, **query: Any) -> Any:
        return (await self.get(path, key, status, **query))["detail"]

    async def key(self, repo_id: int) -> str:
        return await self.studio.key(self.seed.dids[repo_id])
