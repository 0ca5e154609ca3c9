"""appview/web/track.py: whose word a page passes on."""

from __future__ import annotations

import pytest

from appview.web.track import link


@pytest.mark.parametrize("url", [None, "", "http://[", "javascript:alert(1)", "//elsewhere", "https://"])
def test_what_no_browser_should_follow_is_no_link(url: str | None) -> None:
    assert link(url) is None


def test_a_link_is_shown_as_the_host_that_it_leads_to() -> None:
    assert link("https://plyr.fm@evil.example/a.mp3") == (
        "https://plyr.fm@evil.example/a.mp3",
        "evil.example",
    )
