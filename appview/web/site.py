"""What all pages share: layout, style, and what a browser is told about them.

A page carries its style in itself and loads nothing but our own sound and images; its Content-Security-Policy
says so.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import hdrs, web
from markupsafe import Markup

from appview.clients import origin_of
from appview.service import Service

TEMPLATES = Path(__file__).parent / "templates"


class Site:
    """Renders pages. `form_action` is where forms may lead, `media` where sound and images may come from,
    redirects included."""

    def __init__(self, service: Service) -> None:
        self._public_url = service.config.public_url
        css = (TEMPLATES / "site.css").read_text()
        self._style = "sha256-" + base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
        )
        # The style sheet is ours and must not be escaped: its hash is what the browser checks.
        self._templates.globals |= {
            "css": Markup(css),
            "version": service.config.version,
            "service_did": service.config.service_did,
            "namespace": service.catalog.namespace,
        }

    def base(self, request: web.Request) -> str:
        """The address under which whoever asks reaches us."""
        return self._public_url or origin_of(request)

    def page(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        status: int = 200,
        form_action: str = "'none'",
        media: str | None = None,
        framed: bool = False,
    ) -> web.Response:
        """`framed`: pages of anybody's may show it within themselves."""
        frames = "*" if framed else "'none'"
        html = self._templates.get_template(template).render(values)
        policy = (
            f"default-src 'none'; style-src '{self._style}'; img-src data:{f' {media}' if media else ''}; "
            f"{f'media-src {media}; ' if media else ''}base-uri 'none'; form-action {form_action}; "
            f"frame-ancestors {frames}"
        )
        headers = {
            hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
            hdrs.CACHE_CONTROL: "no-store",
            "Content-Security-Policy": policy,
            # Not none at all: a form would then come from nowhere, and be refused.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=html.encode(), status=status, headers=headers)
