"""People ask us through their own PDS, which says for whom it asks: real PDSs, real processes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage.sessions import Kind
from tests.acceptance.service import Answers, Program, until, web
from tests.acceptance.whole import DATE, LIKE, NS, like, sing
from tests.devnet.directory import register_service
from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid
from tests.integration.appview.uploads.studio import SCOPE, add_key
from tests.ports import free_port

pytestmark = [pytest.mark.devnet]

LATEST, SUBJECT = f"{NS}.feed.getLatest", f"{NS}.feed.getTrack"
BODY_BYTES = 30 * 1024 * 1024


@dataclass
class Served:
    """Plyr beside two PDSs, known by two names. `other` is a second process of it."""

    net: Devnet
    http: aiohttp.ClientSession
    answers: Answers
    other: Answers
    names: dict[str, str]
    environ: dict[str, str]
    folder: Path

    async def through(
        self,
        account: Account,
        nsid: str,
        *,
        name: str,
        method: str = "GET",
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **params: str,
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """The account's PDS is asked, and asks us under one of our names."""
        url = f"{self.net.pds[account.pds].url}/xrpc/{nsid}"
        proxy = {"atproto-proxy": f"{self.names[name]}#plyr_appview", **(headers or {}), **account.headers}
        async with self.http.request(method, url, params=params, data=data, headers=proxy) as answer:
            return answer.status, await answer.json(), answer.headers

    async def direct(self, answers: Answers, token: str) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """One of our processes is asked itself, with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.get(f"{answers.origin}/xrpc/{LATEST}", headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def mint(self, account: Account) -> str:
        """A token for the account, made by the operator on this machine."""
        log = self.folder / f"mint-{account.handle}.log"
        async with Program(f"token mint --did {account.did}", self.environ, log) as program:
            assert await program.process.wait() == 0, program.output()
            return program.output().strip()


@asynccontextmanager
async def served(net: Devnet, database: str, folder: Path) -> AsyncIterator[Served]:
    port = free_port()
    own = await register_service(net.plc_url, "plyr_appview", "PlyrAppView", f"http://localhost:{port}")
    names = {"did:web": f"did:web:localhost%3A{port}", "did:plc": own}
    environ = net.service_settings() | {
        "PLYR_DATABASE_URL": database,
        "PLYR_DATA_DIR": str(folder),
        "PLYR_EXTRA_DIDS": own,
        "PLYR_DISCOVERY_HOSTS": ",".join(pds.url for pds in net.pds),
    }
    async with (
        web(environ | {"PLYR_PORT": str(port)}, folder / "web.log") as answers,
        web(environ | {"PLYR_PUBLIC_URL": f"http://localhost:{port}"}, folder / "other.log") as other,
        Program("ingest", environ, folder / "ingest.log"),
        Program("sync run", environ, folder / "sync.log"),
        aiohttp.ClientSession() as http,
    ):
        yield Served(net, http, answers, other, names, environ, folder)


async def shown(plyr: Served, uri: str, likes: int) -> None:
    """Returns once the track has its likes, and all that those who like it wrote is here."""

    async def there() -> bool:
        status, answer = await plyr.answers.get(SUBJECT, uri=uri)
        if status != 200 or answer["track"]["stats"]["likes"] != likes:
            return False
        fans = (await plyr.answers.good(f"{NS}.feed.getLikes", uri=uri))["likes"]
        states = [
            await plyr.answers.good(f"{NS}.sync.getRepoState", actor=each["actor"]["did"]) for each in fans
        ]
        return all(each["state"] == "active" for each in states)

    await until(there, 40, f"{uri} to have {likes} likes")


async def test_a_query_through_either_pds_or_with_a_token_shows_the_callers_own_like(
    database: str, tmp_path: Path
) -> None:
    async with Devnet(pds=2) as net, served(net, database, tmp_path) as plyr:
        artist, ada, ben = [
            await net.account(name, pds) for name, pds in (("artist", 0), ("ada", 0), ("ben", 1))
        ]
        strangers = [await net.account("stranger", 0), await net.account("passer", 1)]
        song = await sing(net, artist, 1, "Night ferry")
        for fan in (ada, ben):
            await like(net, fan, 2, song)
        await shown(plyr, song["uri"], 2)

        for name in plyr.names:
            for fan in (ada, ben):
                status, answer, headers = await plyr.through(
                    fan, LATEST, name=name, headers={"atproto-accept-labelers": "did:plc:a;redact"}
                )
                assert status == 200, answer
                assert answer["tracks"][0]["viewer"] == {"like": f"at://{fan.did}/{LIKE}/{tid(2)}"}
                assert headers["atproto-content-labelers"] == "did:plc:a;redact"
                assert headers["atproto-repo-rev"] == await latest_rev(net, fan)
            for stranger in strangers:  # of whom our tables know nothing
                status, answer, headers = await plyr.through(stranger, LATEST, name=name)
                assert status == 200, answer
                assert answer["tracks"][0]["viewer"] == {}
                assert "atproto-repo-rev" not in headers
        status, answer, headers = await plyr.direct(plyr.other, await plyr.mint(ben))
        assert status == 200, answer
        assert answer["tracks"][0]["viewer"] == {"like": f"at://{ben.did}/{LIKE}/{tid(2)}"}
        assert headers["atproto-repo-rev"] == await latest_rev(net, ben)
        assert "viewer" not in (await plyr.answers.good(LATEST))["tracks"][0]
        await every_query_knows_who_asks(plyr, database, ada, song, artist)


# Asked in another way, or for those alone who are signed in.
ELSEWHERE = {"getRecordProof", "getJob", "getLimits", "getPreferences"}


def queries(song: Mapping[str, str], artist: Account, fan: Account) -> dict[str, tuple[dict[str, str], int]]:
    """A call of each of our queries, and how many views of the song are in its answer."""
    uri = {"uri": song["uri"]}
    return {
        "actor.getProfile": ({"actor": artist.handle}, 0),
        "actor.getProfiles": ({"actors": artist.did}, 0),
        "actor.searchActors": ({"q": "artist"}, 0),
        "feed.getActorLikes": ({"actor": fan.did}, 1),
        "feed.getActorTracks": ({"actor": artist.handle}, 1),
        "feed.getComments": (uri, 0),
        "feed.getLatest": ({}, 1),
        "feed.getLikes": (uri, 0),
        "feed.getTop": ({}, 1),
        "feed.getTrack": (uri, 1),
        "feed.getTracks": ({"uris": song["uri"]}, 1),
        "feed.searchTracks": ({"q": "ferry"}, 1),
        "graph.getActorLists": ({"actor": artist.did}, 0),
        "graph.getList": ({"list": f"at://{artist.did}/{NS}.list/{tid(3)}"}, 1),
        "server.describe": ({}, 0),
        "server.getStats": ({}, 0),
        "sync.getRepoState": ({"actor": artist.did}, 0),
    }


async def every_query_knows_who_asks(
    plyr: Served, database: str, fan: Account, song: dict[str, Any], artist: Account
) -> None:
    """By nobody, by session, by developer token, and through the fan's PDS."""
    item = {"subject": {"uri": song["uri"], "cid": song["cid"]}}
    mix = {"name": "Mix", "listType": "playlist", "items": [item], "createdAt": DATE}
    await plyr.net.put(artist, f"{NS}.list", tid(3), mix)

    async def listed() -> bool:
        return bool((await plyr.answers.good(f"{NS}.graph.getActorLists", actor=artist.did))["lists"])

    await until(listed, 40, "the list to be here")
    keys = [
        await add_key(database, Did(fan.did), scope=SCOPE, granted=True, kind=kind)
        for kind in (Kind.BROWSER, Kind.TOKEN)
    ]
    proxy = {"atproto-proxy": f"{plyr.names['did:web']}#plyr_appview", **fan.headers}
    own, pds = plyr.answers.origin, plyr.net.pds[fan.pds].url
    ways: list[tuple[str, dict[str, str]]] = [
        (own, {}),
        (own, {"Cookie": f"session_id={keys[0]}"}),
        (own, {"Authorization": f"Bearer {keys[1]}"}),
        (pds, proxy),
    ]
    asked = queries(song, artist, fan)
    known = {nsid for nsid in Catalog.load().queries() if nsid.startswith(f"{NS}.")}
    assert {f"{NS}.{name}" for name in asked} == {n for n in known if n.rpartition(".")[2] not in ELSEWHERE}
    mine = {"like": f"at://{fan.did}/{LIKE}/{tid(2)}"}
    for name, (params, views) in asked.items():
        for origin, headers in ways:
            url = f"{origin}/xrpc/{NS}.{name}"
            async with plyr.http.get(url, params=params, headers=headers) as answer:
                said = await answer.json()
                assert answer.status == 200, (name, said)
            assert list(viewers(said)) == ([mine] * views if headers else []), (name, headers)


def viewers(value: Any) -> Iterator[Any]:
    """What an answer says of whoever asks, wherever it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "viewer" else viewers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from viewers(inner)


async def latest_rev(net: Devnet, account: Account) -> str:
    found = await net.call("com.atproto.sync.getLatestCommit", pds=account.pds, params={"did": account.did})
    return found["rev"]


async def test_x14_whoever_writes_reads_on_until_the_rev_has_come(database: str, tmp_path: Path) -> None:
    """As a PDS does that wants to know what of its own is not in an answer yet."""
    async with Devnet(pds=1) as net, served(net, database, tmp_path) as plyr:
        ada = await net.account("ada")
        last = ""
        for n in range(1, 6):
            song = await sing(net, ada, n, f"Song {n}")
            written = song["commit"]["rev"]
            seen: list[str] = []

            async def arrived(n: int = n, seen: list[str] = seen, written: str = written) -> bool:
                status, answer, headers = await plyr.through(ada, LATEST, name="did:web")
                assert status == 200, answer
                rev = headers.get("atproto-repo-rev", "")
                seen.append(rev)
                titles = [track["record"]["title"] for track in answer["tracks"]]
                if rev >= written:
                    assert f"Song {n}" in titles
                return rev >= written

            await until(arrived, 40, f"song {n} to be here")
            assert [last, *seen] == sorted([last, *seen])
            last = seen[-1]
            assert last == written


async def test_a_token_of_a_pds_is_good_once_in_all_processes_and_under_our_own_names_alone(
    database: str, tmp_path: Path
) -> None:
    async with Devnet(pds=1) as net, served(net, database, tmp_path) as plyr:
        ada = await net.account("ada")
        audiences = [name + fragment for name in plyr.names.values() for fragment in ("", "#plyr_appview")]
        for aud in audiences:
            params = {"aud": aud, "lxm": LATEST}
            token = (await net.call("com.atproto.server.getServiceAuth", ada, params=params))["token"]
            statuses = [
                (await plyr.direct(answers, token))[0] for answers in (plyr.answers, plyr.other, plyr.answers)
            ]
            assert statuses == [200, 401, 401], aud

        # A document that we know nothing of leads to us.
        endpoint = plyr.answers.origin.replace("127.0.0.1", "localhost") + "/"
        plyr.names["another"] = await register_service(net.plc_url, "plyr_appview", "PlyrAppView", endpoint)
        status, answer, _ = await plyr.through(ada, LATEST, name="another")
        assert (status, answer["error"]) == (401, "BadJwtAudience")


async def test_a_large_body_comes_through_a_pds_whole_and_gets_our_own_answer(
    database: str, tmp_path: Path
) -> None:
    sound = random.Random(1).randbytes(BODY_BYTES)
    async with Devnet(pds=2) as net, served(net, database, tmp_path) as plyr:
        for account in (await net.account("ada", 0), await net.account("ben", 1)):

            async def sent(nsid: str, account: Account = account) -> tuple[int, dict[str, Any]]:
                headers = {"content-type": "audio/wav"}
                status, answer, _ = await plyr.through(
                    account,
                    nsid,
                    name="did:web",
                    method="POST",
                    data=BytesIO(sound),
                    headers=headers,
                    title="x",
                )
                return status, answer

            upload = f"{NS}.audio.uploadAudio"
            for nsid, status, error in (
                (LATEST, 400, "InvalidRequest"),
                (f"{NS}.audio.playBackwards", 501, "MethodNotImplemented"),
                (upload, 403, "SignInNeeded"),
            ):
                found = await sent(nsid)
                assert (found[0], found[1]["error"]) == (status, error), found
            # They signed in here once.
            await add_key(database, Did(account.did), scope=SCOPE, granted=True, kind=Kind.BROWSER)
            status, answer = await sent(upload)
            assert (status, answer.get("state")) == (200, "pending"), answer
            async with await psycopg.AsyncConnection.connect(database) as conn:
                rows = await conn.execute("select args ->> 'sha256' from job where did = %s", (account.did,))
                assert await rows.fetchall() == [(hashlib.sha256(sound).hexdigest(),)]


async def test_a_report_through_a_pds_opens_a_case(database: str, tmp_path: Path) -> None:
    async with Devnet(pds=2) as net, served(net, database, tmp_path) as plyr:
        artist, ben = await net.account("artist", 0), await net.account("ben", 1)
        song = await sing(net, artist, 1, "Night ferry")
        await shown(plyr, song["uri"], 0)
        record = {"$type": "com.atproto.repo.strongRef", "uri": song["uri"], "cid": song["cid"]}
        account = {"$type": "com.atproto.admin.defs#repoRef", "did": artist.did}
        url = f"{net.pds[ben.pds].url}/xrpc/com.atproto.moderation.createReport"
        labeler = {"atproto-proxy": f"{plyr.names['did:web']}#atproto_labeler", **ben.headers}
        found: list[tuple[int, str, str]] = []
        for subject, at in ((record, song["uri"]), (account, artist.did), (record, song["uri"])):
            body = {
                "reasonType": "com.atproto.moderation.defs#reasonViolation",
                "reason": "This is somebody else's song",
                "subject": subject,
            }
            async with plyr.http.post(url, json=body, headers=labeler) as answer:
                said = await answer.json()
                assert answer.status == 200, said
            assert (said["reportedBy"], said["subject"]) == (ben.did, subject)
            found.append((said["id"], at, "report"))
        assert found[0] == found[2]
        async with await psycopg.AsyncConnection.connect(database) as conn:
            rows = await conn.execute("select id, subject, opened_by from moderation_case order by id")
            assert await rows.fetchall() == found[:2]
            rows = await conn.execute("select actor, proof, reason, note from moderation_event")
            assert (
                await rows.fetchall()
                == [(ben.did, "service", "violation", "This is somebody else's song")] * 3
            )
