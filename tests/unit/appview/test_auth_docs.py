"""docs/signing-in.md knows every address and every word that a person may meet there."""

from __future__ import annotations

import re

from appview.auth.grant import Refusal
from bin.settings import ROOT

PAGE = (ROOT / "docs" / "signing-in.md").read_text()


def test_every_address_is_in_the_docs() -> None:
    code = "".join(path.read_text() for path in sorted((ROOT / "appview" / "auth").glob("*routes.py")))
    routes = re.findall(r'router\.add_(\w+)\("([^"]+)"', code)
    assert len(routes) > 12
    missing = [(verb, path) for verb, path in routes if f"`{verb.upper()} {path}" not in PAGE]
    assert missing == []


def test_every_word_that_a_page_shows_is_in_the_docs() -> None:
    words = set(Refusal) - {Refusal.GRANT_GONE}  # of a refresh: nobody comes back from one
    assert [word for word in sorted(words | {"other_user"}) if f"`{word}`" not in PAGE] == []
