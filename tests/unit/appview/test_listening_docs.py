"""docs/listening.md knows every address that players use."""

from __future__ import annotations

import re

from bin.settings import ROOT

PAGE = (ROOT / "docs" / "listening.md").read_text()


def test_every_address_is_in_the_docs() -> None:
    names = ("media.py", "plays.py", "analytics.py")
    code = "".join((ROOT / "appview" / "rest" / name).read_text() for name in names)
    routes = re.findall(r'router\.add_(\w+)\("([^"]+)"', code)
    assert len(routes) == 9
    shown = [(verb, re.sub(r"\{track_id\}", "{id}", path)) for verb, path in routes]
    assert [(verb, path) for verb, path in shown if f"`{verb.upper()} {path}`" not in PAGE] == []
