"""The steps from staged bytes to a track that plays, and which may follow which.

                              ┌─▶ cover ─┐
    probe ─▶ store ─▶ claim ──┤          ├─▶ render ─▶ listen ─▶ offer ─▶ record
                              └──────────┘
                         new sound for a track

What a step came to is saved as the job's facts, in the transaction of its effects, with its name as `step`.
Whoever goes on after a crash begins behind that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    PROBE = "probe"  # what is it?
    STORE = "store"  # its bytes are a blob of ours
    CLAIM = "claim"  # nobody else's track of this account has them
    COVER = "cover"
    RENDER = "render"  # there is something that every browser plays
    LISTEN = "listen"  # how loud, how long, what shape
    OFFER = "offer"  # the PDS has the bytes, too, if it wants them
    RECORD = "record"  # the record is on the PDS and in the index, and the track owns its blobs


MOVES: Mapping[Step | None, frozenset[Step]] = {
    None: frozenset({Step.PROBE}),
    Step.PROBE: frozenset({Step.STORE}),
    Step.STORE: frozenset({Step.CLAIM}),
    Step.CLAIM: frozenset({Step.COVER, Step.RENDER}),
    Step.COVER: frozenset({Step.RENDER}),
    Step.RENDER: frozenset({Step.LISTEN}),
    Step.LISTEN: frozenset({Step.OFFER}),
    Step.OFFER: frozenset({Step.RECORD, Step.OFFER}),  # again, where the PDS has forgotten it
    Step.RECORD: frozenset(),
}

NEW_TRACK = tuple(Step)
NEW_SOUND = tuple(step for step in Step if step is not Step.COVER)


@dataclass(frozen=True, slots=True)
class Said:
    """What the owner of a job is told while a step is made. `phase`: as frontends know it."""

    phase: str
    message: str


SAID: Mapping[Step, Said] = {
    Step.PROBE: Said("upload", "processing upload..."),
    Step.STORE: Said("upload", "uploading to storage..."),
    Step.CLAIM: Said("upload", "looking for duplicates..."),
    Step.COVER: Said("image", "saving image..."),
    Step.RENDER: Said("transcode", "making it playable everywhere..."),
    Step.LISTEN: Said("metadata", "listening to it..."),
    Step.OFFER: Said("pds_upload", "uploading to your PDS..."),
    Step.RECORD: Said("atproto", "creating atproto record..."),
}


def following(done: Step | None, way: tuple[Step, ...]) -> Step | None:
    """The next step of a way; None: it is at its end. Raises ValueError for a move that is not legal."""
    at = 0 if done is None else way.index(done) + 1
    if at == len(way):
        return None
    if way[at] not in MOVES[done]:
        raise ValueError(f"{way[at]} does not follow {done}")
    return way[at]
