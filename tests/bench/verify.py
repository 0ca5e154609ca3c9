"""(b) Full verification of real commits on one core, against their hashing and signature checks alone.

Ours is `firehose.commit.verify_commit`: the CAR split and every block hashed, the commit
object and its operations checked, the signature, and the MST inverted to `prevData`. The
limit hashes the same blocks, split beforehand, and calls libsecp256k1 on the same
signatures, and does nothing else at all: no implementation in any language does less.

Gate: the 148 commits give exactly the operations that an independent implementation
printed, and each of them is refused after one flipped bit in its signature, in a block, and
in `prevData`.
"""

from __future__ import annotations

import cProfile
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import libipld
from coincurve import PublicKey as Secp256k1Key
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from firehose.car import read_car
from firehose.commit import verify_commit
from firehose.events import Commit
from firehose.frames import decode_frame
from firehose.keys import PublicKey
from firehose.message import CommitRejected
from tests.bench import children, corpus, machine, profiling
from tests.bench.measure import Finding, Goal, Pair, Sample, Target, WrongAnswer, contest, require_equal
from tests.bench.options import Options

RATIO = 0.45
GOAL_PER_SECOND = 4_000


@dataclass(frozen=True, slots=True)
class _Bare:
    """What is left of a commit when only its hashes and its signature count."""

    blocks: tuple[bytes, ...]
    unsigned: bytes
    signature: bytes
    key: Any


async def run(options: Options) -> Finding:
    """Time verification in a process of its own, pinned to one core."""
    cores = machine.cores()
    task = {
        "rounds": 6 if options.quick else 30,
        "pairs": 5 if options.quick else 15,
        "profile": options.profile,
    }
    child = await children.Child.start("tests.bench.verify", task, core=cores[1] if cores else None)
    async with child:
        answer = await child.answer(300)
    if "wrong" in answer:
        raise WrongAnswer(answer["wrong"])
    pairs = [Pair(children.sample_of(ours), children.sample_of(limit)) for ours, limit in answer["pairs"]]
    ours, limit = contest("plyr", "sha-256 + libsecp256k1 alone", pairs)
    return Finding(
        name="verify",
        title="full verification of real commits, one core",
        unit="commit",
        contestants=(ours, limit),
        targets=(Target("of the limit", tuple(pair.by_cpu for pair in pairs), RATIO),),
        goals=(
            Goal("verified per second and core", ours.typical.per_cpu_second, GOAL_PER_SECOND, "commits/s"),
        ),
        gates=tuple(answer["gates"]),
        profiles={"verify": answer["profile"]} if answer["profile"] else {},
    )


def check(bodies: list[dict[str, Any]], keys: dict[str, PublicKey], now_us: int) -> tuple[str, ...]:
    """The gate. Raises WrongAnswer; returns what held, in words."""
    seen: list[tuple[str, str, str, str, str, str | None]] = []
    for body in bodies:
        commit = verify_commit(body, keys[body["repo"]], now_us)
        seen += _operations(commit)
    require_equal(
        "operations of the corpus", sorted(seen, key=str), sorted(corpus.expected_operations(), key=str)
    )
    refused = 0
    for body in bodies:
        for spoilt in spoil(body):
            try:
                verify_commit(spoilt, keys[body["repo"]], now_us)
            except CommitRejected:
                refused += 1
            else:
                raise WrongAnswer(f"a spoilt commit of {body['repo']} was verified")
    return (
        f"{len(bodies)} commits verified, all {len(seen)} operations as expected_v1.jsonl has them",
        f"{refused} spoilt commits refused",
    )


def spoil(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The same commit three times, each with one bit flipped where a check must see it."""
    blocks: bytes = body["blocks"]
    car = read_car(blocks)
    signature = libipld.decode_dag_cbor(car.blocks[body["commit"]])["sig"]
    at = blocks.index(signature)
    previous: bytes = body["prevData"]
    return [
        {**body, "blocks": _flip(blocks, at + 40)},
        {**body, "blocks": _flip(blocks, len(blocks) - 1)},
        {**body, "prevData": _flip(previous, len(previous) - 1)},
    ]


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def _operations(commit: Commit) -> list[tuple[str, str, str, str, str, str | None]]:
    return [(commit.did, commit.rev, op.action.value, op.collection, op.rkey, op.cid) for op in commit.ops]


def bare(body: dict[str, Any], did_key: Secp256k1Key) -> _Bare:
    """A commit taken apart beforehand, for the limit."""
    car = read_car(body["blocks"])
    commit: dict[str, Any] = libipld.decode_dag_cbor(car.blocks[body["commit"]])
    signature: bytes = commit.pop("sig")
    return _Bare(tuple(car.blocks.values()), libipld.encode_dag_cbor(commit), signature, did_key.public_key)


def hash_and_check(commits: list[_Bare], signature: Any) -> None:
    """The limit: each block hashed, each signature checked by the C library."""
    context = GLOBAL_CONTEXT.ctx
    for commit in commits:
        for block in commit.blocks:
            sha256(block).digest()
        lib.secp256k1_ecdsa_signature_parse_compact(context, signature, commit.signature)
        digest = sha256(commit.unsigned).digest()
        if lib.secp256k1_ecdsa_verify(context, signature, digest, commit.key) != 1:
            raise WrongAnswer("libsecp256k1 refused a real signature")


async def measure(task: dict[str, Any]) -> None:
    frames = [decode_frame(raw) for raw in corpus.frames()]
    bodies = [frame.body for frame in frames if getattr(frame, "type", "") == "#commit"]  # type: ignore[union-attr]
    did_keys = corpus.signing_keys()
    keys = {did: PublicKey.parse(key) for did, key in did_keys.items()}
    now_us = time.time_ns() // 1000
    try:
        gates = check(bodies, keys, now_us)
        commits = [bare(body, _secp256k1(did_keys[body["repo"]])) for body in bodies]
        signature = ffi.new("secp256k1_ecdsa_signature *")

        def ours() -> None:
            for body in bodies:
                verify_commit(body, keys[body["repo"]], now_us)

        def limit() -> None:
            hash_and_check(commits, signature)

        pairs = [
            (_timed(ours, len(bodies), task["rounds"]), _timed(limit, len(bodies), task["rounds"]))
            for _ in range(task["pairs"])
        ]
    except WrongAnswer as wrong:
        children.say({"wrong": str(wrong)})
        return
    profile = ""
    if task["profile"]:
        profiler = cProfile.Profile(time.process_time)
        profiler.enable()
        ours()
        profiler.disable()
        profile = profiling.top_ten(profiler, len(bodies), "commit")
    children.say({"pairs": pairs, "gates": gates, "profile": profile})


def _secp256k1(did_key: str) -> Secp256k1Key:
    multibase = did_key.removeprefix("did:key:z")
    number = 0
    for character in multibase:
        number = number * 58 + _BASE58.index(character)
    raw = number.to_bytes(35, "big")
    if raw[:2] != b"\xe7\x01":
        sys.exit("the corpus holds a key that is not secp256k1: the limit cannot be measured with it")
    return Secp256k1Key(raw[2:])


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _timed(body: Callable[[], None], n: int, rounds: int) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        body()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    return children.sample_json(Sample(n * rounds, wall_s, cpu_s, machine.own_peak_bytes()))


if __name__ == "__main__":
    children.main(measure)
