"""An ID3v2.3 tag: title, artist, album and a cover, as every player reads them."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_COVER_BYTES = 64 << 20
_FRONT_COVER = 3


@dataclass(frozen=True, slots=True)
class Tags:
    """What is told of a track inside of its file. `cover` is an image of the kind `cover_mime`."""

    title: str = ""
    artist: str = ""
    album: str = ""
    cover: bytes | None = None
    cover_mime: str = "image/jpeg"


def id3(tags: Tags) -> bytes:
    """The tag to stand in front of the sound; nothing where there is nothing to tell. A cover of 64 MiB
    or more is left out."""
    texts = ((b"TIT2", tags.title), (b"TPE1", tags.artist), (b"TALB", tags.album))
    body = b"".join(_frame(name, _text(text)) for name, text in texts if text)
    if tags.cover is not None and len(tags.cover) < _MOST_COVER_BYTES:
        head = b"\0" + tags.cover_mime.encode("latin-1") + b"\0" + bytes([_FRONT_COVER]) + b"\0"
        body += _frame(b"APIC", head + tags.cover)
    if not body:
        return b""
    sizes = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + sizes + body


def _frame(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "big") + b"\0\0" + body


def _text(text: str) -> bytes:
    """In UTF-16 with its mark, the one Unicode that version 2.3 has."""
    return b"\x01" + b"\xff\xfe" + text.replace("\0", "").encode("utf-16-le", "replace")


NO_TAGS = Tags()
