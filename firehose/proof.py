"""The slice of a commit's blocks that proves one record: commit, tree nodes on the way, record.

What `com.atproto.sync.getRecord` answers on a PDS, for a commit that may be long past. Whoever holds
the account's key of that time needs nothing else, and nobody's word (sync spec, "Fetching records").
"""

from __future__ import annotations

from bisect import bisect_left

from firehose import mst
from firehose.car import BadCar, block_cid, read_car, write_car
from firehose.commit import read_commit
from firehose.message import CommitRejected


class NoProof(Exception):
    """These blocks do not lead from a commit to this record; the message says where the way ends."""


def record_proof(car: bytes, path: str, block: bytes) -> bytes:
    """A CAR with exactly the blocks that lead from the commit, root of `car`, to `block` under `path`.

    Raises `NoProof`. The signature is not checked: only what was verified is kept.
    """
    try:
        blocks = read_car(car)
        root = blocks.roots[0]
        commit = read_commit(blocks.blocks, root)
        way = _way(mst.Tree(blocks.blocks, commit.data), path.encode(), block_cid(block))
    except (BadCar, CommitRejected, mst.Missing, mst.BadTree) as error:
        raise NoProof(str(error)) from None
    out = {cid: blocks.blocks[cid] for cid in (root, *way)}
    out[block_cid(block)] = block
    return write_car(root, out)


def _way(tree: mst.Tree, key: bytes, value: bytes) -> list[bytes]:
    """The CIDs of the nodes from the root to the one that has `key` with this value."""
    cids: list[bytes] = []
    cid: bytes | None = tree.root
    for node in tree.path(key):
        assert cid is not None
        cids.append(cid)
        at = bisect_left(node.keys, key)
        if key in node.keys[at : at + 1]:
            if node.vals[at] != value:
                raise NoProof(f"{key.decode()} is another version there")
            return cids
        cid = node.subs[at]
    raise NoProof(f"{key.decode()} is not there")
