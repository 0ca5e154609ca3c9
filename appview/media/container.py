"""What a file is, by its first bytes: its name and what its sender says don't count."""

from __future__ import annotations

from dataclasses import dataclass

from appview.media.failures import NotAudio

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Container:
    """`demuxer` is the one that ffmpeg is told to open it with, `suffix` and `mime` are the original's."""

    name: str
    demuxer: str
    suffix: str
    mime: str


WAV = Container("WAV", "wav", ".wav", "audio/wav")
AIFF = Container("AIFF", "aiff", ".aiff", "audio/aiff")
FLAC = Container("FLAC", "flac", ".flac", "audio/flac")
OGG = Container("Ogg", "ogg", ".ogg", "audio/ogg")
WEBM = Container("WebM", "matroska", ".webm", "audio/webm")
MP4 = Container("MP4", "mov", ".m4a", "audio/mp4")
MP3 = Container("MP3", "mp3", ".mp3", "audio/mpeg")
ADTS = Container("AAC", "aac", ".aac", "audio/aac")
CAF = Container("CAF", "caf", ".caf", "audio/x-caf")
OPUS = Container("Opus", "ogg", ".opus", "audio/ogg; codecs=opus")  # what we make; others' are Ogg
SUFFIXES = {one.mime: one.suffix for one in (WAV, AIFF, FLAC, OGG, WEBM, MP4, MP3, ADTS, CAF, OPUS)}

BY_NAME = {each.name: each for each in (WAV, AIFF, FLAC, OGG, WEBM, MP4, MP3, ADTS, CAF)}

_WAVE_MARKS = (b"RIFF", b"RF64", b"BW64")


def sniff(head: bytes) -> Container:
    """The container of a file that begins with these bytes (up to HEAD_BYTES). Raises NotAudio."""
    body = _behind_id3(head)
    if head[:4] in _WAVE_MARKS and head[8:12] == b"WAVE":
        return WAV
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if body is not None and body[:4] == b"fLaC":
        return FLAC
    if head[:4] == b"OggS":
        return OGG
    if head[:4] == b"\x1aE\xdf\xa3":
        return WEBM
    if head[4:8] == b"ftyp":
        return MP4
    if head[:4] == b"caff":
        return CAF
    if head[:3] == b"ID3" and (body is None or not body or _is_mpeg(body)):
        return MP3
    if body and _is_adts(body):
        return ADTS
    if body and _is_mpeg(body):
        return MP3
    raise NotAudio("this is no audio file that we know: it should be " + KNOWN)


KNOWN = "MP3, WAV, AIFF, FLAC, M4A (AAC or ALAC), Ogg, Opus or WebM"


def _behind_id3(head: bytes) -> bytes | None:
    """The bytes behind an ID3v2 tag; None where the tag is longer than the head."""
    if head[:3] != b"ID3" or len(head) < 10:
        return head
    size = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    return head[size:] if size < len(head) else None


def _is_adts(data: bytes) -> bool:
    return len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def _is_mpeg(data: bytes) -> bool:
    """Whether this is the header of an MPEG audio frame of layer 3, with values that there are."""
    return (
        len(data) > 2
        and data[0] == 0xFF
        and data[1] & 0xE6 == 0xE2
        and data[1] & 0x18 != 0x08
        and data[2] >> 4 not in (0, 15)
        and data[2] & 0x0C != 0x0C
    )
