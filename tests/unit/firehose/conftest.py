"""A certificate authority for the fake servers, and the real relay frames, made and read once; a web of
servers, and our client in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from firehose.net import GuardedClient
from tests.corpus import Corpus, read_corpus
from tests.fakenet.http import FakeWeb
from tests.fakenet.tls import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def corpus(shared: Path) -> Corpus:
    return read_corpus(shared)


@pytest.fixture
async def fake_web(authority: Authority) -> AsyncIterator[FakeWeb]:
    """With one host in it that everybody knows."""
    async with FakeWeb(authority) as web:
        web.host("a.plyr-test.dev")
        yield web


@pytest.fixture
async def client(fake_web: FakeWeb, authority: Authority) -> AsyncIterator[GuardedClient]:
    """In development mode: fake hosts are on this machine."""
    async with GuardedClient(
        allow_loopback=True, resolver=fake_web.names, ssl_context=authority.client_context
    ) as client:
        yield client
