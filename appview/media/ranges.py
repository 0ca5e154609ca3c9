"""Which bytes a request wants: Range, If-Range and If-None-Match (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import hdrs

# What players send, almost always.
_ONE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")
_SPEC = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")
MOST_RANGES = 16


@dataclass(frozen=True, slots=True)
class Whole:
    """All of it, with status 200."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Status 206: byte ranges as (start, stop), in the order of the request; more than one is a multipart."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """Status 416: nothing of what is wanted is there."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Status 304: the client has it."""


Wanted = Whole | Parts | Unsatisfiable | Unchanged


def wanted(headers: Mapping[str, str], *, size: int, etag: str) -> Wanted:
    """What to answer a GET or HEAD of something that has `size` bytes and this strong ETag, quotes included.

    A Range that is not understood is ignored, as one with more than MOST_RANGES parts is, or one whose parts
    are together more than the whole.
    """
    told = headers.get(hdrs.IF_NONE_MATCH)
    if told is not None and (told.strip() == "*" or etag in _tags(told)):
        return Unchanged()
    text = headers.get(hdrs.RANGE)
    if text is None or headers.get(hdrs.IF_RANGE, etag).strip() != etag:
        return Whole()
    one = _ONE.fullmatch(text)
    if one is not None:
        start, stop = int(one[1]), min(size, int(one[2]) + 1)
        if start < stop:
            return Parts(((start, stop),))
    unit, _, specs = text.partition("=")
    if unit.strip().lower() != "bytes":
        return Whole()
    matches = [_SPEC.fullmatch(spec.strip()) for spec in specs.split(",") if spec.strip()]
    if not matches or len(matches) > MOST_RANGES:
        return Whole()
    ranges: list[tuple[int, int]] = []
    for match in matches:
        if match is None or match[0] == "-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
            return Whole()
        start = int(match[1]) if match[1] else max(0, size - int(match[2]))
        stop = min(size, int(match[2]) + 1) if match[1] and match[2] else size
        if start < stop:
            ranges.append((start, stop))
    if not ranges:
        return Unsatisfiable()
    if len(ranges) > 1 and sum(stop - start for start, stop in ranges) > size:
        return Whole()
    return Parts(tuple(ranges))


def _tags(text: str) -> list[str]:
    """The ETags of a list, weak ones as strong: If-None-Match compares them so."""
    return [tag.strip().removeprefix("W/") for tag in text.split(",")]
