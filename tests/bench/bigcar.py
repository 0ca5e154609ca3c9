"""(e) Our subtrees out of a listener's big repo, against the SDK's reading of the same CAR.

Ours is `firehose.repo.RepoFile`: the file gone over, the commit's signature checked, and every
record of our collections proven from the signed root, by pread. The SDK's `CAR.from_bytes` decodes
all blocks of a file that it holds in memory, and checks no hash, no tree and no signature.

Then a repo in which every one of up to 1,000,000 records is ours, for its peak memory: that is
judged too, for it says nothing about the machine.

Gate: the records are those that were written, byte by byte; the SDK finds as many blocks as were
written; a file cut behind any of twenty blocks that lacks something of ours is refused, and so is
another account's key.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import libipld

from firehose.keys import PublicKey
from firehose.message import CommitRejected
from firehose.repo import RepoFile
from lexicons.syntax import tid_from_us
from tests.bench import children, machine
from tests.bench.measure import Finding, Goal, Pair, Sample, Target, WrongAnswer, contest, interleave
from tests.bench.options import Options
from tests.fakenet.bigrepo import write_repo
from tests.fakenet.repo import SigningKey, fake_did

RATIO = 8
PEAK_BYTES = 300_000_000
GOAL_PER_SECOND = 50_000
COLLECTIONS = ("fm.plyr.like", "fm.plyr.track")
KEY = SigningKey("bigcar")

_DID = fake_did("bigcar")
_REV = str(tid_from_us(1_783_175_888_000_000))
_CID = "bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza"
_OTHERS = (
    ("app.bsky.feed.like", 0.6),
    ("app.bsky.feed.post", 0.2),
    ("app.bsky.feed.repost", 0.08),
    ("app.bsky.graph.follow", 0.12),
)


@dataclass(frozen=True, slots=True)
class Written:
    """A file, and what a reader has to find in it."""

    file: str
    size: int
    blocks: int
    records: int
    digest: str


async def run(options: Options) -> Finding:
    """Time both sides, each time in processes of their own pinned to one core."""
    mixed = write(options.scratch / "mixed.car", options.size(200_000, 60_000), share=0.02)
    check(mixed)
    core = (machine.cores() or (None, None))[1]

    async def one(side: str, written: Written) -> Sample:
        child = await children.Child.start("tests.bench.bigcar", {"side": side, **asdict(written)}, core=core)
        async with child:
            answer = await child.answer(300)
        if "wrong" in answer:
            raise WrongAnswer(answer["wrong"])
        return children.sample_of(answer)

    async def ours() -> Sample:
        return await one("plyr", mixed)

    async def sdk() -> Sample:
        return await one("sdk", mixed)

    pairs: list[Pair] = await interleave(options.size(5, 3), ours, sdk)
    full = write(options.scratch / "full.car", options.size(1_000_000, 100_000), share=1)
    large = await one("plyr", full)
    mine, other = contest("plyr, verified", "SDK's CAR.from_bytes", pairs)
    return Finding(
        name="bigcar",
        title=f"our subtrees of a repo of {mixed.size / 1e6:.0f} MB",
        unit="block",
        contestants=(mine, other),
        targets=(
            Target("of the SDK's CAR.from_bytes", tuple(pair.by_cpu for pair in pairs), RATIO),
            Target(
                f"less memory than 300 MB, reading {full.records:,} records in {full.size / 1e6:.0f} MB",
                (PEAK_BYTES / large.peak_bytes,),
                1,
            ),
        ),
        goals=(
            Goal("verified per second and core", large.n / large.cpu_s, GOAL_PER_SECOND, "blocks/s"),
            Goal(
                "peak memory of the large repo", large.peak_bytes / 1e6, PEAK_BYTES / 1e6, "MB", at_most=True
            ),
        ),
        gates=(
            f"{mixed.records:,} records in {mixed.blocks:,} blocks, and all {full.records:,}, as written",
            "cut files that lack something of ours refused, and another key",
        ),
    )


def write(path: Path, count: int, share: float) -> Written:
    """A repo of so many records, this share of them ours, sizes and collections as people have them."""
    told = sha256()
    ours = 0

    def noted() -> Iterator[tuple[str, bytes]]:
        nonlocal ours
        for name, block in _records(count, share):
            if name.startswith(COLLECTIONS):
                ours += 1
                _note(told, name, block)
            yield name, block

    with path.open("w+b") as file:
        _, blocks = write_repo(file, _DID, KEY, _REV, noted())
    return Written(str(path), path.stat().st_size, blocks, ours, told.hexdigest())


def check(written: Written) -> None:
    """The gate for what must be refused. Raises WrongAnswer."""
    data = Path(written.file).read_bytes()
    for part in range(1, 21):
        cut = io.BytesIO(data[: len(data) * part // 21])
        try:
            read(cut)
        except CommitRejected:
            continue
        raise WrongAnswer("a file that was cut was read as a whole one")
    try:
        RepoFile.open(io.BytesIO(data)).verify(PublicKey.parse(SigningKey("another").did_key))
    except CommitRejected:
        return
    raise WrongAnswer("another account's key was accepted")


def read(file: Path | io.BytesIO) -> tuple[int, str]:
    """How many records of ours there are, and the digest of them all."""
    told, count = sha256(), 0
    with RepoFile.open(file) as repo:
        repo.verify(PublicKey.parse(KEY.did_key))
        for name, _, block in repo.records(COLLECTIONS):
            count += 1
            _note(told, name, block)
    return count, told.hexdigest()


def _note(told: Any, name: str, block: bytes) -> None:
    told.update(name.encode())
    told.update(block)


def _records(count: int, share: float) -> Iterator[tuple[str, bytes]]:
    dice = random.Random(count)
    us = 1_600_000_000_000_000
    ours = round(count * share)
    parts = [(name, round((count - ours) * part)) for name, part in _OTHERS]
    for name, number in [*parts, ("fm.plyr.like", ours - ours // 10), ("fm.plyr.track", ours // 10)]:
        for n in range(number):
            us += dice.randrange(10**5, 10**7)
            yield f"{name}/{tid_from_us(us, n & 1023)}", libipld.encode_dag_cbor(_record(name, us, dice))


def _record(name: str, us: int, dice: random.Random) -> dict[str, Any]:
    uri = f"at://did:plc:{dice.randbytes(12).hex()}/{name}/{tid_from_us(us, 1)}"
    record: dict[str, Any] = {"$type": name, "createdAt": f"2026-07-04T14:38:08.{us % 10**6:06d}Z"}
    if name == "app.bsky.feed.post":
        record |= {"text": dice.randbytes(dice.randrange(10, 100)).hex(), "langs": ["en"]}
        if dice.random() < 0.5:
            record["reply"] = {"root": {"uri": uri, "cid": _CID}, "parent": {"uri": uri, "cid": _CID}}
    elif name == "app.bsky.graph.follow":
        record["subject"] = uri[5:37]
    elif name == "fm.plyr.track":
        record |= {"title": uri[-30:], "artist": "somebody", "duration": us % 1000, "fileType": "mp3"}
    else:
        record["subject"] = {"uri": uri, "cid": _CID}
    return record


async def measure(task: dict[str, Any]) -> None:
    """One reading of the file, timed without imports."""
    side = task.pop("side")
    task.pop("core")
    written = Written(**task)
    path = Path(written.file)
    if side == "plyr":
        started, cpu = time.perf_counter(), time.process_time()
        found: Any = read(path)
        expected: Any = (written.records, written.digest)
    else:
        from atproto import CAR

        started, cpu = time.perf_counter(), time.process_time()
        found = len(CAR.from_bytes(path.read_bytes()).blocks)
        expected = written.blocks
    sample = Sample(
        written.blocks, time.perf_counter() - started, time.process_time() - cpu, machine.own_peak_bytes()
    )
    if found != expected:
        children.say({"wrong": f"{side}: got {found}, expected {expected}"})
        return
    children.say(children.sample_json(sample))


if __name__ == "__main__":
    children.main(measure)
