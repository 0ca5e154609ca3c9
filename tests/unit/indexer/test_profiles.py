"""Whose word about a name counts."""

from __future__ import annotations

from typing import Any

import pytest

from indexer.profiles import own_name, profile_row
from lexicons.records import BskyProfile, Profile
from lexicons.syntax import Did, Handle

FAMILY = "👨‍👩‍👧‍👦"


@pytest.mark.parametrize("name", ["Ann", "x" * 64, FAMILY * 20])
def test_a_name_in_a_profile_of_ours_goes_before_blueskys(name: str) -> None:
    own = Profile("2026-01-01T00:00:00Z", None, None, None, {"displayName": name})
    row = profile_row(
        1, Did("did:plc:a"), Handle("ann.test"), own, BskyProfile("Elsewhere", None, None, None, {})
    )
    assert row.display_name == name


@pytest.mark.parametrize("name", [None, "", 5, ["Ann"], {"text": "Ann"}, "x" * 65, FAMILY * 26])
def test_what_is_no_name_is_as_if_it_were_not_there(name: Any) -> None:
    assert own_name({"displayName": name}) is None
    assert own_name({}) is None
    own = Profile("2026-01-01T00:00:00Z", None, None, None, {"displayName": name})
    row = profile_row(1, Did("did:plc:a"), None, own, BskyProfile("Elsewhere", None, None, None, {}))
    assert row.display_name == "Elsewhere"
