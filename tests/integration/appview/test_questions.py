"""An answer costs a bounded number of questions to the database, however much is in it."""

from __future__ import annotations

from typing import Any

import pytest

from appview.app import make_reader
from lexicons.catalog import Catalog
from storage.reader import Cell, Question, Reads, Rows
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import serving

MOST = {
    "actor.getProfile": 1,
    "actor.getProfiles": 1,
    "actor.searchActors": 3,  # of them two, once a minute, for how common words are
    "feed.getActorLikes": 2,
    "feed.getActorTracks": 2,
    "feed.getComments": 3,
    "feed.getLatest": 1,
    "feed.getLikes": 3,
    "feed.getTop": 1,
    "feed.getTrack": 2,
    "feed.getTracks": 2,
    "feed.searchTracks": 3,
    "graph.getActorLists": 2,
    "graph.getList": 3,
    "server.describe": 1,
    "actor.getPreferences": 1,
    "server.getStats": 2,
    "sync.getRepoState": 1,
}
# They ask about the asker's own, of which there is one row.
OF_ONE_ROW = {"fm.plyr.audio.getJob", "fm.plyr.audio.getLimits"}


class Counting:
    """Asks another, and counts."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self.extensions = reads.extensions
        self.asked: list[str] = []
        self.exchanges: list[list[str]] = []  # what was asked together

    async def fetch(self, name: str, *params: Cell) -> Rows:
        self.exchanges.append([name])
        self.asked.append(name)
        return await self._reads.fetch(name, *params)

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        self.exchanges.append([name for name, _ in questions])
        self.asked += [name for name, _ in questions]
        return await self._reads.fetch_all(*questions)


@pytest.mark.parametrize("size", [1, 60])
async def test_questions_do_not_grow_with_the_answer(database: str, catalog: Catalog, size: int):
    mine = {n: each for n, each in catalog.queries().items() if n.startswith("fm.plyr.")}
    json = {nsid for nsid, method in mine.items() if method.output == "application/json"}
    assert {f"fm.plyr.{name}" for name in MOST} == json - OF_ONE_ROW
    seed = Seed(database, catalog)
    accounts = [seed.account(f"ann{number}", display_name="Ann") for number in range(size)]
    tracks = [seed.track(accounts[0], "song") for _ in range(size)]
    for account, track in zip(accounts, tracks, strict=True):
        seed.like(account, tracks[0])
        seed.like(accounts[0], track)
        seed.comment(account, tracks[0], "hm")
        seed.list_of(accounts[0], "mix", tracks)
    album = seed.list_of(accounts[0], "mix", tracks)
    seed.commit()
    by_handle = [uri.replace(seed.dids[accounts[0]], "ann0.test") for uri in [*tracks, album]]
    params: dict[str, Any] = {
        "actor": "ann0.test",
        "actors": [f"ann{number}.test" for number in range(min(25, size))],
        "q": "ann",
        "uri": by_handle[0],
        "uris": by_handle[: min(50, size)],
        "list": by_handle[-1],
    }
    async with make_reader(database) as reads:
        counting = Counting(reads)
        async with serving(counting, catalog) as server:
            for name, most in MOST.items():
                counting.asked.clear()
                definition = catalog.methods[f"fm.plyr.{name}"].parameters or {}  # pyright: ignore[reportArgumentType]
                known = definition.get("properties", {})
                given = {key: value for key, value in params.items() if key in known}
                await server.ask(name, given, viewer=seed.dids[accounts[0]])
                assert 1 <= len(counting.asked) <= most, (name, counting.asked)
    seed.close()
