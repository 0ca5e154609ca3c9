"""Whose recordings a sound has in common with others, found without asking anybody outside.

    terms of ours ──▶ index ──▶ the tracks that share most ──▶ align each ──▶ matches, the surest first

Contract: a match is a stretch of at least five seconds on which nearly the same bits were heard. It says
that two recordings are one, not who may have it: that is for a person. Confidence comes from the share of
bits that differ, as measured (docs/moderation-scan.md); at 0.5 it may as well be wrong.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from appview.moderation.alignment import HEARD_S, WORD_S, Alignment, align
from appview.moderation.terms import terms, words
from lexicons.syntax import Did, Rkey
from storage import fingerprints
from storage.fingerprints import Candidate
from storage.postgres import Connection

LEAST_CONFIDENCE = 0.5
_LEAST_TERMS = 3
_MOST_CANDIDATES = 30
# Of the same recording at most 14 % of the bits differed, of others at their best place at least 21 %.
_EVEN_ERRORS, _ERRORS_SPREAD = 0.17, 0.012


@dataclass(frozen=True, slots=True)
class Variant:
    """A sound as it is, or what it is when it is played at `speed`, pitch and all."""

    fingerprint: bytes
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Match:
    """`ours_s` is where it begins in the sound that was asked about, `theirs_s` where in the track found;
    `length_s` of ours. `speed`: how much faster ours has to be played to be theirs. `confidence` 0.5 to 1."""

    did: Did
    rkey: Rkey
    sound_id: int
    ours_s: float
    theirs_s: float
    length_s: float
    speed: float
    errors: float
    confidence: float


async def matches(conn: Connection, asked: Sequence[Variant], *, besides: Did) -> list[Match]:
    """Tracks of anybody but `besides` with the same recording, each once, the surest first.

    Found is what differs from any of `asked` by up to 0.75 % in speed, or by 2 % where the pitch was kept.
    """
    best: dict[tuple[Did, Rkey], Match] = {}
    for variant in asked:
        found = await fingerprints.candidates(
            conn,
            terms(variant.fingerprint),
            besides=besides,
            least=_LEAST_TERMS,
            limit=_MOST_CANDIDATES,
        )
        for match in await asyncio.to_thread(_judged, variant, found):
            key = match.did, match.rkey
            if key not in best or _rank(match) > _rank(best[key]):
                best[key] = match
    return sorted(best.values(), key=_rank, reverse=True)


def confidence(errors: float) -> float:
    """That a stretch is of the same recording, of whose bits this share differs."""
    return 1 / (1 + math.exp((errors - _EVEN_ERRORS) / _ERRORS_SPREAD))


def _judged(variant: Variant, found: Sequence[Candidate]) -> list[Match]:
    ours = words(variant.fingerprint)
    aligned = ((each, align(ours, words(each.fingerprint))) for each in found)
    judged = (_match(variant, each, where) for each, where in aligned if where is not None)
    return [match for match in judged if match.confidence >= LEAST_CONFIDENCE]


def _match(variant: Variant, found: Candidate, where: Alignment) -> Match:
    return Match(
        did=Did(found.did),
        rkey=Rkey(found.rkey),
        sound_id=found.sound_id,
        ours_s=where.ours * WORD_S * variant.speed,
        theirs_s=where.theirs * WORD_S,
        length_s=((where.length - 1) * WORD_S + HEARD_S) * variant.speed,
        speed=variant.speed / where.slope,
        errors=where.errors,
        confidence=confidence(where.errors),
    )


def _rank(match: Match) -> tuple[float, float]:
    return round(match.confidence, 2), match.length_s
