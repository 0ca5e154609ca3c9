"""docs/rest.md and the OpenAPI document are what the application's routes say, and none says nothing."""

from __future__ import annotations

import re
from pathlib import Path

from appview.rest.openapi import document, routes
from appview.rest.spec import spec_of
from bin.rest_page import PAGE, page
from bin.settings import load
from bin.web import application
from lexicons.catalog import Catalog

# Pages for people, protocols with documents of their own, and who forgot the last slash.
_OTHERWISE = re.compile(
    r"/|/xrpc.*|/\.well-known/did\.json|/metrics|/robots\.txt|/track/.*|/embed/.*|/sign-in|/account(/.*)?"
    r"|/upload(/.*)?|/uploads(/.*)?|/transparency"
)


async def test_every_route_is_described_and_the_page_is_up_to_date(tmp_path: Path) -> None:
    settings = load({"database_url": "postgresql://127.0.0.1:1/nowhere", "data_dir": str(tmp_path)}, {})
    async with application(settings, Catalog.load(settings.namespace)) as app:
        found = list(routes(app.router))
        paths = {route.resource.canonical for route in app.router.routes() if route.resource}
        silent = {
            f"{route.method} {path}"
            for route in app.router.routes()
            if route.resource is not None and spec_of(route.handler) is None
            for path in [route.resource.canonical]
            if _OTHERWISE.fullmatch(path) is None and not (route.method == "*" and f"{path}/" in paths)
        }
        told = document(app.router, version="1", server=None)
    assert silent == set()
    assert PAGE.read_text() == page(found), "run `make docs`"
    assert {(each.path, each.method.lower()) for each in found} == {
        (path, method) for path, methods in told["paths"].items() for method in methods
    }
    ids = [one["operationId"] for methods in told["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids)) > 30
    references = set(re.findall(r"#/components/schemas/([^'\"]+)", repr(told)))
    assert references <= set(told["components"]["schemas"])
