"""What is judged: an account, a record, or a blob of an account, and how each is written.

did:plc:…                      an account
at://did:plc:…/fm.plyr.track/3k…   a record
did:plc:…/bafkrei…             the bytes with this CID; the account is whose record showed them. Instead of
                               the CID the sha-256 in hex does, as in the address of a picture
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lexicons.datamodel import InvalidData, cid_bytes, raw_cid
from lexicons.syntax import Cid, Did, Nsid, is_at_uri, is_cid, is_did

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST_AT = 4  # behind a CID's version, codec, hash and length


class SubjectKind(StrEnum):
    ACCOUNT = "account"
    RECORD = "record"
    BLOB = "blob"


@dataclass(frozen=True, slots=True)
class Subject:
    """`text` is how it is kept and shown; `did` is whose it is."""

    kind: SubjectKind
    text: str
    did: Did

    @property
    def collection(self) -> Nsid | None:
        """Of a record; None: it is none."""
        is_record = self.kind is SubjectKind.RECORD
        return Nsid(self.text.removeprefix("at://").split("/")[1]) if is_record else None

    @property
    def cid(self) -> Cid:
        """Of a blob."""
        assert self.kind is SubjectKind.BLOB
        return Cid(self.text.partition("/")[2])

    @property
    def sha256(self) -> str | None:
        """Of a blob, in hex; None: its CID has another hash."""
        try:
            return cid_bytes(self.cid)[_DIGEST_AT:].hex()
        except InvalidData:
            return None


def read_subject(text: str) -> Subject:
    """Raises ValueError, which says what is wrong."""
    if is_did(text):
        return Subject(SubjectKind.ACCOUNT, text, Did(text))
    if text.startswith("at://"):
        authority, _, path = text.removeprefix("at://").partition("/")
        if is_at_uri(text) and is_did(authority) and path.count("/") == 1 and "#" not in path:
            return Subject(SubjectKind.RECORD, text, Did(authority))
    did, _, cid = text.partition("/")
    if _SHA256.fullmatch(cid):
        cid = raw_cid(cid)
    if is_did(did) and is_cid(cid):
        return Subject(SubjectKind.BLOB, f"{did}/{cid}", Did(did))
    raise ValueError(f"{text[:80]!r} is no DID, no at:// URI of a record, and no DID/CID of a blob")
