"""Where the sound of other people's records may be: an `audioUrl` that is anywhere else is not passed on.

Whoever publishes a record can write any address into it. It stays in the stored bytes, which come out of
every replay the same. Which addresses are good is the operator's choice, and made here, when something is
answered. A blob is another thing: its address is made by us, of its account's PDS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from yarl import URL

from firehose.address import check_url
from firehose.fetch_errors import Blocked

ANYWHERE = "*"
_MOST_KNOWN = 10_000
_SCHEME = len("https://")
_HOST = _SCHEME + 1  # behind the quote that begins an address
_NEAR = 2_000
_NOTHING = b"\n"  # no value begins with it
_MAX_ORIGIN = 300
_R2, _BEHIND_R2, _STORAGE = b'"r2_url":', b',"atproto_record_uri":', b'"audio_storage":"'
_R2_LENGTH = len(_R2)
_AUDIO, _URL, _SAID = b'"audio":{', b'"url":"', b'"audioUrl":'
_URL_MEMBER = re.compile(rb'"url":"(?:[^"\\]|\\.)*",?')


class SoundOrigins:
    """`allowed`: origins, `https://*.host` for every host below one, or ANYWHERE; `own`: origins of ours.

    Of others none that the guarded client would not go to is allowed, `allow_loopback` as there.
    """

    def __init__(
        self, allowed: Iterable[str], *, own: Iterable[str] = (), allow_loopback: bool = False
    ) -> None:
        allowed = list(allowed)
        self._anywhere = ANYWHERE in allowed
        self._exact = frozenset(str(URL(each).origin()) for each in allowed if "*" not in each)
        self._below = tuple(
            each.removeprefix("https://*") for each in allowed if each.startswith("https://*.")
        )
        self._own = frozenset(own)
        self._allow_loopback = allow_loopback
        self._known: dict[bytes, bool] = {}  # by origin as it was written

    def allows(self, url: str) -> bool:
        """Whether an `audioUrl` may be passed on, by its origin alone."""
        return self._is_good(_origin(url).encode())

    def is_own(self, url: str) -> bool:
        return _origin(url) in self._own

    def in_rest(self, rest: bytes) -> bytes:
        """Members of a REST track (`track.rest`), with `r2_url` null where its address is not allowed."""
        begin = rest.find(_R2) + _R2_LENGTH
        if begin < _R2_LENGTH or self._passes(rest, begin):
            return rest
        return b"%bnull%b" % (rest[:begin], rest[rest.index(_BEHIND_R2, begin) :])

    def pass_all(self, tracks: bytes) -> bool:
        """Whether all of these REST tracks, each in a line of its own, may be passed on as they are. Where an
        address stands far behind the beginning of its line, they have to be looked at one by one."""
        find, begins = tracks.find, tracks.startswith
        good = _NOTHING
        line = 0 if tracks else -1
        while line >= 0:
            at = find(_R2, line, line + _NEAR) + _R2_LENGTH
            if at < _R2_LENGTH:
                return False
            # Nearly all of a page's are of one origin, and asked for fifty at a time.
            if not begins(good, at):
                address = tracks[at : find(b"/", at + _HOST) + 1]
                if self._known.get(address[1:-1]):
                    good = address
                elif not self._passes(tracks, at):
                    return False
            line = find(b"\n", at)
        return True

    def _passes(self, text: bytes, begin: int) -> bool:
        """Whether the value of `r2_url` that begins there is no address, or a good one."""
        if not text.startswith(b'"', begin):
            return True
        return self._is_good(_origin_at(text, begin + 1)) or is_blob(text, begin)

    def in_card(self, card: bytes) -> bytes:
        """Members of a #trackView (`track.card`), without `audio.url` where that is not allowed."""
        at = card.rfind(_AUDIO) + len(_AUDIO)  # behind the record, whose own members may be called anything
        if not card.startswith(_URL, at):
            return card
        if self._is_good(_origin_at(card, at + len(_URL))) or card.find(_SAID, 0, at) < 0:
            return card
        member = _URL_MEMBER.match(card, at)
        assert member is not None
        return card[:at] + card[member.end() :]

    def _is_good(self, origin: bytes) -> bool:
        known = self._known.get(origin)
        if known is None:
            if len(origin) > _MAX_ORIGIN:
                return False
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            text = origin.decode()
            known = self._known[origin] = text in self._own or self._judge(text)
        return known

    def _judge(self, origin: str) -> bool:
        try:
            url = check_url(origin, allow_loopback=self._allow_loopback)
        except Blocked:
            return False
        if self._anywhere or str(url.origin()) in self._exact:
            return True
        host = url.host or ""
        return url.scheme == "https" and url.is_default_port() and host.endswith(self._below)


def is_blob(rest: bytes, begin: int = 0) -> bool:
    """Whether `r2_url` in these members, from `begin` on, is a blob's at its PDS, and no `audioUrl`."""
    # The first of its name: what comes behind it may hold members that strangers named.
    return rest.startswith(b'pds"', rest.index(_STORAGE, begin) + len(_STORAGE))


def _origin(url: str) -> str:
    """All before the path. What else stands in it is for the check to refuse."""
    end = url.find("/", _SCHEME)
    return url if end < 0 else url[:end]


def _origin_at(text: bytes, begin: int) -> bytes:
    """Likewise of a URL that begins there in JSON."""
    origin = text[begin : text.find(b"/", begin + _SCHEME)]
    return origin if b'"' not in origin else origin[: origin.index(b'"')]
