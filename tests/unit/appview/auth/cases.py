"""How the stage is set for a hostile case, and what must come of it."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import pytest

from appview.auth.grant import Refusal, SignInFailed
from lexicons.syntax import Did
from tests.fakenet.authserver import Nonces
from tests.fakenet.http import Page, Writer, json_page, redirect
from tests.unit.appview.auth.stage import ALICE, HASTE_S, Stage, document

PRIVATE = "https://10.0.0.7"
INSIDE = "https://as.plyr-test.dev"  # a public name that leads to a private address
BUSY = Page(b"slow down", 429, {"Retry-After": "1"})
DOWN = Page(b"upstream connect error", 503)
Arrange = Callable[[Stage], object]
Table = Mapping[str, tuple[Refusal, Arrange]]


async def refused(stage: Stage, act: Awaitable[object]) -> Refusal:
    """What `act` ended with; no secret of the stage is in what could be shown or logged of it."""
    with pytest.raises(SignInFailed) as caught:
        await act
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(stage.flow)
    for secret in stage.secrets():
        assert secret not in told
    return caught.value.refusal


# In the values of these, {home} and {away} are the servers' origins.


def resource(**changes: object) -> Arrange:
    return lambda stage: stage.home.resource.update(_filled(changes, stage))


def names(*servers: object) -> Arrange:
    """The PDS names these as its authorization servers."""
    return resource(authorization_servers=servers)


def metadata(**changes: object) -> Arrange:
    return lambda stage: stage.home.metadata.update(_filled(changes, stage))


def settled(did: Did = ALICE, handle: str | None = "alice.test", pds: str | None = "{home}") -> Arrange:
    """Alice's document says this."""
    return lambda stage: stage.plc.docs.update({ALICE: document(did, handle, _filled(pds, stage))})


def without(name: str) -> Arrange:
    return lambda stage: stage.home.metadata.pop(name)


def answers(path: str, answer: Page | Writer) -> Arrange:
    return lambda stage: stage.home.instead.update({path: answer})


def drags(path: str, answer: Writer) -> Arrange:
    """The same, before a client that has no patience."""

    def arrange(stage: Stage) -> None:
        stage.home.instead[path] = answer
        stage.client = stage.restarted(timeout_s=HASTE_S)

    return arrange


def fails(path: str, error: str, status: int) -> Arrange:
    return answers(path, json_page({"error": error}, status))


def sends_away(path: str) -> Arrange:
    """A redirect that would have the same form sent to another server."""
    return lambda stage: stage.home.instead.update({path: redirect(stage.away.origin + path, 307)})


def edits(path: str, **changes: object) -> Arrange:
    return lambda stage: stage.home.edit.update({path: lambda body: body | changes})


def drops(path: str, name: str) -> Arrange:
    def edit(body: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in body.items() if key != name}

    return lambda stage: stage.home.edit.update({path: edit})


def nonces(kind: Nonces) -> Arrange:
    def arrange(stage: Stage) -> None:
        stage.home.nonces = kind

    return arrange


def _filled(value: Any, stage: Stage) -> Any:
    text = orjson.dumps(value).decode()
    return orjson.loads(text.replace("{home}", stage.home.origin).replace("{away}", stage.away.origin))
