"""What the archive says of bytes that we took down."""

from __future__ import annotations

import duckdb
import orjson

from storage.queries import load

ANN, BOB = "did:plc:ann", "did:plc:bob"
ONE, TWO = "1a" * 32, "2b" * 32
TOLD = [
    (1, ANN, ONE, "down", "sexual"),
    (2, ANN, TWO, "down", "copyright"),
    (3, BOB, ONE, "down", "spam"),
    (4, ANN, TWO, "up", "taken back"),
    (5, ANN, ONE, "down", "porn"),
    (6, BOB, TWO, "down", "copyright"),
]


def test_the_last_word_on_each_counts_and_what_came_back_is_not_there() -> None:
    with duckdb.connect(":memory:") as db:
        db.execute(
            "create table event (seq bigint, kind varchar, did varchar, verdict varchar, reason varchar,"
            " detail varchar)"
        )
        for seq, did, sha256, verdict, reason in TOLD:
            detail = orjson.dumps({"sha256": sha256}).decode()
            db.execute(
                "insert into event values (?, 'withhold', ?, ?, ?, ?)", [seq, did, verdict, reason, detail]
            )
        db.execute("insert into event values (7, 'takedown', ?, 'down', 'all of it', null)", [ANN])
        db.execute(load("fold")["withheld_bytes"])
        found = dict(db.execute("select did, hashes from withheld_bytes").fetchall())
    assert {did: orjson.loads(hashes) for did, hashes in found.items()} == {
        ANN: {ONE: "porn"},
        BOB: {ONE: "spam", TWO: "copyright"},
    }
