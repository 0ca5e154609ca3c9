"""Which addresses lead to bytes of an account that we took down (`repo.withheld`); pure.

Ours have the sha-256 of the bytes, those of PDSs and of image services their CID. What has another name
is not known to be the same.
"""

from __future__ import annotations

from collections.abc import Collection

from lexicons.datamodel import raw_cid


def leads_to(address: str | None, withheld: Collection[str]) -> bool:
    """Whether an address, or a CID, names any of these bytes, each given by its sha-256 in hex."""
    return address is not None and any(each in address or raw_cid(each) in address for each in withheld)
