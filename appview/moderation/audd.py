"""AuDD's enterprise endpoint: it fetches a sound from an address of ours, and says what it takes that for.

    POST {api_token, url, accurate_offsets=1} ─▶ groups of songs, one for each twelve seconds or so; or one
    song; or nothing

Contract: one request, at most `timeout_s` long, of which at most `max_bytes` are read, through the guarded
client. What comes back is a Verdict or an AuddFailed, whose `kind` says what to do and `wait_s` how long to
wait at least. Our token is in nothing that is kept or told: AuDD repeats what it was asked.

    AuddFailed
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from firehose.fetch_errors import FetchFailed, TooLarge
from firehose.net import GuardedClient, Response, retry_after_s
from storage.scans import ErrorKind, Match, Verdict

TIMEOUT_S = 300.0  # it fetches and reads all of it first
MAX_BYTES = 4 << 20
_TOLD = 500  # characters of what it says of an error
_LONGEST = 500  # characters of a name
_MOST_MS = 2**53
_TOKEN_CODES = frozenset({900})
# 901: no token, and over the limit of those who have none; 902: over ours; 904, 905: not with our plan.
_QUOTA_CODES = frozenset({901, 902, 904, 905})
_SOUND_CODES = frozenset({300, 400, 500, 501, 600, 700})


class AuddFailed(Exception):
    """There is no verdict. `raw`: what came, if anything did."""

    def __init__(
        self, kind: ErrorKind, reason: str, *, wait_s: float | None = None, raw: str | None = None
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.wait_s = wait_s
        self.raw = raw


class Audd:
    """Asks."""

    def __init__(
        self,
        http: GuardedClient,
        url: str,
        token: str,
        *,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    async def identify(self, url: str) -> Verdict:
        """What the sound at this address is taken for. Raises AuddFailed."""
        form = {"api_token": self._token, "url": url, "accurate_offsets": "1"}
        try:
            response = await self._http.request(
                "POST", self._url, form=form, max_bytes=self._max_bytes, timeout_s=self._timeout_s
            )
        except TooLarge as error:
            raise AuddFailed(ErrorKind.ANSWER, str(error)) from error
        except FetchFailed as error:
            raise AuddFailed(ErrorKind.AWAY, str(error)) from error
        return read(response, self._token)


def read(response: Response, token: str) -> Verdict:
    """What an answer says. Raises AuddFailed."""
    # Postgres keeps no NUL; what shows our token shows none.
    raw = response.body.decode(errors="replace").replace("\0", "").replace(token, "…")
    told = _parsed(response.body)
    if isinstance(told, dict) and told.get("status") == "error":
        raise _refusal(told.get("error"), response, token, raw)
    if response.status != 200:
        raise _bad_status(response, raw)
    if not isinstance(told, dict) or told.get("status") != "success" or "result" not in told:
        raise AuddFailed(ErrorKind.ANSWER, "AuDD's answer is none that is known", raw=raw)
    try:
        groups = list(_groups(told["result"]))
        parts = [[_match(song, at_ms) for song in songs] for at_ms, songs in groups]
    except _Odd as odd:
        raise AuddFailed(ErrorKind.ANSWER, f"AuDD's answer is odd: {odd}", raw=raw) from odd
    return verdict(parts, raw)


def verdict(parts: Sequence[Sequence[Match]], raw: str) -> Verdict:
    """Of the matches of each part. Names are the same that differ in case and spaces alone; of several that
    are as frequent the first is dominant."""
    matches = tuple(match for part in parts for match in part)
    if not matches:
        return Verdict((), None, None, raw)
    counted = Counter(name for part in parts for name in dict.fromkeys(map(_name, part)))
    name, count = counted.most_common(1)[0]
    dominant = next(match for match in matches if _name(match) == name)
    return Verdict(matches, dominant, count / sum(bool(part) for part in parts), raw)


class _Odd(Exception):
    pass


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _refusal(error: object, response: Response, token: str, raw: str) -> AuddFailed:
    about: Mapping[str, Any] = error if isinstance(error, dict) else {}
    code, message = about.get("error_code"), str(about.get("error_message") or "no reason is given")
    message = message.replace("\0", "").replace(token, "…")[:_TOLD]
    reason = f"AuDD refuses: {message} ({code})"
    return AuddFailed(_kind(code, response.status), reason, wait_s=_wait_s(response), raw=raw)


def _kind(code: object, status: int) -> ErrorKind:
    written = str(code) if isinstance(code, int | str) else ""
    number = int(written) if written.isascii() and written.isdigit() and len(written) < 10 else 0
    if number in _QUOTA_CODES or status in (402, 429):
        return ErrorKind.QUOTA
    if number in _TOKEN_CODES or status in (401, 403):
        return ErrorKind.TOKEN
    return ErrorKind.SOUND if number in _SOUND_CODES else ErrorKind.AWAY


def _bad_status(response: Response, raw: str) -> AuddFailed:
    status = response.status
    kind = _kind(None, status)
    if kind is ErrorKind.AWAY and status < 500 and status != 408:
        kind = ErrorKind.ANSWER  # a redirect, or an address where nobody answers so
    return AuddFailed(kind, f"AuDD answers with status {status}", wait_s=_wait_s(response), raw=raw)


def _wait_s(response: Response) -> float | None:
    return retry_after_s(response.headers)


def _groups(result: object) -> Iterator[tuple[int | None, list[Mapping[str, Any]]]]:
    """Where each part begins in our sound, and its songs. Raises _Odd."""
    if result in (None, [], {}):
        return
    if isinstance(result, dict):
        result = [result]
    if not isinstance(result, list):
        raise _Odd("the result is neither a list nor a song")
    for each in result:
        if not isinstance(each, dict):
            raise _Odd("a part is no object")
        songs = each.get("songs", [each])
        if songs is None:
            songs = []
        if not isinstance(songs, list) or not all(isinstance(song, dict) for song in songs):
            raise _Odd("the songs of a part are no list of objects")
        yield _ms(each.get("offset")), songs


def _match(song: Mapping[str, Any], at_ms: int | None) -> Match:
    artist, title = _text(song, "artist"), _text(song, "title")
    if artist is None and title is None:
        raise _Odd("a song has neither artist nor title")
    within_ms = _number(song.get("start_offset"))
    offset_ms = at_ms if at_ms is None or within_ms is None else at_ms + within_ms
    return Match(
        artist=artist or "",
        title=title or "",
        album=_text(song, "album"),
        isrc=_text(song, "isrc"),
        timecode=_text(song, "timecode"),
        offset_ms=within_ms if at_ms is None else offset_ms,
        score=min(_number(song.get("score")) or 0, 100),
    )


def _text(song: Mapping[str, Any], name: str) -> str | None:
    value = song.get(name)
    return (value.replace("\0", "").strip()[:_LONGEST] or None) if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return int(value) if type(value) in (int, float) and 0 <= value < _MOST_MS else None  # type: ignore[operator]


def _ms(offset: object) -> int | None:
    """Of a number, which is in ms, or of a clock: 1:02:03, 02:03, 3. None: it is neither."""
    if not isinstance(offset, str):
        return _number(offset)
    fields = offset.strip().split(":")
    if len(fields) > 3 or not all(each.isascii() and each.isdigit() and len(each) < 7 for each in fields):
        return None
    seconds = 0
    for each in fields:
        seconds = seconds * 60 + int(each)
    return seconds * 1000


def _name(match: Match) -> tuple[str, str]:
    return " ".join(match.artist.casefold().split()), " ".join(match.title.casefold().split())
