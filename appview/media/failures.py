"""What can be wrong with media, in words for whoever sent it.

MediaFailed
├── NotAudio        no sound that we know, whatever its name says
├── NotImage        no picture that we know, whatever its name says
├── Truncated       it ends before it says that it ends
├── Unreadable      it cannot be decoded
├── TooLong         longer than is allowed
├── TooLarge        a picture of more bytes, pixels or frames than is allowed
├── LimitExceeded   decoding it takes more time, memory or space than is allowed
└── NoFfmpeg        this machine cannot decode anything
"""

from __future__ import annotations

# What the owner of a job is told of our own troubles; the log has the rest.
STORE_AWAY = "our storage is away at the moment"
NO_FFMPEG = "we cannot read audio at the moment"


class MediaFailed(Exception):
    """Media could not be read or made."""


class NotAudio(MediaFailed):
    """The content is no sound in a format that we know."""


class NotImage(MediaFailed):
    """The content is no picture in a format that we know."""


class Truncated(MediaFailed):
    """The file ends before it says that it ends."""


class Unreadable(MediaFailed):
    """The content cannot be decoded; the text is the decoder's own. `log`: all that it said."""

    def __init__(self, text: str, log: str = "") -> None:
        super().__init__(text)
        self.log = log


class TooLong(MediaFailed):
    """The sound is longer than is allowed."""


class TooLarge(MediaFailed):
    """The picture has more bytes, pixels or frames than is allowed."""


class LimitExceeded(MediaFailed):
    """It took more time, memory or space than is allowed."""


class NoFfmpeg(MediaFailed):
    """There is no ffmpeg on this machine."""
