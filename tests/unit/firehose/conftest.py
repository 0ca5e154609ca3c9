"""A certificate authority for the fake servers, made once."""

from __future__ import annotations

import pytest

from tests.fakenet.tls import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()
