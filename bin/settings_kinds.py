"""Kinds of settings that more than one of them is of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_settings import NoDecode

from bin.addresses import origin_of
from lexicons.syntax import is_atproto_did

ROOT = Path(__file__).parent.parent


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _check_dids(value: tuple[str, ...]) -> tuple[str, ...]:
    for did in value:
        if not is_atproto_did(did):
            raise ValueError(f"{did!r} is no did:plc or did:web")
    return value


def _check_service(value: str, info: ValidationInfo) -> str:
    origin = origin_of(value, ("http", "https"), "https://plc.directory")
    if origin.startswith("http:") and not info.data.get("dev_loopback"):
        raise ValueError("plain http:// is for test networks, with --dev-loopback")
    return origin


def _absolute(value: Path) -> Path:
    return value.expanduser().absolute()


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Dids = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_dids)]
Folder = Annotated[Path, AfterValidator(_absolute)]
# Base address of a service that we ask. `dev_loopback` comes before every field of this kind.
Service = Annotated[str, AfterValidator(_check_service)]
