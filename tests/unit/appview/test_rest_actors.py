"""What is said of a record that a PDS did not take."""

from __future__ import annotations

import pytest

from appview.records import Away, Declined, NotSignedIn, Swapped, WriteFailed
from appview.rest.actors import unwritten
from appview.turns import Busy


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Away("503"), 502, "no"),
        (Busy("others"), 502, "no"),
        (Swapped("InvalidSwap"), 502, "no"),
        (Declined("400"), 500, "no"),
        (NotSignedIn("gone"), 401, "session_expired"),
    ],
)
def test_only_what_is_refused_for_good_is_an_error_of_the_whole(
    error: WriteFailed, status: int, detail: str
) -> None:
    refused = unwritten("no", error)
    assert (refused.status, refused.detail) == (status, detail)
