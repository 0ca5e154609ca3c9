"""The REST contract as a document: what it says of an answer, and which of its routes were asked, and how."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import orjson

from tests.integration.appview.service import Answer

# good: what the route is for. bad: input that it cannot take, or that names nothing. anonymous: nobody is
# signed in. foreign: somebody is, whose it is not.
KINDS = ("good", "bad", "anonymous", "foreign")


@dataclass
class Contract:
    """`document`: an OpenAPI document. `asked`: how often, by route and kind."""

    document: dict[str, Any]
    asked: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, path: Path) -> Contract:
        return cls(json.loads(path.read_text()))

    @property
    def routes(self) -> list[str]:
        return [
            f"{method.upper()} {path}"
            for path, methods in self.document["paths"].items()
            for method in methods
        ]

    def route(self, method: str, path: str) -> str | None:
        """The route of a request, the one with most words of its own where several fit."""
        fitting = [
            route
            for route in self.routes
            for verb, template in [route.split(" ")]
            if verb == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        ]
        return min(fitting, key=lambda route: route.count("{"), default=None)

    def check(self, kind: str, method: str, path: str, answer: Answer) -> None:
        """Count it, and hold the answer against the document. Raises jsonschema.ValidationError."""
        route = self.route(method, path)
        assert route is not None, f"the contract knows no {method} {path}"
        self.asked[route][kind] += 1
        told = self._told(route, answer)
        if answer.status >= 400:
            assert "detail" in orjson.loads(answer.body), answer.body
        if told is not None:
            schema = {"$ref": "#/s", "s": told, "components": self.document["components"]}
            jsonschema.validate(orjson.loads(answer.body), schema, jsonschema.Draft202012Validator)

    def _told(self, route: str, answer: Answer) -> dict[str, Any] | None:
        """The schema of such an answer. Of a redirect and a stream it says nothing, and a refusal may
        be a mere text."""
        verb, template = route.split(" ")
        if not answer.headers.get("Content-Type", "").startswith("application/json"):
            return None
        responses = self.document["paths"][template][verb.lower()]["responses"]
        content = responses.get(str(answer.status), {}).get("content", {})
        if answer.status == 422 and not isinstance(orjson.loads(answer.body)["detail"], list):
            return None
        return content.get("application/json", {}).get("schema") or None

    def table(self) -> str:
        """Routes by kinds, with how often each was asked."""
        rows = [f"{'route':<52}" + "".join(f"{kind:>10}" for kind in KINDS)]
        for route in sorted(self.routes, key=lambda route: route.split(" ")[::-1]):
            counts = self.asked.get(route, Counter())
            rows.append(f"{route:<52}" + "".join(f"{counts[kind] or '-':>10}" for kind in KINDS))
        return "\n".join(rows)


def served(ours: dict[str, Any], theirs: Contract) -> list[str]:
    """Which routes of a contract are in our own document, whatever their parameters are called."""

    def named(method: str, path: str) -> tuple[str, str]:
        return method.upper(), re.sub(r"\{\w+\}", "{}", path)

    here = {named(method, path) for path, methods in ours["paths"].items() for method in methods}
    return [route for route in theirs.routes if named(*route.split(" ")) in here]


@dataclass
class Caller:
    """Somebody who asks, with or without a key; every answer is held against the contract."""

    url: str
    http: aiohttp.ClientSession
    contract: Contract
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(
        self, kind: str, method: str, path: str, *, status: int = 200, detail: Any = None, **options: Any
    ) -> Any:
        """The JSON of the answer, or its text. `detail`: what a refusal has to say."""
        headers = self.headers | options.pop("headers", {})
        async with self.http.request(
            method, self.url + path, allow_redirects=False, headers=headers, **options
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.body[:500]!r}"
        self.contract.check(kind, method, path.partition("?")[0], answer)
        said = answer.json if answer.headers.get("Content-Type", "").startswith("application/json") else None
        if detail is not None:
            assert said is not None
            told = said["detail"]
            assert (told.get("error") if isinstance(told, dict) else told) == detail, told
        return said if said is not None else answer
