"""A running devnet, as tests and the demo hold it: one PLC directory and N real PDSs.

    async with Devnet(pds=2) as net:
        artist = await net.account("ada", pds=0)
        await net.call("com.atproto.repo.createRecord", artist, body={…})

The network dies with its owner: the stdin of its process is a pipe that closes when this one ends,
also by SIGKILL. That process is one for all networks of this one (`house`), unless it shall be its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.devnet import install
from tests.devnet.house import HOUSE

START_TIMEOUT_S = 60
STARTS = 3
STOP_TIMEOUT_S = 15
CALL_TIMEOUT_S = 30


class DevnetFailed(Exception):
    """The network did not come up; the message carries its last words."""


class XrpcFailed(Exception):
    """A server answered an XRPC call with an error."""

    def __init__(self, nsid: str, status: int, error: str, message: str) -> None:
        super().__init__(f"{nsid}: {status} {error}: {message}")
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Pds:
    """One PDS of the network. `seq` of its firehose is asked with `Devnet.last_seq`."""

    index: int
    url: str
    source: str  # ws:// origin of its firehose
    handle_domain: str
    admin_password: str


@dataclass(frozen=True)
class Account:
    """An account that this network made, with a session on its PDS."""

    did: str
    handle: str
    password: str
    pds: int
    access_jwt: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access_jwt}"}


@dataclass(frozen=True)
class Listed:
    """One record as `listRecords` of its PDS shows it."""

    uri: str
    cid: str
    value: dict[str, Any]

    @property
    def collection(self) -> str:
        return self.uri.split("/")[3]


class Devnet:
    """Starts the network on entry, stops it and removes its data on exit."""

    def __init__(
        self, pds: int = 2, *, alone: bool = False, log: Path | None = None, blob_limit: int | None = None
    ) -> None:
        self._options = {"pds": str(pds)}
        if log is not None:
            self._options["log"] = str(log)
        if blob_limit is not None:
            self._options["blob-limit"] = str(blob_limit)
        self._alone = alone or log is not None
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession
        self.plc_url = ""
        self.control_url = ""
        self.pds: tuple[Pds, ...] = ()

    async def __aenter__(self) -> Self:
        folder = await asyncio.to_thread(install.ensure)
        program = await asyncio.to_thread(install.script, folder)
        ready = await self._started(program)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S))
        self.plc_url = ready["plc"]
        self.control_url = ready["control"]
        self.pds = tuple(
            Pds(
                i,
                each["url"],
                each["url"].replace("http://", "ws://"),
                each["handleDomain"],
                each["adminPassword"],
            )
            for i, each in enumerate(ready["pds"])
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._alone:
                await self._control("POST", "/end", {})
        finally:
            await self._session.close()
            await self._end()

    async def _started(self, program: Path) -> dict[str, Any]:
        """What it says once it listens. A port that was free may be somebody's when it is listened on: then
        it begins again, with others."""
        for left in reversed(range(STARTS)):
            try:
                return await (self._started_alone(program) if self._alone else self._housed(program))
            except BaseException as error:
                await self._end()
                if not left or not (isinstance(error, DevnetFailed) and "EADDRINUSE" in str(error)):
                    raise
        raise AssertionError

    async def _housed(self, program: Path) -> dict[str, Any]:
        said = await asyncio.to_thread(HOUSE.network, program, self._options)
        if isinstance(said, str):
            raise DevnetFailed(f"the devnet did not come up: {said[-2000:]}")
        return said

    async def _started_alone(self, program: Path) -> dict[str, Any]:
        self._process = await asyncio.create_subprocess_exec(
            "node",
            str(program),
            *(f"--{name}={value}" for name, value in self._options.items()),
            "--watch-stdin",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is its owner's business first
        )
        return json.loads(await self._first_line(self._process))

    async def _first_line(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        except TimeoutError:
            raise DevnetFailed(f"the devnet was not ready after {START_TIMEOUT_S} s") from None
        if not line:
            words = (await process.stderr.read()).decode(errors="replace").strip()
            raise DevnetFailed(f"the devnet ended at once: {words[-2000:]}")
        self._drain = asyncio.create_task(_discard(process.stderr))
        return line

    async def _end(self) -> None:
        """Of a process of its own."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def service_settings(self) -> dict[str, str]:
        """What `plyr` needs in its environment to read this network, from its first event on."""
        return {
            "PLYR_SOURCES": ",".join(pds.source for pds in self.pds),
            "PLYR_PLC_URL": self.plc_url,
            "PLYR_HANDLE_RESOLVER": self.control_url,
            "PLYR_DEV_LOOPBACK": "true",
            "PLYR_START": "oldest",
        }

    async def call(
        self,
        nsid: str,
        account: Account | None = None,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        mime: str = "application/json",
        pds: int | None = None,
        admin: bool = False,
    ) -> dict[str, Any]:
        """The answer of one XRPC call to the account's PDS (or to PDS `pds`). Raises XrpcFailed.

        A body or data makes it a procedure, neither a query; `data=b""` is a procedure without input.
        """
        host = self.pds[account.pds if pds is None and account is not None else pds or 0]
        headers = dict(account.headers) if account is not None else {}
        if admin:
            token = base64.b64encode(f"admin:{host.admin_password}".encode()).decode()
            headers["authorization"] = f"Basic {token}"
        payload = json.dumps(body).encode() if body is not None else data or None
        if payload is not None:
            headers["content-type"] = mime
        async with self._session.request(
            "GET" if body is None and data is None else "POST",
            f"{host.url}/xrpc/{nsid}",
            params=params,
            data=payload,
            headers=headers,
        ) as answer:
            content = await answer.read()
            value: dict[str, Any] = {}
            if content and "json" in answer.headers.get("content-type", ""):
                value = json.loads(content)
            if answer.status != 200:
                raise XrpcFailed(nsid, answer.status, str(value.get("error")), str(value.get("message")))
            return value

    async def download(self, nsid: str, account: Account, *, params: Mapping[str, str]) -> bytes:
        """The bytes that a query answers with."""
        url = f"{self.pds[account.pds].url}/xrpc/{nsid}"
        async with self._session.get(url, params=params, headers=account.headers) as answer:
            if answer.status != 200:
                raise XrpcFailed(nsid, answer.status, "", await answer.text())
            return await answer.read()

    async def account(self, name: str, pds: int = 0) -> Account:
        """A new account `name` + the PDS's handle domain, signed in."""
        handle, password = name + self.pds[pds].handle_domain, f"hunter2-{name}"
        made = await self.call(
            "com.atproto.server.createAccount",
            pds=pds,
            body={"handle": handle, "email": f"{name}@devnet.test", "password": password},
        )
        return Account(made["did"], handle, password, pds, made["accessJwt"])

    async def accounts(self, names: list[str]) -> list[Account]:
        """Several accounts, spread over the PDSs in turn."""
        limit = asyncio.Semaphore(4)  # each costs the PDS a password hash and a PLC operation

        async def make(i: int, name: str) -> Account:
            async with limit:
                return await self.account(name, i % len(self.pds))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(make(i, name)) for i, name in enumerate(names)]
        return [task.result() for task in tasks]

    async def put(
        self, account: Account, collection: str, rkey: str, record: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`putRecord`'s answer: uri, cid, commit. `$type` is filled in."""
        return await self.call(
            "com.atproto.repo.putRecord",
            account,
            body={
                "repo": account.did,
                "collection": collection,
                "rkey": rkey,
                "record": {"$type": collection, **record},
            },
        )

    async def delete(self, account: Account, collection: str, rkey: str) -> dict[str, Any]:
        return await self.call(
            "com.atproto.repo.deleteRecord",
            account,
            body={"repo": account.did, "collection": collection, "rkey": rkey},
        )

    async def upload_blob(self, account: Account, data: bytes, mime: str) -> dict[str, Any]:
        """A blob reference to put into a record."""
        return (await self.call("com.atproto.repo.uploadBlob", account, data=data, mime=mime))["blob"]

    async def collections(self, account: Account) -> list[str]:
        described = await self.call(
            "com.atproto.repo.describeRepo", pds=account.pds, params={"repo": account.did}
        )
        return described["collections"]

    async def list_records(self, account: Account, collection: str) -> list[Listed]:
        """Every record of one collection, as the PDS lists them without authentication."""
        return [record async for record in self._pages(account, collection)]

    async def _pages(self, account: Account, collection: str) -> AsyncIterator[Listed]:
        cursor: str | None = None
        while True:
            params: dict[str, str | int] = {"repo": account.did, "collection": collection, "limit": 100}
            if cursor is not None:
                params["cursor"] = cursor
            page = await self.call("com.atproto.repo.listRecords", pds=account.pds, params=params)
            for record in page["records"]:
                yield Listed(record["uri"], record["cid"], record["value"])
            cursor = page.get("cursor")
            if cursor is None or not page["records"]:
                return

    async def stop_pds(self, index: int) -> None:
        """An outage: connections are refused until `start_pds`. Requests under way end first."""
        await self._control("POST", "/stop", {"pds": str(index)})

    async def start_pds(self, index: int) -> None:
        """The end of an outage: same port, same data."""
        await self._control("POST", "/start", {"pds": str(index)})

    async def last_seq(self, index: int) -> int:
        """The seq of the newest event in a PDS's firehose; 0 while there is none, or while it is down."""
        return (await self._control("GET", "/", {}))["pds"][index]["seq"] or 0

    async def limit_firehose(self, index: int, **limits: int) -> None:
        """Changes a running PDS's firehose: `backfillMs=1` makes old cursors outdated, for one."""
        await self._control("POST", "/firehose", {"pds": str(index)} | {k: str(v) for k, v in limits.items()})

    async def mail(self) -> list[dict[str, Any]]:
        """Every e-mail that a PDS has sent: {pds, to, subject, body}."""
        return await self._control("GET", "/mail", {})

    async def serve(self, origin: str, target: str) -> None:
        """From now on the PDSs find an OAuth client's https `origin` at `target`, a port of localhost."""
        await self._control("POST", "/origin", {"origin": origin, "target": target})

    async def speak_for_lexicons(self, account: Account) -> None:
        """From now on the PDSs take every schema, of permission sets for one, from this account's repo."""
        await self._control("POST", "/lexicon-authority", {"did": account.did})

    async def _control(self, method: str, path: str, params: Mapping[str, str]) -> Any:
        async with self._session.request(method, self.control_url + path, params=params) as answer:
            value = await answer.json()
            if answer.status != 200:
                raise DevnetFailed(f"the devnet's {path}: {value}")
            return value


async def _discard(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
