"""A PDS: the repos of some accounts behind `com.atproto.sync.*`, as the reference server answers.

    async with FakePds() as pds:
        pds.host(repo)                          # active
        pds.status[repo.did] = "deactivated"    # or takendown, suspended, …
        pds.drop(repo.did)                      # RepoNotFound from now on
        pds.fail(Fault.TRUNCATED, GET_REPO, repo.did)

It has no firehose: its events go to a `FakeRelay`, which may be its own (`FakeRelay(listing=pds.page)`).
What a host does that lies is in `Fault`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import libipld

from firehose.car import read_car, write_car
from tests.fakenet.http import Page, json_page
from tests.fakenet.repo import FakeRepo, SigningKey, resign
from tests.fakenet.server import Fault, XrpcServer, xrpc_error

GET_REPO = "com.atproto.sync.getRepo"
GET_REPO_STATUS = "com.atproto.sync.getRepoStatus"
GET_LATEST_COMMIT = "com.atproto.sync.getLatestCommit"
LIST_REPOS = "com.atproto.sync.listRepos"
LIST_REPOS_BY_COLLECTION = "com.atproto.sync.listReposByCollection"
DESCRIBE_REPO = "com.atproto.repo.describeRepo"
DESCRIBE_SERVER = "com.atproto.server.describeServer"

# What a host says instead of an account's content, by its status; any other hides nothing.
REFUSALS = {"deactivated": "RepoDeactivated", "takendown": "RepoTakendown", "suspended": "RepoSuspended"}


class FakePds(XrpcServer):
    """`repos` by DID; `status` where it is another than active. `relays`: whether it is none, but what a
    relay answers with; `collects`: whether that has `listReposByCollection`. `page_size` bounds listings."""

    def __init__(
        self, *, relays: bool = False, collects: bool = False, page_size: int = 500, patience_s: float = 60
    ) -> None:
        super().__init__(patience_s=patience_s)
        self.repos: dict[str, FakeRepo] = {}
        self.status: dict[str, str] = {}
        self.past: dict[str, bytes] = {}  # CARs of a while ago, for `Fault.STALE`
        self._relays = relays or collects
        self._collects = collects
        self._page_size = page_size

    def host(self, repo: FakeRepo, status: str | None = None) -> None:
        self.repos[repo.did] = repo
        self.set_status(repo.did, status)

    def set_status(self, did: str, status: str | None) -> None:
        if status is None:
            self.status.pop(did, None)
        else:
            self.status[did] = status

    def drop(self, did: str) -> None:
        for kept in (self.repos, self.status, self.past):
            kept.pop(did, None)

    def remember(self, did: str) -> None:
        """What `Fault.STALE` will serve."""
        if self.repos[did].commit is not None:
            self.past[did] = self.repos[did].car()

    def page(self, nsid: str, query: dict[str, str]) -> Page:
        if nsid == LIST_REPOS:
            return self._listing(query, [self._listed(repo) for repo in self._written()])
        if nsid == LIST_REPOS_BY_COLLECTION and self._collects:
            wanted = query.get("collection", "")
            return self._listing(
                query, [{"did": repo.did} for repo in self._written() if wanted in collections_of(repo)]
            )
        if nsid == DESCRIBE_SERVER and not self._relays:
            return json_page({"did": "did:web:localhost", "availableUserDomains": [".test"]})
        answer = {
            GET_REPO: self._repo,
            GET_REPO_STATUS: self._repo_status,
            GET_LATEST_COMMIT: self._latest_commit,
            DESCRIBE_REPO: self._description,
        }.get(nsid)
        if answer is None:
            return xrpc_error("MethodNotImplemented", f"no {nsid} here", 501)
        did = query.get("did") or query.get("repo") or ""
        if (repo := self.repos.get(did)) is None:
            return xrpc_error("RepoNotFound", f"Could not find repo for DID: {did}")
        if nsid != GET_REPO_STATUS and (error := REFUSALS.get(self.status.get(did, ""))):
            return xrpc_error(error, f"Repo has been {self.status[did]}: {did}")
        return answer(repo)

    def spoil(self, fault: Fault, query: dict[str, str], good: Page) -> Page:
        """The CAR with a fault in it; as it is where it has nothing that could be spoiled so."""
        did = query.get("did", "")
        if fault is Fault.TRUNCATED:
            return _car(truncated(good.body, at_boundary=self.asked[GET_REPO, did] % 2 == 0))
        if fault is Fault.STALE:
            return _car(self.past[did]) if did in self.past else good
        if fault is Fault.FORGED:
            return _car(resign({"blocks": good.body}, SigningKey("forger"))["blocks"])
        if fault is Fault.OTHER:
            other = FakeRepo(seed=f"somebody beside {did}")
            other.write([("create", "app.bsky.feed.post", "other", {"$type": "app.bsky.feed.post"})])
            return _car(other.car())
        spoilt = _SPOILERS[fault](good.body)
        return good if spoilt is None else _car(spoilt)

    def _written(self) -> list[FakeRepo]:
        return [repo for _, repo in sorted(self.repos.items()) if repo.commit is not None]

    def _listing(self, query: Mapping[str, str], items: list[dict[str, Any]]) -> Page:
        """One page in order of DID; the cursor is the last DID of the page before."""
        rest = [item for item in items if item["did"] > query.get("cursor", "")]
        page = rest[: min(self._page_size, int(query.get("limit", "500")))]
        more = {"cursor": page[-1]["did"]} if len(rest) > len(page) else {}
        return json_page({"repos": page} | more)

    def _listed(self, repo: FakeRepo) -> dict[str, Any]:
        assert repo.commit is not None
        head = {"did": repo.did, "head": libipld.encode_cid(repo.commit), "rev": repo.rev}
        return head | self._standing(repo.did)

    def _standing(self, did: str) -> dict[str, Any]:
        status = self.status.get(did)
        return {"active": True} if status is None else {"active": status not in REFUSALS, "status": status}

    def _repo(self, repo: FakeRepo) -> Page:
        return xrpc_error("RepoNotFound", "nothing written") if repo.commit is None else _car(repo.car())

    def _repo_status(self, repo: FakeRepo) -> Page:
        standing = {"did": repo.did, **self._standing(repo.did)}
        return json_page(standing | ({"rev": repo.rev} if standing["active"] and repo.rev else {}))

    def _latest_commit(self, repo: FakeRepo) -> Page:
        if repo.commit is None:
            return xrpc_error("RepoNotFound", "nothing written")
        return json_page({"cid": libipld.encode_cid(repo.commit), "rev": repo.rev})

    def _description(self, repo: FakeRepo) -> Page:
        about = {"handle": repo.handle, "did": repo.did, "didDoc": repo.did_doc(self.origin)}
        return json_page(about | {"collections": sorted(collections_of(repo)), "handleIsCorrect": True})


def collections_of(repo: FakeRepo) -> set[str]:
    """The collections that have a record."""
    return {path.partition("/")[0] for path, _ in repo.listing()}


def truncated(car: bytes, *, at_boundary: bool) -> bytes:
    """Without its end: cut between two blocks, or within one."""
    if not at_boundary:
        return car[: len(car) * 2 // 3]
    blocks = list(read_car(car).blocks.items())
    return write_car(read_car(car).roots[0], dict(blocks[: max(1, len(blocks) * 2 // 3)]))


def _car(body: bytes) -> Page:
    return Page(body, 200, {"Content-Type": "application/vnd.ipld.car"})


def _is_node(block: bytes) -> bool:
    return libipld.decode_dag_cbor(block).keys() == {"e", "l"}


def _edited(car: bytes, nodes: bool, edit: Callable[[dict[bytes, bytes], bytes], None]) -> bytes | None:
    """With `edit` done to the middle one of its tree nodes, or of its records; None if it has none."""
    read = read_car(car)
    root, blocks = read.roots[0], dict(read.blocks)
    found = [cid for cid, block in blocks.items() if cid != root and _is_node(block) is nodes]
    if not found:
        return None
    edit(blocks, found[len(found) // 2])
    return write_car(root, blocks)


def _flip(blocks: dict[bytes, bytes], cid: bytes) -> None:
    blocks[cid] = blocks[cid][:-1] + bytes([blocks[cid][-1] ^ 1])


def _drop(blocks: dict[bytes, bytes], cid: bytes) -> None:
    del blocks[cid]


_SPOILERS: dict[Fault, Callable[[bytes], bytes | None]] = {
    Fault.FLIPPED: lambda car: _edited(car, False, _flip),
    Fault.MISSING: lambda car: _edited(car, False, _drop),
    Fault.PRUNED: lambda car: _edited(car, True, _drop),
}
