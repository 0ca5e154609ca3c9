"""A repo from its CAR, as `getRepo` gives it: commit, tree and records, all proven.

`RepoFile` reads a file of any size and gives the records of some collections: all that the signed
root commits to, each hashed, with the tree nodes on the way; the rest of the file need not even be
there. `read_repo` has the whole repo in memory. More blocks than needed are tolerated (rule E5).

    with RepoFile.open(path) as repo:
        head = repo.verify(key)
        for path, cid, block in repo.records(["fm.plyr.track", "fm.plyr.like"]): ...
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from firehose import mst
from firehose.car import BadCar, read_car, write_car
from firehose.car_file import CarFile
from firehose.commit import MAX_RECORD, SignedCommit, read_commit
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason
from firehose.subtree import EVERYTHING, Bounds, bounds_of, is_inside, walk_ranges
from lexicons.datamodel import cid_str
from lexicons.syntax import Cid, Did, Rev

MAX_PROOF = 4 * 1024 * 1024
_MIN_NEEDLE = 4


class Head(NamedTuple):
    """What a repo's newest commit says of it: `cid` is the commit's own, `data` the tree's root."""

    did: Did
    rev: Rev
    cid: Cid
    data: Cid


class RepoFile:
    """A repo in a CAR file; use it as a context manager. All methods raise `CommitRejected`.

    The catch: `whole` apart, of other collections nothing is looked at, and their absence not seen.
    """

    def __init__(self, car: CarFile) -> None:
        self._car = car
        self._commit: SignedCommit | None = None
        self._proofs: dict[Bounds, bytes | None] = {}

    @classmethod
    def open(cls, file: Path | BinaryIO) -> Self:
        """Reads the header alone. A file that the caller opened is not closed, and must not change."""
        with _rejecting():
            return cls(CarFile(file))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._car.close()

    def verify(self, key: PublicKey | None) -> Head:
        """The signed head. Without a key the signature is not checked.

        Whether it is the right account, and a rev to go by, is for the caller.
        """
        root = self._car.roots[0]
        block = self._commit_block(root)
        commit = read_commit({} if block is None else {root: block}, root)
        if key is not None and not key.verify(commit.message, commit.sig):
            raise CommitRejected(Reason.BAD_SIGNATURE, f"not signed by {key.did_key}")
        self._commit = commit
        return Head(commit.did, commit.rev, cid_str(root), cid_str(commit.data))

    def records(
        self, collections: Iterable[str] | None, *, whole: bool = False
    ) -> Iterator[tuple[str, Cid, bytes]]:
        """Path, CID and block of every record of these collections, in the tree's order; None for all.

        `whole` checks all other nodes and records, too. Before an error comes all that the repo has up
        to there; what lies behind is not known. A path is printable ASCII below the collection; whether
        it is a record key is for the caller.
        """
        bounds = EVERYTHING if collections is None else bounds_of(collections)
        route = EVERYTHING if whole else bounds
        with _rejecting():
            self._car.index(_needle(route))
            nodes = _Nodes()
            for key, cid in walk_ranges(self._car.get, self._signed().data, route, nodes.add):
                block = self._car.get(cid)
                if block is None:
                    raise CommitRejected(Reason.MISSING_BLOCK, f"no block for the record {_text(key)}")
                if route is not bounds and not is_inside(bounds, key):
                    continue
                path = _text(key)
                if len(block) > MAX_RECORD:
                    raise CommitRejected(Reason.TOO_BIG, f"{path} has {len(block)} bytes")
                yield path, cid_str(cid), block
            self._proofs[route] = self._proof(nodes)

    def proof(self, collections: Iterable[str] | None) -> bytes | None:
        """A CAR of the commit and the nodes that lead to these collections' records, without records.

        None if it would be larger than 4 MiB. It costs nothing after `records` came to its end.
        """
        bounds = EVERYTHING if collections is None else bounds_of(collections)
        if bounds not in self._proofs:
            with _rejecting():
                nodes = _Nodes()
                self._car.index(_needle(bounds))
                for _ in walk_ranges(self._car.get, self._signed().data, bounds, nodes.add):
                    if nodes.size > MAX_PROOF:
                        break
                self._proofs[bounds] = self._proof(nodes)
        return self._proofs[bounds]

    def _commit_block(self, root: bytes) -> bytes | None:
        """The commit's block, out of the first section if it is there: a forged repo ends here."""
        with _rejecting():
            first = self._car.first()
            if first is None or first[0] != root:
                return self._car.get(root)
            if sha256(first[1]).digest() != root[4:]:
                raise BadCar("the commit's block does not hash to its CID")
            return first[1]

    def _signed(self) -> SignedCommit:
        if self._commit is None:
            raise RuntimeError("the repo was not verified")
        return self._commit

    def _proof(self, nodes: _Nodes) -> bytes | None:
        if nodes.size > MAX_PROOF:
            return None
        root, commit = self._car.roots[0], self._commit_block(self._car.roots[0])
        assert commit is not None, "it was read before"
        blocks = nodes.blocks or {mst.EMPTY: mst.EMPTY_NODE}
        return write_car(root, {root: commit} | blocks)


class _Nodes:
    """The nodes of a proof, none of them once they are too many."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.size = 0

    def add(self, cid: bytes, raw: bytes) -> None:
        self.size += len(cid) + len(raw)
        if self.size > MAX_PROOF:
            self.blocks.clear()
        else:
            self.blocks[cid] = raw


def _needle(bounds: Bounds) -> bytes:
    """What nearly every record in the ranges holds, in its `$type`; empty if that is too little."""
    shared = mst.common_prefix(bounds[0], bounds[-1]) if bounds else 0
    return bounds[0][:shared] if shared >= _MIN_NEEDLE else b""


def _text(key: bytes) -> str:
    try:
        return key.decode("ascii")
    except UnicodeDecodeError:
        raise CommitRejected(Reason.BAD_TREE, "a key is no path") from None


@contextmanager
def _rejecting() -> Generator[None]:
    """The file's faults as reasons."""
    try:
        yield
    except BadCar as error:
        raise CommitRejected(Reason.BAD_CAR, str(error)) from None
    except mst.Missing as error:
        raise CommitRejected(Reason.MISSING_BLOCK, str(error)) from None
    except mst.BadTree as error:
        raise CommitRejected(Reason.BAD_TREE, str(error)) from None


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo at one commit. `records` gives path, CID and block in the order of the tree.

    `prev` is a leftover of older versions of the protocol, None nowadays.
    """

    did: Did
    rev: Rev
    cid: Cid
    data: Cid
    prev: Cid | None
    records: tuple[tuple[str, Cid, bytes], ...]


def read_repo(data: bytes, key: PublicKey | None) -> Repo:
    """The repo in the CAR `data`; raises `CommitRejected`. Without a key its signature is not checked."""
    try:
        car = read_car(data)
    except BadCar as error:
        raise CommitRejected(Reason.BAD_CAR, str(error)) from None
    commit = read_commit(car.blocks, car.roots[0])
    if key is not None and not key.verify(commit.message, commit.sig):
        raise CommitRejected(Reason.BAD_SIGNATURE, f"not signed by {key.did_key}")
    try:
        records = tuple(_records(car.blocks, commit.data))
    except mst.Missing as error:
        raise CommitRejected(Reason.MISSING_BLOCK, str(error)) from None
    except mst.BadTree as error:
        raise CommitRejected(Reason.BAD_TREE, str(error)) from None
    return Repo(
        did=commit.did,
        rev=commit.rev,
        cid=cid_str(car.roots[0]),
        data=cid_str(commit.data),
        prev=None if commit.prev is None else cid_str(commit.prev),
        records=records,
    )


def _records(blocks: dict[bytes, bytes], root: bytes) -> Iterator[tuple[str, Cid, bytes]]:
    for key, cid in mst.walk(blocks, root):
        if not key.isascii():
            raise CommitRejected(Reason.BAD_TREE, "a key is no path")
        path, block = key.decode(), blocks.get(cid)
        if block is None:
            raise CommitRejected(Reason.MISSING_BLOCK, f"no block for the record {path}")
        yield path, cid_str(cid), block
