"""Where a page starts: the sort keys of the last row before it, in the text form that Postgres writes.

A `Keyset` knows the types of its keys, hence which texts can be one: what comes back from outside is
checked here before it becomes a parameter. `start` lies before every row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lexicons.syntax import FORMATS

Place = tuple[bytes, ...]

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00")
_INTEGER = re.compile(r"0|[1-9]\d{0,18}")
_REAL = re.compile(r"\d(\.\d{1,12})?(e-\d{1,2})?")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MAX_INT4 = 2**31 - 1
MAX_INT8 = 2**63 - 1


def _is_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_int4(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and int(text) <= MAX_INT4


def _is_int8(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and int(text) <= MAX_INT8


def _is_real(text: str) -> bool:
    return _REAL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Keyset:
    """The types of a listing's sort keys, and the place before its first row."""

    checks: tuple[Callable[[str], bool], ...]
    start: Place

    def parse(self, keys: Sequence[str]) -> Place:
        """The keys as a place. Raises ValueError if they cannot come from this listing."""
        if len(keys) != len(self.checks):
            raise ValueError("wrong number of keys")
        if not all(check(key) for check, key in zip(self.checks, keys, strict=True)):
            raise ValueError("a key of the wrong type")
        return tuple([key.encode() for key in keys])


def _is_base64(text: str) -> bool:
    return _BASE64.fullmatch(text) is not None


def _is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


_is_rkey = FORMATS["record-key"]
_NO_UUID = b"00000000-0000-0000-0000-000000000000"
_LAST_INT4, _LAST_INT8 = str(MAX_INT4).encode(), str(MAX_INT8).encode()

TIME_ID = Keyset((_is_time, _is_int8), (b"infinity", _LAST_INT8))
TIME_REPO = Keyset((_is_time, _is_int4), (b"infinity", _LAST_INT4))
TIME_RKEY = Keyset((_is_time, _is_rkey), (b"infinity", b""))
TIME_REPO_RKEY = Keyset((_is_time, _is_int4, _is_rkey), (b"infinity", _LAST_INT4, b""))
COUNT_ID = Keyset((_is_int8, _is_int8), (_LAST_INT8, _LAST_INT8))
RANK_ID = Keyset((_is_real, _is_int8), (b"infinity", _LAST_INT8))
RANK_REPO = Keyset((_is_real, _is_int4), (b"infinity", _LAST_INT4))
POSITION = Keyset((_is_int4,), (b"-1",))
ALBUM = Keyset((_is_base64, _is_int4, _is_uuid, _is_int8), (b"", b"0", _NO_UUID, b"0"))
MOMENT = Keyset((_is_int8, _is_int4, _is_rkey), (b"-1", b"0", b""))
