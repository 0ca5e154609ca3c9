"""The network's own clients, in Python and TypeScript, call our queries and parse the answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from atproto import AtUri, Client
from atproto.exceptions import BadRequestError
from atproto_client.models.common import XrpcError
from atproto_client.models.dot_dict import DotDict
from atproto_client.request import Response

import lexicons
from lexicons.catalog import Catalog
from tests.clients.install import InstallFailed, installed
from tests.conftest import require
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import Server, served


@dataclass(frozen=True)
class Network:
    server: Server
    did: str
    track: str
    album: str


@pytest.fixture
async def network(database: str) -> AsyncIterator[Network]:
    catalog = Catalog.load()
    seed = Seed(database, catalog)
    ann = seed.account("ann", avatar="https://img.test/a", bio="sings")
    tracks = [seed.track(ann, f"Night ferry {number}", duration=100 + number) for number in range(5)]
    for track in tracks:
        seed.like(ann, track)
    seed.comment(ann, tracks[0], "lovely", 1500)
    album = seed.list_of(ann, "Crossings", tracks)
    seed.source("wss://relay.test", 5)
    seed.commit()
    seed.close()
    async with served(database, catalog) as server:
        yield Network(server, seed.dids[ann], tracks[0], album)


def calls(network: Network) -> list[tuple[str, dict[str, Any]]]:
    """One good call of every method that answers JSON."""
    return [
        ("fm.plyr.actor.getProfile", {"actor": "ann.test"}),
        ("fm.plyr.actor.getProfiles", {"actors": ["ann.test", network.did]}),
        ("fm.plyr.actor.searchActors", {"q": "an"}),
        ("fm.plyr.feed.getActorLikes", {"actor": network.did, "limit": 2}),
        ("fm.plyr.feed.getActorTracks", {"actor": "ann.test", "limit": 2}),
        ("fm.plyr.feed.getComments", {"uri": network.track}),
        ("fm.plyr.feed.getLatest", {"limit": 2}),
        ("fm.plyr.feed.getLikes", {"uri": network.track}),
        ("fm.plyr.feed.getTop", {"limit": 2}),
        ("fm.plyr.feed.getTrack", {"uri": network.track}),
        ("fm.plyr.feed.getTracks", {"uris": [network.track]}),
        ("fm.plyr.feed.searchTracks", {"q": "night fer"}),
        ("fm.plyr.graph.getActorLists", {"actor": "ann.test", "listType": "album"}),
        ("fm.plyr.graph.getList", {"list": network.album}),
        ("fm.plyr.server.describe", {}),
        ("fm.plyr.server.getStats", {}),
        ("fm.plyr.sync.getRepoState", {"actor": "ann.test"}),
    ]


def in_python(origin: str, wanted: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    client = Client(base_url=origin)
    answers: list[dict[str, Any]] = []
    for nsid, params in wanted:
        try:
            # The SDK has models for its own methods; for others it takes any dict in this wrapping.
            wrapped: Any = DotDict(params)
            response = client.invoke_query(nsid, params=wrapped, output_encoding="application/json")
        except BadRequestError as error:
            failed = error.response
            answers.append({"status": failed and failed.status_code, "error": failed and name_of(failed)})
        else:
            assert isinstance(response.content, dict)
            answers.append({"data": response.content})
    client.request.close()
    return answers


def name_of(failed: Response) -> str | None:
    return failed.content.error if isinstance(failed.content, XrpcError) else None


async def in_typescript(origin: str, wanted: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        folder = await asyncio.to_thread(installed, os.environ)
    except InstallFailed as failed:
        require("npm", str(failed))
    process = await asyncio.create_subprocess_exec(
        "node", "query.mjs", origin, str(Path(lexicons.__file__).parent),
        cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    asked = orjson.dumps([{"nsid": nsid, "params": params} for nsid, params in wanted])
    output, _ = await process.communicate(asked)
    assert process.returncode == 0
    return orjson.loads(output)


async def asked(language: str, network: Network, wanted: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    if language == "typescript":
        return await in_typescript(network.server.url, wanted)
    return await asyncio.to_thread(in_python, network.server.url, wanted)


PROOF = "fm.plyr.sync.getRecordProof"
LABELS = "com.atproto.label.queryLabels"  # test_label_consumers asks it
# For whoever is signed in, and about what they sent: `tests/integration/appview/uploads` asks those.
OWN = {"fm.plyr.actor.getPreferences", "fm.plyr.audio.getJob", "fm.plyr.audio.getLimits"}
EACH = pytest.mark.parametrize("language", ["python", "typescript"])


@EACH
async def test_every_query_answers_the_networks_own_clients(network: Network, language: str):
    wanted = calls(network)
    assert {nsid for nsid, _ in wanted} == set(network.server.catalog.queries()) - {PROOF, LABELS} - OWN
    answers = await asked(language, network, wanted)
    by_name = {nsid: answer["data"] for (nsid, _), answer in zip(wanted, answers, strict=True)}
    assert by_name["fm.plyr.actor.getProfile"]["bio"] == "sings"
    assert len(by_name["fm.plyr.actor.getProfiles"]["profiles"]) == 1
    assert len(by_name["fm.plyr.feed.getLatest"]["tracks"]) == 2
    track = by_name["fm.plyr.feed.getTrack"]["track"]
    assert AtUri.from_str(track["uri"]).collection == "fm.plyr.track"
    assert track["record"]["$type"] == "fm.plyr.track"
    assert [item["position"] for item in by_name["fm.plyr.graph.getList"]["items"]] == [0, 1, 2, 3, 4]


@EACH
async def test_a_client_pages_by_the_cursor_alone(network: Network, language: str):
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        [answer] = await asked(language, network, [("fm.plyr.feed.getLatest", {"limit": 2, **cursor})])
        seen += [track["uri"] for track in answer["data"]["tracks"]]
        cursor = {"cursor": answer["data"].get("cursor")}
    assert cursor == {"cursor": None}
    assert len(seen) == len(set(seen)) == 5


@EACH
async def test_a_client_sees_our_errors_by_name(network: Network, language: str):
    missing = "at://ann.test/fm.plyr.track/3jzfcijpj2z2a"
    wanted = [
        ("fm.plyr.feed.getTrack", {"uri": missing}),
        ("fm.plyr.actor.getProfile", {"actor": "nobody.test"}),
        ("fm.plyr.feed.getLatest", {"cursor": "x"}),
        (PROOF, {"uri": f"at://{network.did}/fm.plyr.track/3jzfcijpj2z2a"}),
    ]
    assert await asked(language, network, wanted) == [
        {"status": 400, "error": "TrackNotFound"},
        {"status": 400, "error": "ActorNotFound"},
        {"status": 400, "error": "InvalidRequest"},
        {"status": 400, "error": "RecordNotFound"},
    ]
