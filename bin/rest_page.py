"""Writes docs/rest.md from the routes: `python -m bin.rest_page`. A test compares the two.

The routes are those of the real application; it reaches no database, and nobody asks it anything.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterable
from itertools import groupby

import structlog

from appview.rest.openapi import Described, routes
from appview.rest.spec import Auth
from bin.settings import ROOT, load
from bin.web import application
from lexicons.catalog import Catalog

PAGE = ROOT / "docs" / "rest.md"
_NOWHERE = "postgresql://127.0.0.1:1/nowhere"
INTRO = """\
# REST

Generated from the routes; do not edit, run `make docs`. The same as an OpenAPI 3.1 document, with the types
of all bodies and answers, is at `/openapi.json`.

What the plyr.fm web frontend and its clients speak. Everybody else is better served by [XRPC](xrpc.md),
which any ATProto client knows.

- **Who asks** is told by the cookie `session_id` first, else by `Authorization: Bearer TOKEN` with a
  session or a developer token ([signing-in.md](signing-in.md)). *session* below: 401 without one; *writes*:
  it must also be allowed to write records in the account's name, else 403 `scope_upgrade_required`; *seen*:
  answers anybody, and shows who asks what they did themselves; *operator*: `PLYR_ADMIN_TOKEN` in
  `X-Admin-Token`, or as the password of `admin`, else 401, or 503 where there is none.
- **Errors** are `{"detail": …}`: a text, an object with `error` and `message`, or for a body or a query
  that does not fit (422) a list of `{type, loc, msg, input}`. Any route may answer 408 (its head, its JSON
  or its form without files did not come within a minute), 429 (`Retry-After` says when to come again), 502
  (the account's PDS does not answer), 503 (the database or the store is away) and 500 with the number under
  which the log has it.
- **Unknown** form fields, members and parameters are ignored.
- **The last slash** of a collection belongs to its path; without it the answer is 307.
- **Times** are ISO 8601.
- **Pages** of other origins may use these routes with a visitor's cookie if the operator names them
  (`PLYR_ALLOWED_ORIGINS`).
"""
_AUTH = {
    Auth.NOBODY: "",
    Auth.OPTIONAL: "seen",
    Auth.SESSION: "session",
    Auth.ACTOR: "writes",
    Auth.OPERATOR: "operator",
}


def page(found: Iterable[Described]) -> str:
    parts = [INTRO]
    for tag, some in groupby(sorted(found, key=lambda each: (each.tag, each.path)), lambda each: each.tag):
        parts.append(f"\n## {tag}\n\n| Route | Who | | Takes | Says |\n| --- | --- | --- | --- | --- |\n")
        parts += [_row(each) for each in some]
    return "".join(parts)


async def described() -> list[Described]:
    """What the application's routes say of themselves."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load({"database_url": _NOWHERE, "data_dir": folder}, {})
        async with application(settings, Catalog.load(settings.namespace)) as app:
            return list(routes(app.router))


def _row(each: Described) -> str:
    spec = each.spec
    takes: list[str] = []
    if spec.query is not None:
        takes.append("?" + " ".join(f"`{name}`" for name in spec.query.__struct_fields__))
    if spec.body is not None:
        fields = getattr(spec.body, "__struct_fields__", ())
        takes.append("JSON " + " ".join(f"`{name}`" for name in fields))
    if spec.form:
        takes.append("form " + " ".join(f"`{name}`" for name in spec.form))
    says = "; ".join(f"{status} {text}" for status, text in sorted(spec.errors.items()))
    cells = [
        f"`{each.method} {each.path}`",
        _AUTH[spec.auth],
        spec.summary,
        ", ".join(takes).rstrip(),
        says,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    logging.disable()
    structlog.configure(processors=[], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    PAGE.write_text(page(asyncio.run(described())))


if __name__ == "__main__":
    main()
