"""The REST interface as an OpenAPI 3.1 document, made of what its handlers say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from aiohttp import hdrs, web

from appview.guards import ADMIN_HEADER
from appview.rest.answers import JSON, answer_json, rest
from appview.rest.spec import Auth, Spec, described, spec_of

PATH = "/openapi.json"
_REF = "#/components/schemas/{name}"
_FORM = "multipart/form-data"
# Tracks, their revisions and comments are numbered; everything else is named by text.
_NUMBERS = frozenset({"track_id", "comment_id", "revision_id"})
_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
_KEYS = [{"session": []}, {"bearer": []}]
_SECURITY = {
    Auth.NOBODY: [],
    Auth.OPTIONAL: [{}, *_KEYS],
    Auth.SESSION: _KEYS,
    Auth.ACTOR: _KEYS,
    Auth.OPERATOR: [{"operator": []}],
}
_REFUSED = {
    401: "nobody is signed in, or not any more",
    403: "the session is not allowed to do that: `scope_upgrade_required`",
    404: "there is no such thing",
    422: "something does not have the shape that it should have",
}
_ERROR = {"$ref": _REF.format(name="Error")}


class Problem(msgspec.Struct):
    type: str
    loc: list[str | int]
    msg: str
    input: Any = None


class Error(msgspec.Struct):
    detail: str | dict[str, Any] | list[Problem]


@dataclass(frozen=True, slots=True)
class Described:
    """A route that says what it takes and gives. `path` is as OpenAPI writes it."""

    method: str
    path: str
    spec: Spec

    @property
    def tag(self) -> str:
        return self.path.strip("/").partition("/")[0]

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)


def routes(router: web.UrlDispatcher) -> Iterator[Described]:
    """In the order in which they are found."""
    for route in router.routes():
        spec = spec_of(route.handler)
        if spec is not None and route.method != hdrs.METH_HEAD and route.resource is not None:
            yield Described(route.method, route.resource.canonical, spec)


def document(router: web.UrlDispatcher, *, version: str, server: str | None) -> dict[str, Any]:
    """The whole document. `server` None: wherever it was asked for."""
    found = list(routes(router))
    types = [Error, *(kind for each in found for kind in _types(each.spec))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in found:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, known, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "plyr", "version": version, "description": "What the web frontend speaks."},
        "servers": [{"url": server or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "session_id"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "operator": {"type": "apiKey", "in": "header", "name": ADMIN_HEADER},
            },
        },
    }


class OpenApi:
    """Serves the document of the application that it is in, made once: routes stay as they are."""

    def __init__(self, version: str, server: str | None) -> None:
        self._version = version
        self._server = server
        self._made: bytes | None = None

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(PATH, rest(self.show))

    @described("This document", answer=dict[str, Any])
    async def show(self, request: web.Request) -> web.StreamResponse:
        if self._made is None:
            made = document(request.app.router, version=self._version, server=self._server)
            self._made = orjson.dumps(made)
        return answer_json(self._made)


def _types(spec: Spec) -> Iterator[Any]:
    yield from (kind for kind in (spec.answer, spec.query, spec.body) if kind is not None)


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(each: Described, known: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    spec = each.spec
    operation: dict[str, Any] = {
        "summary": spec.summary,
        "operationId": re.sub(r"\W+", "_", f"{each.method.lower()} {each.path}").strip("_"),
        "tags": [each.tag],
        "security": _SECURITY[spec.auth],
        "responses": {str(spec.status): _success(spec, known), **_failures(each)},
    }
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if name in _NUMBERS else "string"},
        }
        for name in each.parameters
    ]
    if spec.query is not None:
        query = components[known[_key(spec.query)]["$ref"].rpartition("/")[2]]
        parameters += [
            {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": schema}
            for name, schema in query["properties"].items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if spec.body is not None:
        content = {JSON: {"schema": known[_key(spec.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif spec.form:
        content = {_FORM: {"schema": _form(spec)}}
        operation["requestBody"] = {"required": bool(set(spec.form) - spec.optional), "content": content}
    return operation


def _form(spec: Spec) -> dict[str, Any]:
    parts = {
        name: {"type": "string", "format": "binary"} if kind is bytes else {"type": "string"}
        for name, kind in spec.form.items()
    }
    return {
        "type": "object",
        "properties": parts,
        "required": [name for name in parts if name not in spec.optional],
    }


def _success(spec: Spec, known: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": spec.summary}
    if spec.answer is not None:
        told["content"] = {JSON: {"schema": known[_key(spec.answer)]}}
    elif spec.media is not None and spec.media != JSON:
        told["content"] = {spec.media: {}}
    return told


def _failures(each: Described) -> dict[str, Any]:
    spec = each.spec
    errors = dict(spec.errors)
    if spec.auth in (Auth.SESSION, Auth.ACTOR):
        errors.setdefault(401, _REFUSED[401])
    if spec.auth is Auth.OPERATOR:
        errors.setdefault(401, "the secret is missing, or another")
        errors.setdefault(503, "this service has no secret for its operator")
    if spec.auth is Auth.ACTOR:
        errors.setdefault(403, _REFUSED[403])
    if spec.query is not None or spec.body is not None or spec.form or _NUMBERS & set(each.parameters):
        errors.setdefault(422, _REFUSED[422])
    content = {JSON: {"schema": _ERROR}}
    told = {
        str(status): {"description": text} | ({"content": content} if status >= 400 else {})
        for status, text in sorted(errors.items())
    }
    return told | {"default": {"description": "It cannot be done now, or too often.", "content": content}}
