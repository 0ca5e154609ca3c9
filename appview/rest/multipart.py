"""`multipart/form-data` (RFC 7578), from the chunks of a body to the parts in it. Pure.

    feed(chunk) ─▶ Head, bytes, bytes, …, Head, bytes, …        each Head begins a part, bytes are its content

Of a part no more is held than could be the beginning of a boundary, and of a head no more than `MAX_HEAD`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote

MAX_HEAD = 8 * 1024
MAX_PREAMBLE = 1024
MAX_PARTS = 64
_BOUNDARY = re.compile(r"""[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]""")
_PARAMETER = re.compile(r';\s*([A-Za-z*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')
_PLAIN = frozenset({"binary", "8bit", "7bit"})


class BadForm(Exception):
    """This is no form; the text tells why."""


class _State(Enum):
    PREAMBLE = auto()
    BOUNDARY = auto()  # behind one
    HEAD = auto()
    CONTENT = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Head:
    """What a part says of itself. `filename` None: it is no file; empty: none was chosen."""

    name: str
    filename: str | None


def boundary_of(content_type: str) -> bytes:
    """The boundary in a Content-Type. Raises BadForm."""
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise BadForm("the body must be multipart/form-data")
    found = dict(_parameters(";" + rest)).get("boundary", "")
    if _BOUNDARY.fullmatch(found) is None:
        raise BadForm("there is no boundary in Content-Type")
    return found.encode()


class FormParser:
    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # a form may begin with its boundary
        self._state = _State.PREAMBLE
        self._parts = 0

    @property
    def finished(self) -> bool:
        """The last boundary has come."""
        return self._state is _State.END

    def feed(self, chunk: bytes) -> Iterator[Head | bytes]:
        """What this chunk completes; take all of it before the next. Raises BadForm."""
        self._buffer += chunk
        while True:
            match self._state:
                case _State.PREAMBLE:
                    at = self._buffer.find(self._mark)
                    if at < 0:
                        if len(self._buffer) > MAX_PREAMBLE:
                            raise BadForm("the body does not begin with its boundary")
                        return
                    self._buffer = self._buffer[at + len(self._mark) :]
                    self._state = _State.BOUNDARY
                case _State.CONTENT:
                    content = self._content()
                    if content:
                        yield content
                    if self._state is _State.CONTENT:
                        return
                case _State.BOUNDARY:
                    if len(self._buffer) < 2:
                        return
                    if self._buffer.startswith(b"--"):
                        self._state = _State.END
                    elif self._buffer.startswith(b"\r\n"):
                        self._state = _State.HEAD
                    else:
                        raise BadForm("a boundary goes on where it should end")
                case _State.HEAD:
                    # What begins with the line's end of the boundary is a head with nothing in it.
                    end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
                    if end < 0:
                        if len(self._buffer) >= MAX_HEAD:
                            raise BadForm("the head of a part is too long")
                        return
                    self._parts += 1
                    if self._parts > MAX_PARTS:
                        raise BadForm("there are too many parts")
                    head = _head(self._buffer[2:end])
                    self._buffer = self._buffer[end + 4 :]
                    self._state = _State.CONTENT
                    yield head
                case _State.END:
                    self._buffer = b""
                    return

    def _content(self) -> bytes:
        """What is surely content. At a boundary the state moves on."""
        buffer, mark = self._buffer, self._mark
        at = buffer.find(mark)
        if at >= 0:
            self._buffer = buffer[at + len(mark) :]
            self._state = _State.BOUNDARY
            return buffer[:at]
        keep = len(mark) - 1
        self._buffer = buffer[-keep:]
        return buffer[:-keep]


def _head(raw: bytes) -> Head:
    """Raises BadForm."""
    fields: dict[str, str] = {}
    for line in raw.decode(errors="replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise BadForm("the head of a part is malformed")
        fields[name.strip().lower()] = value.strip()
    kind, _, rest = fields.get("content-disposition", "").partition(";")
    found = dict(_parameters(";" + rest))
    if kind.strip().lower() != "form-data" or not found.get("name"):
        raise BadForm("a part has no name")
    if fields.get("content-transfer-encoding", "binary").lower() not in _PLAIN:
        raise BadForm("a part is encoded: send it as it is")
    filename = found.get("filename")
    if "filename*" in found:
        filename = unquote(found["filename*"].rpartition("'")[2], errors="replace")
    return Head(found["name"], filename)


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, bare in _PARAMETER.findall(text):
        # Browsers write a quotation mark as %22, others as \".
        yield name.lower(), re.sub(r"\\(.)", r"\1", quoted).replace("%22", '"') if quoted else bare
