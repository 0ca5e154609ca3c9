"""Queries of REST routes as structs, and what a handler says of itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from appview.rest.answers import Refused, answer, rest
from appview.rest.openapi import document
from appview.rest.spec import Auth, described, query_of, spec_of


class _Query(msgspec.Struct):
    q: Annotated[str, msgspec.Meta(min_length=2)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=25)] = 10
    deep: bool = False


def _query(text: str) -> _Query:
    return query_of(make_mocked_request("GET", f"/search?{text}"), _Query)


def test_a_query_becomes_what_it_is_meant_to_be() -> None:
    assert _query("q=ana&limit=5&deep=true&new=thing") == _Query("ana", 5, True)
    assert _query("q=ana&q=bo") == _Query("ana", 10, False)


@pytest.mark.parametrize(
    ("text", "loc"),
    [
        ("limit=5", ["query", "q"]),
        ("q=a", ["query", "q"]),
        ("q=ana&limit=26", ["query", "limit"]),
        ("q=ana&limit=1.5", ["query", "limit"]),
        ("q=ana&limit=x", ["query", "limit"]),
        ("q=ana&deep=maybe", ["query", "deep"]),
    ],
)
def test_a_query_that_does_not_fit_is_told_where(text: str, loc: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        _query(text)
    assert refused.value.status == 422
    assert isinstance(refused.value.detail, list)
    assert [each["loc"] for each in refused.value.detail] == [loc]


class _Routes:
    @described("May be empty", answer=dict[str, str], errors={204: "nothing", 307: "there", 404: "no"})
    async def perhaps(self, _: web.Request) -> web.StreamResponse:
        return answer({})

    @described("Says hello", answer=dict[str, str], auth=Auth.OPTIONAL)
    async def hello(self, _: web.Request) -> web.StreamResponse:
        return answer({"hello": "you"})

    async def silent(self, _: web.Request) -> web.StreamResponse:
        return answer({})


def test_what_a_handler_says_of_itself_is_found_on_its_route() -> None:
    router, routes = web.UrlDispatcher(), _Routes()
    said = spec_of(router.add_get("/hello", rest(routes.hello)).handler)
    assert said is not None
    assert (said.summary, said.auth, said.status) == ("Says hello", Auth.OPTIONAL, 200)
    assert spec_of(router.add_get("/silent", rest(routes.silent)).handler) is None


def test_only_a_failure_has_a_text_to_tell() -> None:
    router = web.UrlDispatcher()
    router.add_post("/tracks/{track_id}/revisions/{revision_id}", rest(_Routes().perhaps))
    [operation] = [
        each
        for path in document(router, version="1", server=None)["paths"].values()
        for each in path.values()
    ]
    with_text = {status for status, told in operation["responses"].items() if "content" in told}
    assert with_text == {"200", "404", "422", "default"}
    assert [each["schema"]["type"] for each in operation["parameters"]] == ["integer", "integer"]
