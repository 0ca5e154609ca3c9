"""Local hosts of many small repos (a child process): `getRepo` from memory, on a port for each host.

A repo is a profile, some tracks, likes, comments and posts of another app: 33 records, 12 of them ours.
Accounts share their records in turns, so that what is signed for each is its commit alone; served by
hand, since a server of the usual kind would take more of the machine than what is measured.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from firehose.car import block_cid, read_car, write_car
from lexicons.syntax import tid_from_us
from tests.bench import children
from tests.fakenet.repo import START_US, FakeRepo, SigningKey, Write, fake_did, signed_block
from tests.fakenet.world import COMMENT, LIKE, POST, PROFILE, TRACK, WHEN, comment, like, track

KINDS = 40  # different contents
OURS = 12
OTHERS = 21
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ipld.car\r\n"


@dataclass(frozen=True, slots=True)
class _Content:
    data: bytes
    rev: str
    blocks: dict[bytes, bytes]


def _contents() -> list[_Content]:
    found: list[_Content] = []
    for kind in range(KINDS):
        repo = FakeRepo(seed=f"content {kind}")
        repo.write(_writes(kind))
        assert repo.rev is not None
        car = read_car(repo.car())
        blocks = {cid: block for cid, block in car.blocks.items() if cid != car.roots[0]}
        found.append(_Content(repo.data, repo.rev, blocks))
    return found


def _writes(kind: int) -> list[Write]:
    def key(n: int) -> str:
        return str(tid_from_us(START_US + kind * 100 + n))

    def song(n: int) -> str:
        """A track of one of the accounts whose content is like this one's."""
        return f"at://{fake_did(f'account {kind + KINDS * n}')}/{TRACK}/{key(n % 4)}"

    profile = {"$type": PROFILE, "bio": f"Plays since {kind}", "createdAt": WHEN}
    return [
        ("create", PROFILE, "self", profile),
        *(("create", TRACK, key(n), track(f"Song {n} of {kind}")) for n in range(4)),
        *(("create", LIKE, key(n), like(song(n))) for n in range(5)),
        *(("create", COMMENT, key(n), comment(song(n), "this part", n * 1000)) for n in range(2)),
        *(("create", POST, key(n), {"$type": POST, "text": f"{n} " * 40}) for n in range(OTHERS)),
    ]


def _car(content: _Content, did: str, key: SigningKey) -> bytes:
    unsigned = {"did": did, "version": 3, "data": content.data, "rev": content.rev, "prev": None}
    commit = signed_block(unsigned, key)
    cid = block_cid(commit)
    return write_car(cid, {cid: commit} | content.blocks)


async def serve(task: dict[str, Any]) -> None:
    """Says the origins and every account's DID, key and host; answers until standard input closes."""
    contents = _contents()
    repos: dict[str, bytes] = {}
    accounts: list[tuple[str, str, int]] = []
    for n in range(task["repos"]):
        did, key = fake_did(f"account {n}"), SigningKey(n)
        body = _car(contents[n % KINDS], did, key)
        head = f"{HEAD}Content-Length: {len(body)}\r\n\r\n"
        repos[did] = head.encode() + body
        accounts.append((did, key.did_key, n % task["hosts"]))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                query = parse_qs(urlsplit(request.split(b" ", 2)[1].decode()).query)
                writer.write(repos[query["did"][0]])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(task["hosts"])]
    origins = [f"http://localhost:{server.sockets[0].getsockname()[1]}" for server in servers]
    size = sum(map(len, repos.values())) / len(repos)
    children.say({"origins": origins, "accounts": accounts, "bytes": size})
    await children.until_input_closes()
    for server in servers:
        server.close()


if __name__ == "__main__":
    children.main(serve)
