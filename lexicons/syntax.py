"""The string formats of the Lexicon language: one `is_…` per format, and a type for each.

The atproto specifications say what each looks like (/specs/did, handle, nsid, tid,
record-key, at-uri-scheme, lexicon#string-formats). All checks use `fullmatch`: Python's `$`
lets a trailing newline through. `is_did` answers for the syntax of any DID method;
`is_atproto_did` for the two methods that the network resolves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NewType, TypeGuard

Did = NewType("Did", str)
Handle = NewType("Handle", str)
Nsid = NewType("Nsid", str)
Rkey = NewType("Rkey", str)
AtUri = NewType("AtUri", str)
Cid = NewType("Cid", str)
Tid = NewType("Tid", str)
Rev = Tid

MAX_DID = 2048
MAX_HANDLE = 253
MAX_NSID = 317
MAX_URI = 8192
MAX_DATETIME = 64
MAX_LANGUAGE = 128
TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_TLD = r"[a-zA-Z](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"

_did = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]").fullmatch
_did_plc = re.compile(r"did:plc:[a-z2-7]{24}").fullmatch
_did_web = re.compile(rf"did:web:(?:localhost(?:%3A[0-9]{{1,5}})?|(?:{_LABEL}\.)+{_TLD})").fullmatch
_handle = re.compile(rf"(?:{_LABEL}\.)+{_TLD}").fullmatch
_nsid = re.compile(rf"{_TLD}(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}").fullmatch
_tid = re.compile(r"[234567a-j][234567a-z]{12}").fullmatch
_rkey = re.compile(r"[a-zA-Z0-9._:~-]{1,512}").fullmatch
# What nearly all of them look like; whatever else there is takes the long way.
_usual_at_uri = re.compile(
    r"at://did:plc:[a-z2-7]{24}/[a-z]{1,20}(?:\.[a-zA-Z]{1,20}){2,5}/[234567a-j][234567a-z]{12}"
).fullmatch
_cid = re.compile(r"[a-zA-Z0-9+=]{8,256}").fullmatch
_uri = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,80}:[!-~]+").fullmatch
# what nearly everybody writes, on a day that every month has
_usual_datetime = re.compile(
    r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,12})?Z",
    re.ASCII,
).fullmatch
_datetime = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,20})?"
    r"(?:Z|(?!-00:00)[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
).fullmatch
_language = re.compile(
    r"""
      (?: [a-z]{2,3} (?:-[A-Za-z]{3}){0,3}                          # language, extlang
          (?: -[A-Za-z]{4})?                                        # script
          (?: -(?:[A-Za-z]{2}|[0-9]{3}))?                           # region
          (?P<variants> (?: -(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*)
          (?P<extensions> (?: -[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*)
          (?: -[xX](?:-[A-Za-z0-9]{1,8})+)?                         # private use
        | [xX](?:-[A-Za-z0-9]{1,8})+
        | i(?:-[A-Za-z0-9]{2,8})+ | en-GB-oed | sgn-BE-FR | sgn-BE-NL | sgn-CH-DE   # grandfathered
      )""",
    re.VERBOSE,
).fullmatch


class InvalidSyntax(ValueError):
    """A string does not have the format that its place asks for."""


@dataclass(frozen=True, slots=True)
class AtUriParts:
    """`at://authority[/collection[/rkey]]`, taken apart; the authority is a DID or a handle."""

    authority: Did | Handle
    collection: Nsid | None
    rkey: Rkey | None


def is_did(s: str) -> TypeGuard[Did]:
    return len(s) <= MAX_DID and _did(s) is not None


def is_atproto_did(s: str) -> TypeGuard[Did]:
    """True for did:plc, and for did:web with a bare hostname; only localhost has a port (/specs/did)."""
    return _did_plc(s) is not None or (len(s) <= MAX_HANDLE + 8 and _did_web(s) is not None)


def is_handle(s: str) -> TypeGuard[Handle]:
    return len(s) <= MAX_HANDLE and _handle(s) is not None


def is_at_identifier(s: str) -> bool:
    return is_did(s) if s.startswith("did:") else is_handle(s)


def is_nsid(s: str) -> TypeGuard[Nsid]:
    return len(s) <= MAX_NSID and _nsid(s) is not None


def is_tid(s: str) -> TypeGuard[Tid]:
    return _tid(s) is not None


def is_rkey(s: str) -> TypeGuard[Rkey]:
    return _rkey(s) is not None and s != "." and s != ".."


def is_at_uri(s: str) -> TypeGuard[AtUri]:
    """True for the restricted form that records may hold: no query, no fragment, no trailing slash."""
    if _usual_at_uri(s) is not None:
        return True
    try:
        parse_at_uri(s)
    except InvalidSyntax:
        return False
    return True


def is_cid(s: str) -> TypeGuard[Cid]:
    """True if it could be a CID of version 1 in any base; `datamodel.cid_bytes` knows whether it is ours."""
    return _cid(s) is not None and not s.startswith("Qmb")


def is_uri(s: str) -> bool:
    return len(s) <= MAX_URI and _uri(s) is not None


def is_datetime(s: str) -> bool:
    """True if the text is well-formed and names a day that exists (/specs/lexicon#datetime).

    Year 0000 is fine here, and 9999-12-31T23:00:00-05:00, too: `parse_datetime` refuses
    both, because neither Python nor Postgres can hold them.
    """
    if _usual_datetime(s) is not None:
        return True
    if len(s) > MAX_DATETIME or _datetime(s) is None:
        return False
    if s.startswith("0000"):
        return _exists("2000" + s[4:]) and not _is_before_year_zero(s)
    return _exists(s)


def is_language(s: str) -> bool:
    """True if well-formed by BCP 47, primary subtag in lower case; `parse_language` finds repeated ones."""
    return len(s) <= MAX_LANGUAGE and _language(s) is not None


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "at-identifier": is_at_identifier,
    "at-uri": is_at_uri,
    "cid": is_cid,
    "datetime": is_datetime,
    "did": is_did,
    "handle": is_handle,
    "language": is_language,
    "nsid": is_nsid,
    "record-key": is_rkey,
    "tid": is_tid,
    "uri": is_uri,
}


def parse_at_uri(s: str) -> AtUriParts:
    """Take an AT-URI apart; raises InvalidSyntax for all but the restricted form (/specs/at-uri-scheme)."""
    if not s.startswith("at://") or len(s) > MAX_URI:
        raise InvalidSyntax("not an at:// URI of at most 8192 bytes")
    authority, *path = s[5:].split("/")
    if not is_at_identifier(authority):
        raise InvalidSyntax("the authority is neither a DID nor a handle")
    if len(path) > 2:
        raise InvalidSyntax("more than a collection and a record key")
    if path and not is_nsid(path[0]):
        raise InvalidSyntax("the collection is no NSID")
    if len(path) == 2 and not is_rkey(path[1]):
        raise InvalidSyntax("the last part is no record key")
    return AtUriParts(
        Did(authority) if authority.startswith("did:") else Handle(authority),
        Nsid(path[0]) if path else None,
        Rkey(path[1]) if len(path) == 2 else None,
    )


def parse_datetime(s: str) -> datetime:
    """The instant in UTC, cut to microseconds; raises InvalidSyntax if Python cannot hold it (year 0000)."""
    if len(s) > MAX_DATETIME or _datetime(s) is None:
        raise InvalidSyntax("not a datetime with seconds and a timezone")
    try:
        return datetime.fromisoformat(s).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidSyntax(f"no such day: {error}") from error


def parse_language(s: str) -> tuple[str, ...]:
    """The subtags in lower case; raises InvalidSyntax if a variant or singleton repeats (RFC 5646 §2.2.9)."""
    match = _language(s) if len(s) <= MAX_LANGUAGE else None
    if match is None:
        raise InvalidSyntax("not a language tag")
    variants = (match["variants"] or "").lower().split("-")[1:]
    singletons = [tag for tag in (match["extensions"] or "").lower().split("-") if len(tag) == 1]
    if len(set(variants)) < len(variants) or len(set(singletons)) < len(singletons):
        raise InvalidSyntax("a subtag is repeated")
    return tuple(s.lower().split("-"))


def tid_time_us(tid: Tid) -> int:
    """Microseconds since 1970 that a TID claims; the caller has checked its syntax (/specs/tid)."""
    number = 0
    for character in tid:
        number = number << 5 | _TID_VALUE[character]
    return number >> 10


def tid_from_us(us: int, clock_id: int = 0) -> Tid:
    """The TID of a time (below 2^53 µs) and a clock id (below 1024)."""
    if not 0 <= us < 1 << 53 or not 0 <= clock_id < 1 << 10:
        raise InvalidSyntax("a TID holds 53 bits of time and 10 of clock id")
    number = us << 10 | clock_id
    return Tid("".join(TID_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5)))


_TID_VALUE = {character: value for value, character in enumerate(TID_ALPHABET)}


def _exists(s: str) -> bool:
    try:
        datetime.fromisoformat(s)
    except ValueError:
        return False
    return True


def _is_before_year_zero(s: str) -> bool:
    """True where an offset moves a time in the first day of year 0000 below zero; `s` starts with 0000."""
    if not s.startswith("0000-01-01T") or s.endswith("Z") or s[-6] == "-":
        return False
    return s[11:16] < s[-5:]
