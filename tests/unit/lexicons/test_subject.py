"""What can be judged, by how it is written."""

from __future__ import annotations

import pytest

from lexicons.datamodel import raw_cid
from lexicons.subject import SubjectKind, read_subject

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


@pytest.mark.parametrize("name", [SHA256, raw_cid(SHA256)])
def test_bytes_are_named_by_their_cid_or_by_their_hash(name: str) -> None:
    subject = read_subject(f"{DID}/{name}")
    assert subject.kind is SubjectKind.BLOB
    assert (subject.text, subject.did) == (f"{DID}/{raw_cid(SHA256)}", DID)
    assert (subject.cid, subject.sha256) == (raw_cid(SHA256), SHA256)


def test_a_cid_of_another_hash_has_no_sha256() -> None:
    assert read_subject(f"{DID}/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG").sha256 is None


@pytest.mark.parametrize("text", ["", "ann.test", f"at://{DID}", f"{DID}/", f"{DID}/x", f"ann/{SHA256}"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no DID"):
        read_subject(text)
