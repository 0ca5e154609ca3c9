"""Does this value have the shape that the catalog's schema asks for?

Each function returns what it read or nothing, and raises `Invalid(path, reason)`.
"""

from __future__ import annotations

from typing import Any

from lexicons.catalog import Catalog
from lexicons.datamodel import InvalidData, from_json
from lexicons.params import RawParams
from lexicons.scalars import Check, Invalid
from lexicons.syntax import Nsid, is_nsid, is_rkey, is_tid

__all__ = [
    "Invalid",
    "validate_input",
    "validate_message",
    "validate_output",
    "validate_params",
    "validate_record",
    "validate_rkey",
]


def validate_record(catalog: Catalog, nsid: Nsid, value: object) -> None:
    """Check a record as `datamodel.decode` gives it: its `$type` is the collection, its fields fit."""
    check = catalog.records.get(nsid)
    if check is None:
        raise Invalid("", f"there is no record schema for {nsid}")
    if not isinstance(value, dict):
        raise Invalid("", "expected an object")
    if value.get("$type") != nsid:  # pyright: ignore[reportUnknownMemberType]
        raise Invalid("$type", f"expected {nsid}")
    check(value)


def validate_rkey(catalog: Catalog, nsid: Nsid, rkey: str) -> None:
    """Check a record key against the `key` of its collection's schema (/specs/record-key)."""
    policy: str = catalog.definition(nsid)["key"]
    if policy == "tid":
        fits = is_tid(rkey)
    elif policy == "nsid":
        fits = is_nsid(rkey)
    elif policy == "any":
        fits = is_rkey(rkey)
    else:
        fits = rkey == policy.removeprefix("literal:")
    if not fits:
        raise Invalid("", f"the record key is not {policy}")


def validate_params(catalog: Catalog, nsid: Nsid, raw: RawParams) -> dict[str, Any]:
    """The parameters of a method, parsed, checked, with defaults; unknown ones are left out."""
    read = catalog.params.get(nsid)
    if read is None:
        raise Invalid("", f"there is no method {nsid}")
    return read(raw)


def validate_input(catalog: Catalog, nsid: Nsid, value: object) -> None:
    """Check the JSON body of a request."""
    _validate_body(catalog.inputs.get(nsid), value)


def validate_output(catalog: Catalog, nsid: Nsid, value: object) -> None:
    """Check the JSON body of an answer."""
    _validate_body(catalog.outputs.get(nsid), value)


def validate_message(catalog: Catalog, nsid: Nsid, value: object) -> None:
    """Check a message of a subscription, its `$type` among its fields, in its JSON form."""
    _validate_body(catalog.messages.get(nsid), value)


def _validate_body(check: Check | None, value: object) -> None:
    """Bodies without a schema pass, as the method's media type is all that is said about them."""
    if check is None:
        return
    try:
        body = from_json(value)
    except InvalidData as error:
        raise Invalid("", str(error)) from error
    check(body)
