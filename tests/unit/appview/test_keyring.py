"""appview/auth/keyring.py: what is sealed stays sealed, and opens, whatever happens to the keys meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appview.auth.keyring import BadKey, CannotOpen, GivenKeys, KeyFile, KeyRing, name_of, new_key


def test_what_was_sealed_opens_again_and_shows_nothing() -> None:
    ring = KeyRing(GivenKeys([new_key()]))
    sealed = ring.seal(b"a secret")
    assert b"a secret" not in sealed
    assert ring.open(sealed) == b"a secret"


def test_the_same_secret_is_never_sealed_alike() -> None:
    ring = KeyRing(GivenKeys([new_key()]))
    assert ring.seal(b"x") != ring.seal(b"x")


def test_a_damaged_or_foreign_seal_does_not_open() -> None:
    ring = KeyRing(GivenKeys([new_key()]))
    sealed = bytearray(ring.seal(b"a secret"))
    sealed[30] ^= 1
    for bad in (bytes(sealed), b"", b"\xff\xfe", KeyRing(GivenKeys([new_key()])).seal(b"a secret")):
        with pytest.raises(CannotOpen):
            ring.open(bad)


def test_the_first_key_seals_and_every_key_opens() -> None:
    old, new = new_key(), new_key()
    sealed = KeyRing(GivenKeys([old])).seal(b"a secret")
    ring = KeyRing(GivenKeys([new, old]))
    assert ring.open(sealed) == b"a secret"
    assert ring.sealed_by(sealed) == name_of(old)
    assert ring.sealed_by(ring.seal(b"a secret")) == name_of(new)
    assert ring.sealed_by(b"nothing") is None


def test_a_key_that_is_none_is_refused_without_showing_it() -> None:
    for keys in ([], ["short-secret"], [new_key(), "x" * 44]):
        with pytest.raises(BadKey) as raised:
            KeyRing(GivenKeys(keys))
        assert "short-secret" not in str(raised.value)


def test_a_ring_shows_no_key() -> None:
    key = new_key()
    assert key not in repr(KeyRing(GivenKeys([key])))


def test_the_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "encryption.keys"
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(lambda _: KeyRing(KeyFile(path)), range(8)))
    assert len({ring.names for ring in rings}) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_running_ring_finds_new_keys_before_it_seals_or_opens(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "encryption.keys")
    sealing, opening = KeyRing(KeyFile(file.path)), KeyRing(KeyFile(file.path))
    before = opening.seal(b"before")
    old = file.read()
    file.write([new_key(), *old])
    assert sealing.sealed_by(sealing.seal(b"after")) == sealing.names[0] != name_of(old[0])
    assert opening.open(sealing.seal(b"after")) == b"after"
    assert opening.open(before) == b"before"
    file.write(file.read()[:1])
    with pytest.raises(CannotOpen):
        opening.open(before)


def test_a_file_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "encryption.keys"
    path.write_text("# nothing but this\n")
    path.chmod(0o600)
    with pytest.raises(BadKey, match="no encryption key"):
        KeyRing(KeyFile(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadKey, match="cannot read"):
        KeyRing(KeyFile(path))


def test_a_running_ring_keeps_its_keys_when_the_file_vanishes(tmp_path: Path) -> None:
    ring = KeyRing(KeyFile(tmp_path / "encryption.keys"))
    sealed = ring.seal(b"a secret")
    (tmp_path / "encryption.keys").unlink()
    assert ring.open(sealed) == b"a secret"
    assert ring.open(ring.seal(b"another")) == b"another"
    assert list(tmp_path.iterdir()) == []
