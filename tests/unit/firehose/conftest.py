"""A certificate authority for the fake servers, and the real relay frames, made and read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus import Corpus, read_corpus
from tests.fakenet.tls import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def corpus(shared: Path) -> Corpus:
    return read_corpus(shared)
