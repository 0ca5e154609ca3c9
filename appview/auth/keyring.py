"""The key ring: what is written down for people is sealed with its first key, and opened with any.

Fernet (AES-128-CBC and HMAC-SHA-256) by the cryptography library. Keys come from the setting, or from a file
that is made at the first start. The contract of the file: a key is in it before anything is sealed with it,
and every ring looks whether the file changed before it seals or opens. So keys can change while servers run.

    KeyRingError
    ├── BadKey        a key that is none, or no key at all
    └── CannotOpen    sealed with a key that is not on the ring, or damaged
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

log = structlog.get_logger()

_HEAD = (
    "# These keys open what plyr keeps for people who signed in. Whoever has this file and the database\n"
    "# can act for them; without it everybody must sign in again. One key a line, the newest first.\n"
)


class KeyRingError(Exception):
    """The keys cannot be used."""


class BadKey(KeyRingError):
    """A key that is none, or no key at all."""


class CannotOpen(KeyRingError):
    """Sealed with a key that is not on the ring, or damaged."""


@dataclass(frozen=True, slots=True)
class _Keys:
    texts: tuple[str, ...]
    fernets: tuple[Fernet, ...]
    names: tuple[str, ...]

    @property
    def multi(self) -> MultiFernet:
        return MultiFernet(self.fernets)


class KeySource(Protocol):
    """Where keys come from; `changed` is cheap."""

    def changed(self) -> bool: ...
    def read(self) -> Sequence[str]: ...


def new_key() -> str:
    return Fernet.generate_key().decode()


def name_of(key: str) -> str:
    """A name for a key that gives nothing of it away."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _keys(texts: Sequence[str]) -> _Keys:
    if not texts:
        raise BadKey("there is no encryption key")
    fernets: list[Fernet] = []
    for number, text in enumerate(texts, 1):
        try:
            fernets.append(Fernet(text))
        except ValueError:
            raise BadKey(f"encryption key {number} is not 32 bytes as urlsafe base64") from None
    return _Keys(tuple(texts), tuple(fernets), tuple(name_of(text) for text in texts))


class GivenKeys:
    """Keys of the setting: they stay as they are for as long as the process lives."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._given = tuple(keys)

    def changed(self) -> bool:
        return False

    def read(self) -> Sequence[str]:
        return self._given


class KeyFile:
    """Keys of a file that only its owner can read. Made with one key if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        """Also False if it has vanished: what we read from it is all that there is now."""
        stamp = self._stamp()
        return stamp is not None and stamp != self._seen

    def read(self) -> Sequence[str]:
        """The keys, newest first. Raises BadKey."""
        if self._stamp() is None:
            self._make()
        self._seen = self._stamp()
        try:
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                log.warning("others on this machine can read the encryption keys", file=str(self.path))
            text = self.path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BadKey(f"cannot read the encryption keys: {error}") from None
        return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]

    def write(self, keys: Sequence[str]) -> None:
        """Put these in the file, whole or not at all."""
        self._written(keys).replace(self.path)

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Written beside it and linked: of several that start at once one wins, and nobody reads half a
            # file.
            fresh = self._written([new_key()])
            try:
                os.link(fresh, self.path)
            except FileExistsError:
                return
            finally:
                fresh.unlink()
        except OSError as error:
            raise BadKey(f"cannot make the encryption keys: {error}") from None
        log.warning(
            "made a key for what people who sign in trust us with; keep a copy apart from the database",
            file=str(self.path),
        )

    def _written(self, keys: Sequence[str]) -> Path:
        """A new file beside ours with these keys."""
        descriptor, path = tempfile.mkstemp(prefix=".", suffix=".keys", dir=self.path.parent)  # for its owner
        with os.fdopen(descriptor, "w") as file:
            file.write(_HEAD + "".join(f"{key}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        return Path(path)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


class KeyRing:
    """Seals and opens. Its text form shows nothing."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._keys = _keys(source.read())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the keys, the one that seals first."""
        return self._current().names

    def seal(self, secret: bytes) -> bytes:
        return self._current().multi.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises CannotOpen."""
        try:
            return self._current().multi.decrypt(sealed)
        except InvalidToken:
            raise CannotOpen("sealed with a key that is not on the ring, or damaged") from None

    def derived(self, purpose: str) -> list[bytes]:
        """32 bytes made of each key for this purpose alone, the newest first. None gives it away."""
        return [hmac.digest(text.encode(), purpose.encode(), "sha256") for text in self._current().texts]

    def sealed_by(self, sealed: bytes) -> str | None:
        """The name of the key that opens it."""
        keys = self._current()
        for fernet, name in zip(keys.fernets, keys.names, strict=True):
            try:
                fernet.decrypt(sealed)
            except InvalidToken:
                continue
            return name
        return None

    def _current(self) -> _Keys:
        if self._source.changed():
            self._keys = _keys(self._source.read())
        return self._keys

    def __repr__(self) -> str:
        return f"<KeyRing {' '.join(self._keys.names)}>"
