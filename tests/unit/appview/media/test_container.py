from __future__ import annotations

import pytest

from appview.media.container import ADTS as AAC
from appview.media.container import AIFF, CAF, FLAC, MP3, MP4, OGG, WAV, WEBM, Container, sniff
from appview.media.failures import NotAudio

ID3 = b"ID3\x04\0\0\0\0\0\x05" + bytes(5)
FRAME = b"\xff\xfb\xe0\x64" + bytes(100)


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", WAV),
        (b"RF64\xff\xff\xff\xffWAVEds64", WAV),
        (b"FORM\0\0\0\x24AIFFCOMM", AIFF),
        (b"FORM\0\0\0\x24AIFCFVER", AIFF),
        (b"fLaC\0\0\0\x22", FLAC),
        (ID3 + b"fLaC\0\0\0\x22", FLAC),
        (b"OggS\0\x02", OGG),
        (b"\x1aE\xdf\xa3\x01\0", WEBM),
        (b"\0\0\0\x20ftypM4A ", MP4),
        (b"caff\0\x01\0\0", CAF),
        (FRAME, MP3),
        (b"\xff\xf3\x48\xc4", MP3),
        (ID3 + FRAME, MP3),
        (b"ID3\x04\0\0\x00\x7f\0\0" + bytes(4000), MP3),  # a cover in it, longer than what is looked at
        (b"\xff\xf1\x50\x80\0\x1f\xfc", AAC),
    ],
)
def test_the_first_bytes_say_what_it_is(head: bytes, container: Container) -> None:
    assert sniff(head) is container


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"hello, I am a text file that is called song.mp3",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\nhttp://127.0.0.1/",
        b"ffconcat version 1.0\nfile /etc/passwd",
        b"RIFF\x24\0\0\0AVI LIST",
        b"FORM\0\0\0\x24ILBMBMHD",
        b"PK\x03\x04",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"\xff\xff\xff\xff",
        ID3 + b"<?xml version",
        bytes(4096),
    ],
)
def test_what_is_no_sound_is_refused_whatever_it_is_called(head: bytes) -> None:
    with pytest.raises(NotAudio):
        sniff(head)
