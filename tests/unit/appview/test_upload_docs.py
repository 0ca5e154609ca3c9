"""docs/uploading.md knows every address under which sound comes in."""

from __future__ import annotations

import re

from bin.settings import ROOT

PAGE = (ROOT / "docs" / "uploading.md").read_text()


def test_every_address_is_in_the_docs() -> None:
    code = "".join((ROOT / "appview/rest" / name).read_text() for name in ("uploads.py", "resumable.py"))
    paths = set(re.findall(r'[ (]"(/[a-z][^"]*)"', code))
    assert {"/config", "/tracks/", "/uploads", "/uploads/{id}"} <= paths
    assert [path for path in sorted(paths) if f" {path}`" not in PAGE and path != "/tracks"] == []
