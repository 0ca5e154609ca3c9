"""The latest messages of the live feed, kept once for all who follow. Pure.

Subscribers have no queues of their own. Each has a number, the message that it gets next, and takes
chunks of finished frames from here at its own pace:

    messages   … 41 42 43 44 45        numbers go on for ever; `base` is the oldest that is kept
    subscribers      ▲        ▲        one at 42, one at 45: caught up when the number is `end`

Who falls behind `base` is too slow, and has cost no memory until then. What an account that must not
be shown any more said is erased from here: nobody who comes by later sees it.
"""

from __future__ import annotations

from bisect import bisect_right

from appview.messages import Message, Wanted
from lexicons.syntax import Did, Nsid, Rkey

_MAX_CHUNKS = 64  # that are remembered for others at the same place


class Ring:
    """Messages up to the seq `head`, of those above `floor` every one, in about `max_bytes`."""

    def __init__(self, head: int, *, max_bytes: int, namespace: str) -> None:
        self.head = head
        self.floor = head
        self.base = 0
        self._messages: list[Message | None] = []
        self._seqs: list[int] = []
        self._bytes = 0
        self._max_bytes = max_bytes
        self._namespace = namespace
        self._chunks: dict[tuple[Wanted, int], tuple[bytes, int]] = {}

    @property
    def end(self) -> int:
        """The number that the next message will have."""
        return self.base + len(self._messages)

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self._seqs.append(message.seq)
        self._bytes += message.size

    def advance(self, head: int) -> None:
        """Everything up to `head` was added. Makes room where there is too much."""
        self.head = head
        self._chunks.clear()
        if self._bytes <= self._max_bytes:
            return
        # more than there must be, so that lists are moved seldom
        count = 0
        while count < len(self._messages) and self._bytes > self._max_bytes * 7 // 8:
            message = self._messages[count]
            self._bytes -= 0 if message is None else message.size
            count += 1
        self.floor = self._seqs[count - 1]
        self.base += count
        del self._messages[:count], self._seqs[:count]

    def erase(self, did: Did, *, whole: bool = False) -> None:
        """Forget the records of an account; `whole`: all that was told of it."""
        self._chunks.clear()
        for index, message in enumerate(self._messages):
            if message is not None and message.did == did and (whole or message.collection is not None):
                self._bytes -= message.size
                self._messages[index] = None

    def erase_record(self, did: Did, collection: Nsid, rkey: Rkey) -> None:
        """Forget all versions of one record."""
        self._chunks.clear()
        for index, message in enumerate(self._messages):
            if message is not None and message.is_of(did, collection, rkey):
                self._bytes -= message.size
                self._messages[index] = None

    def number_after(self, seq: int) -> int | None:
        """The number of the first message above `seq`; None if some that came before it are gone."""
        if seq < self.floor:
            return None
        return self.base + bisect_right(self._seqs, seq)

    def chunk(self, wanted: Wanted, number: int, max_bytes: int) -> tuple[bytes, int]:
        """Frames from `number` on, as many as `max_bytes` hold (one at least), and the number after them."""
        key = (wanted, number)
        found = self._chunks.get(key)
        if found is None:
            if len(self._chunks) >= _MAX_CHUNKS:
                self._chunks.clear()
            found = self._chunks[key] = self._joined(wanted, number, max_bytes)
        return found

    def _joined(self, wanted: Wanted, number: int, max_bytes: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size, index = 0, number - self.base
        while index < len(self._messages) and size < max_bytes:
            message = self._messages[index]
            index += 1
            if message is None or not (wanted.all or wanted.has(message)):
                continue
            frame = message.frame(wanted.form, self._namespace)
            parts.append(frame)
            size += len(frame)
        return b"".join(parts), self.base + index
