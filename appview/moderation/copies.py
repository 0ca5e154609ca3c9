"""Our own scanner's verdict: whose tracks here have the same recording, as AuDD says it of the world's."""

from __future__ import annotations

from collections.abc import Sequence

from appview.moderation import fingerprint
from appview.moderation.fingerprint import Variant
from lexicons.syntax import Did
from storage import scans
from storage.postgres import Connection
from storage.scans import Match, Source, Verdict


async def verdict(conn: Connection, did: Did, asked: Sequence[Variant]) -> Verdict:
    """Of the tracks of anybody but `did`; each is one match, the surest first, which is dominant."""
    found = await fingerprint.matches(conn, asked, besides=did)
    names = await scans.named(conn, [(each.did, each.rkey) for each in found])
    told = tuple(
        Match(
            artist=artist,
            title=title,
            timecode=_clock(each.theirs_s),
            offset_ms=round(each.ours_s * 1000),
            source=Source.PLYR,
            did=each.did,
            rkey=each.rkey,
            length_ms=round(each.length_s * 1000),
            confidence=round(each.confidence, 3),
        )
        for each, (artist, title) in zip(found, names, strict=True)
    )
    if not told:
        return Verdict((), None, None, None, (Source.PLYR,))
    return Verdict(told, told[0], found[0].length_s / _heard_s(found), None, (Source.PLYR,))


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """One of all that were asked: the first that matched anything says what is dominant."""
    telling = next((each for each in verdicts if each.is_flagged), verdicts[0])
    return Verdict(
        tuple(match for each in verdicts for match in each.matches),
        telling.dominant,
        telling.dominant_share,
        next((each.raw for each in verdicts if each.raw is not None), None),
        tuple(source for each in verdicts for source in each.asked),
    )


def _heard_s(found: Sequence[fingerprint.Match]) -> float:
    """How much of ours is matched by any."""
    heard_s = end_s = 0.0
    for begin_s, until_s in sorted((each.ours_s, each.ours_s + each.length_s) for each in found):
        heard_s += max(0.0, until_s - max(begin_s, end_s))
        end_s = max(end_s, until_s)
    return heard_s


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
