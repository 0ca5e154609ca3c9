"""(q) Our own scanner: a track's fingerprint asked for in an index of 100,000, one question at a time.

Fingerprints are made up such that words follow each other and meet in other tracks as those of sounds do:
a bit flips every ninth word, two words share their steady bits once in a million pairs (in the catalogue of
test_fingerprint.py, 0.8 times). Asked are whole tracks of which 5 % of the bits differ, cuts of 20 s of such,
and what nobody has: as it is, and with its variants at other speeds, for which a scan asks in that case. One
connection, no parallel workers: an answer is the work of one core.

Gate: each copy and each cut finds the track that it is of, and nothing else; what nobody has finds nothing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np
import psycopg

from appview.moderation.fingerprint import Variant, matches
from appview.moderation.terms import terms
from appview.moderation.variants import SPEEDS
from lexicons.syntax import Did
from tests.bench import database, machine
from tests.bench.measure import Contestant, Finding, Goal, Sample, Target, require_equal
from tests.bench.options import Options

if TYPE_CHECKING:
    from appview.moderation.terms import Words

GOAL_S = 0.25
WORDS, CUT, BLOCK = 1_700, 140, 5_000  # 3 minutes and a half; 20 s
_HERE, _ELSEWHERE = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")


async def run(options: Options, postgres: database.Server) -> Finding:
    tracks, asked = options.size(100_000, 10_000), options.size(60, 30)
    dsn = await postgres.fresh("scan")
    dice = np.random.default_rng(1)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        samples: dict[int, Words] = {}
        await conn.execute("drop index fingerprint_terms")
        for first in range(0, tracks, BLOCK):
            block = _fingerprints(dice, BLOCK)
            await _add(conn, first, block)
            for number in range(0, BLOCK, max(1, tracks // asked)):
                samples[first + number] = block[number]
        await conn.execute("create index fingerprint_terms on fingerprint using gin (terms)")
        await conn.execute("alter index fingerprint_terms set (fastupdate = off)")
        await conn.execute("vacuum analyze")
        await conn.execute("set max_parallel_workers_per_gather = 0")
        cursor = await conn.execute(
            "select pg_relation_size('fingerprint_terms'), pg_total_relation_size('fingerprint')"
        )
        row = await cursor.fetchone()
        assert row is not None

        async def answered(asked: dict[int, list[Words]]) -> tuple[Sample, list[float]]:
            took: list[float] = []
            pids = os.getpid(), conn.info.backend_pid
            before_s = sum(map(machine.cpu_seconds, pids))
            for right, heard in asked.items():
                variants = [Variant(words.astype("<u4").tobytes()) for words in heard]
                began = time.perf_counter()
                found = await matches(conn, variants, besides=_ELSEWHERE)
                took.append(time.perf_counter() - began)
                expected = [] if right < 0 else [str(right)]
                require_equal("tracks found", [each.rkey for each in found], expected)
            cpu_s = sum(map(machine.cpu_seconds, pids)) - before_s
            return Sample(len(took), sum(took), cpu_s, machine.own_peak_bytes()), took

        whole = {right: [_worse(dice, words)] for right, words in samples.items()}
        cuts = {right: [words[700 : 700 + CUT] for words in heard] for right, heard in whole.items()}
        strange = {-1 - number: [words] for number, words in enumerate(_fingerprints(dice, asked))}
        others = iter(_fingerprints(dice, len(SPEEDS) * asked))
        sped = {right: [*heard, *(next(others) for _ in SPEEDS)] for right, heard in strange.items()}
        await answered(whole)  # the caches warm
        (copy, copies_s), (cut, cuts_s), (none, none_s), (most, most_s) = [
            await answered(each) for each in (whole, cuts, strange, sped)
        ]
    postgres.drop("scan")
    slow_s = [float(np.quantile(each, 0.95)) for each in (copies_s, cuts_s, none_s, most_s)]
    return Finding(
        name="scan",
        title=f"a fingerprint asked for among {tracks:,}",
        unit="question",
        contestants=(
            Contestant("whole tracks", (copy,)),
            Contestant("cuts of 20 s", (cut,)),
            Contestant("nobody's", (none,)),
            Contestant("nobody's, with its variants", (most,)),
        ),
        targets=(Target("19 of 20 answered within 250 ms", (GOAL_S / max(slow_s[:3]),), 1),),
        goals=(
            Goal("19 of 20 whole tracks", slow_s[0] * 1000, GOAL_S * 1000, "ms", at_most=True),
            Goal("19 of 20 of nobody's, with variants", slow_s[3] * 1000, GOAL_S * 1000, "ms", at_most=True),
            Goal("the slowest", max(most_s) * 1000, GOAL_S * 1000, "ms", at_most=True),
            Goal("CPU of nobody's", none.cpu_us / 1000, GOAL_S * 1000, "ms", at_most=True),
            Goal("CPU with variants", most.cpu_us / 1000, GOAL_S * 1000, "ms", at_most=True),
            Goal("the index", row[0] / 1e6, 1000, "MB", at_most=True),
            Goal("the index and its table", row[1] / 1e6, 2000, "MB", at_most=True),
        ),
        gates=("copies and cuts find their track and no other", "what nobody has finds nothing"),
    )


def _fingerprints(dice: np.random.Generator, count: int) -> Words:
    """One in each row; each bit is set in 27 % of the words, and drawn anew as often."""
    out = np.empty((WORDS, count), dtype=np.uint32)
    out[0] = _rare(dice, count)
    for number in range(1, WORDS):
        anew = _rare(dice, count)
        out[number] = (out[number - 1] & ~anew) | (_rare(dice, count) & anew)
    return np.ascontiguousarray(out.T)


def _rare(dice: np.random.Generator, count: int) -> Words:
    a, b, c, d, e, f, g = dice.integers(0, 1 << 32, (7, count), dtype=np.uint32)
    return a & (b | (c & d & e & (f | g)))


def _worse(dice: np.random.Generator, words: Words) -> Words:
    """With every twentieth bit another, more of them in some words than in others."""
    wrong = dice.random((len(words), 32)) < dice.choice([0.01, 0.03, 0.11], (len(words), 1))
    return words ^ (wrong.astype(np.uint32) << np.arange(32, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


async def _add(conn: psycopg.AsyncConnection[tuple[object, ...]], first: int, block: Words) -> None:
    """A track each, of rkey `first`, `first` + 1, …"""
    last = first + len(block) - 1
    await conn.execute(
        "insert into blob (id, area, sha256, bytes, crc32, mime, state) overriding system value "
        "select n, 'audio', sha256(n::text::bytea), 1, 0, 'audio/mpeg', 'published' "
        "from generate_series(%s::int, %s::int) n",
        (first, last),
    )
    async with (
        conn.cursor() as cursor,
        cursor.copy(
            "copy sound (blob_id, format, codec, rate, channels, duration_s, playable, fingerprint) "
            "from stdin (format binary)"
        ) as copy,
    ):
        copy.set_types(["int8", "text", "text", "int4", "int4", "float8", "bool", "bytea"])
        for number, words in enumerate(block, first):
            await copy.write_row(
                (number, "mp3", "mp3", 44_100, 2, 210.0, True, words.astype("<u4").tobytes())
            )
    async with (
        conn.cursor() as cursor,
        cursor.copy("copy fingerprint (sound_id, terms) from stdin (format binary)") as copy,
    ):
        copy.set_types(["int8", "int4[]"])
        for number, words in enumerate(block, first):
            await copy.write_row((number, terms(words.astype("<u4").tobytes())))
    await conn.execute(
        "insert into track_media (did, rkey, original_id, stream_id, published_at) "
        "select %s, n::text, n, n, now() from generate_series(%s::int, %s::int) n",
        (_HERE, first, last),
    )
