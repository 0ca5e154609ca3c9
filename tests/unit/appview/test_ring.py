"""The ring: shared chunks, places that go on for ever, room made from behind, erasure."""

from __future__ import annotations

import random

from appview.messages import Form, Message, Wanted
from appview.ring import Ring
from lexicons.syntax import Did, Nsid

ANN, BOB = Did("did:plc:ann"), Did("did:plc:bob")
TRACK = Nsid("fm.plyr.track")
ALL = Wanted()


def message(seq: int, did: Did = ANN, size: int = 10) -> Message:
    return Message("record", seq, {"seq": seq, "did": did}, did, TRACK, b"\x58" + bytes([size]) + b"x" * size)


def ring_of(*seqs: int, max_bytes: int = 10**6, head: int = 0) -> Ring:
    ring = Ring(head, max_bytes=max_bytes, namespace="fm.plyr")
    for seq in seqs:
        ring.add(message(seq))
    ring.advance(max(seqs, default=head))
    return ring


def frames(*seqs: int) -> bytes:
    return b"".join(message(seq).frame(Form.CBOR, "fm.plyr") for seq in seqs)


def test_a_place_is_right_behind_a_seq_whether_that_was_told_or_not():
    ring = ring_of(3, 5, 9)
    ring.advance(12)
    assert [ring.number_after(seq) for seq in (0, 2, 3, 4, 5, 9, 12)] == [0, 0, 1, 1, 2, 3, 3]
    assert ring_of(7, head=5).number_after(4) is None
    assert ring_of(7, head=5).number_after(5) == 0


def test_subscribers_at_one_place_share_the_same_bytes():
    ring = ring_of(1, 2, 3)
    first, number = ring.chunk(ALL, 0, 10**6)
    assert first == frames(1, 2, 3)
    assert number == ring.end == 3
    assert ring.chunk(Wanted(), 0, 10**6)[0] is first
    assert ring.chunk(Wanted(dids=frozenset({BOB})), 0, 10**6) == (b"", 3)


def test_a_chunk_ends_with_the_message_that_fills_it():
    ring = ring_of(1, 2, 3)
    assert ring.chunk(ALL, 0, 1) == (frames(1), 1)
    assert ring.chunk(ALL, 1, 1) == (frames(2), 2)


def test_what_was_added_since_is_in_the_next_chunk():
    ring = ring_of(1)
    assert ring.chunk(ALL, 0, 10**6)[1] == 1
    assert ring.chunk(ALL, 1, 10**6) == (b"", 1)
    ring.add(message(2))
    ring.advance(2)
    assert ring.chunk(ALL, 0, 10**6) == (frames(1, 2), 2)
    assert ring.chunk(ALL, 1, 10**6) == (frames(2), 2)


def test_an_account_is_erased_with_its_records_and_nobody_elses():
    ring = Ring(0, max_bytes=10**6, namespace="fm.plyr")
    for seq, did in ((1, ANN), (2, BOB), (3, ANN)):
        ring.add(message(seq, did))
    standing = Message("account", 4, {"seq": 4}, ANN)
    ring.add(standing)
    ring.advance(4)
    ring.chunk(ALL, 0, 10**6)
    ring.erase(ANN)
    kept = message(2, BOB).frame(Form.CBOR, "") + standing.frame(Form.CBOR, "")
    assert ring.chunk(ALL, 0, 10**6) == (kept, 4)


def test_whatever_happens_a_reader_gets_every_message_or_knows_that_it_did_not():
    dice = random.Random(7)
    ring = Ring(0, max_bytes=20_000, namespace="fm.plyr")
    messages: list[Message] = []
    places = [0] * 5
    seq = fell = 0
    for _ in range(400):
        for _ in range(dice.randrange(30)):
            seq += dice.randrange(1, 4)
            messages.append(message(seq, size=dice.randrange(200)))
            ring.add(messages[-1])
        ring.advance(seq)
        for reader in range(5):
            if places[reader] < ring.base:
                fell += 1
                assert messages[ring.base - 1].seq == ring.floor
                assert ring.number_after(ring.floor) == ring.base
                places[reader] = ring.base
            while places[reader] < ring.end and dice.random() < 0.8:
                start = places[reader]
                chunk, places[reader] = ring.chunk(ALL, start, dice.randrange(1, 2000))
                passed = messages[start : places[reader]]
                assert chunk == b"".join(each.frame(Form.CBOR, "") for each in passed)
                assert passed
    assert fell > 0
    assert ring.base > 0
