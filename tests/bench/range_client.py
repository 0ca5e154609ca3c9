"""Reads ranges as fast as they come (a child process): each connection in a thread, bytes thrown away.

Answers `{port, path, size, part_bytes, count, connections}` with bytes and time; every answer's length is
checked, and of each hundredth the bytes, against the file itself.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench import children

_DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0


class _Reader:
    def __init__(self, task: dict[str, Any], seed: int, count: int) -> None:
        self._task = task
        self._dice = random.Random(seed)
        self._count = count
        self._buffer = memoryview(bytearray(1 << 20))
        self.received = 0
        self.wrong = ""

    def run(self) -> None:
        task = self._task
        with (
            socket.create_connection(("127.0.0.1", task["port"])) as sock,
            Path(task["file"]).open("rb") as file,
        ):
            for number in range(self._count):
                start = self._dice.randrange(0, task["size"] - task["part_bytes"] + 1)
                stop = start + task["part_bytes"]
                lines = [
                    f"GET {task['path']} HTTP/1.1",
                    "Host: x",
                    f"Range: bytes={start}-{stop - 1}",
                    "",
                    "",
                ]
                sock.sendall("\r\n".join(lines).encode())
                kept = bytearray() if number % 100 == 0 else None
                self._one(sock, kept)
                if kept is not None:
                    file.seek(start)
                    if file.read(task["part_bytes"]) != kept:
                        self.wrong = f"bytes {start} to {stop} are others"
                if self.wrong:
                    return

    def _one(self, sock: socket.socket, kept: bytearray | None) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            got = sock.recv(2048)
            if not got:
                self.wrong = "the server closed"
                return
            head += got
        head, _, body = head.partition(b"\r\n\r\n")
        if b" 206 " not in head.partition(b"\r\n")[0]:
            self.wrong = head.decode()
            return
        got = len(body)
        if kept is not None:
            kept += body
        while got < self._task["part_bytes"]:
            # What is not looked at is not even copied: as little as can be is the client's.
            read = sock.recv_into(self._buffer, 0, 0 if kept is not None else _DISCARD)
            if not read:
                self.wrong = "the server closed"
                return
            if kept is not None:
                kept += self._buffer[:read]
            got += read
        if got > self._task["part_bytes"]:
            self.wrong = "more came than was asked for"
        self.received += got


async def read(task: dict[str, Any]) -> None:
    each = task["count"] // task["connections"]
    readers = [_Reader(task, seed, each) for seed in range(task["connections"])]
    threads = [threading.Thread(target=reader.run) for reader in readers]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [reader.wrong for reader in readers if reader.wrong]
    children.say(
        {
            "bytes": sum(reader.received for reader in readers),
            "wall_s": time.perf_counter() - started,
            "wrong": wrong[0] if wrong else "",
        }
    )


if __name__ == "__main__":
    children.main(read)
