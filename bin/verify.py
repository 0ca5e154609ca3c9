"""`plyr verify`: checks a capture file, or the CAR of one repo, without any network."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import orjson
import zstandard

from firehose.capture import CaptureCheck, CaptureCorrupt, CaptureTruncated, read_capture, record_line
from firehose.did_document import WrongDocument, read_claims
from firehose.events import Commit
from firehose.keys import PublicKey
from firehose.message import CommitRejected
from firehose.repo import Repo, read_repo
from lexicons.syntax import Did

_DETAILS = 10  # refused frames that are told one by one


class _Unusable(Exception):
    """A file that the command was given cannot be used; the text is one line for a person."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plyr verify`."""
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="capture file: zstd of [length][frame]…"
    )
    parser.add_argument(
        "--car", type=Path, metavar="FILE", help="check a repo's CAR instead, and list its records"
    )
    parser.add_argument(
        "--did-docs",
        type=Path,
        metavar="FILE",
        help="DID documents with the signing keys: a JSON object by DID, or a list; may be zstd",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--records", type=Path, metavar="OUT", help="write a line of JSON per record operation, in order"
    )
    parser.set_defaults(print_usage=parser.print_usage)


def run(args: argparse.Namespace, _settings: object = None) -> int:
    """0 if all holds, 1 if something was refused or the file is damaged, 2 if it cannot be checked."""
    if (args.file is None) == (args.car is None):
        args.print_usage(sys.stderr)
        print("plyr verify: name a capture file, or a repo with --car", file=sys.stderr)
        return 2
    try:
        return _check_capture(args) if args.car is None else _check_car(args)
    except _Unusable as error:
        print(f"plyr verify: {error}", file=sys.stderr)
        return 2


def _check_capture(args: argparse.Namespace) -> int:
    if args.did_docs is None:
        raise _Unusable("checking signatures needs the accounts' keys: give --did-docs FILE")
    keys = _read_keys(args.did_docs)
    check = CaptureCheck(keys, time.time_ns() // 1000)
    refused: list[str] = []
    damage: str | None = None
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_open(args.file))
        out = stack.enter_context(_create(args.records)) if args.records is not None else None
        progress = _Progress(file, None if args.json else sys.stderr)
        try:
            for raw in read_capture(file):
                verdict = check.check(raw)
                if isinstance(verdict, CommitRejected):
                    if len(refused) < _DETAILS:
                        refused.append(f"frame {check.report.frames}: {verdict.reason}: {verdict.detail}")
                elif out is not None and isinstance(verdict, Commit):
                    for op in verdict.ops:
                        out.write(orjson.dumps(record_line(verdict, op), option=orjson.OPT_APPEND_NEWLINE))
                progress.show(check.report.frames)
        except (CaptureTruncated, CaptureCorrupt) as error:
            damage = str(error)
        progress.clear()
    seconds = time.perf_counter() - started
    report = check.report
    if args.json:
        answer: dict[str, Any] = {
            "frames": report.frames,
            "commits": report.commits,
            "verified": report.verified,
            "failed": dict(report.failed),
            "identity": report.identity,
            "account": report.account,
            "sync": report.sync,
            "info": report.info,
            "error": report.error,
            "seconds": round(seconds, 3),
        }
        if damage is not None:
            answer["damage"] = damage
        print(json.dumps(answer))
    else:
        print(f"{report.frames} frames: {report.commits} commits, {report.identity} identity, ", end="")
        print(f"{report.account} account, {report.sync} sync, {report.info} info, {report.error} error")
        rate = report.commits / seconds if seconds else 0
        print(f"{report.verified} of {report.commits} commits verified in {seconds:.2f} s ({rate:,.0f}/s)")
        for reason, count in report.failed.most_common():
            print(f"  refused {count} × {reason}")
    for line in refused:
        print(f"plyr verify: {line}", file=sys.stderr)
    if report.failed.total() > len(refused):
        print(f"plyr verify: and {report.failed.total() - len(refused)} more", file=sys.stderr)
    if damage is not None:
        print(
            f"plyr verify: {args.file}: {damage}; {report.frames} frames came before that",
            file=sys.stderr,
        )
    return 1 if damage is not None or report.failed else 0


def _check_car(args: argparse.Namespace) -> int:
    data = _read(args.car)
    keys = {} if args.did_docs is None else _read_keys(args.did_docs)
    try:
        repo = read_repo(data, None)
        key = keys.get(repo.did)
        if args.did_docs is not None and key is None:
            raise _Unusable(f"{args.did_docs} has no signing key for {repo.did}")
        if key is not None:
            read_repo(data, key)
    except CommitRejected as error:
        print(f"plyr verify: {args.car}: {error}", file=sys.stderr)
        return 1
    if args.records is not None:
        with _create(args.records) as out:
            out.writelines(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in _listing(repo))
    signature = "not checked: no --did-docs" if key is None else f"by {key.did_key}"
    if args.json:
        answer = {
            "did": repo.did,
            "rev": repo.rev,
            "commit": repo.cid,
            "data": repo.data,
            "prev": repo.prev,
            "records": len(repo.records),
            "signature": signature,
        }
        print(json.dumps(answer))
        return 0
    for path, cid, _ in repo.records:
        print(f"{path}\t{cid}")
    print(
        f"{repo.did} at rev {repo.rev}, commit {repo.cid}, data {repo.data}: {len(repo.records)} records; "
        f"signature {signature}",
        file=sys.stderr,
    )
    return 0


def _listing(repo: Repo) -> Iterator[dict[str, str]]:
    for path, cid, _ in repo.records:
        collection, _, rkey = path.partition("/")
        yield {"did": repo.did, "rev": repo.rev, "collection": collection, "rkey": rkey, "cid": cid}


class _Progress:
    """A line that tells how far we are, on a terminal only, ten times a second at most."""

    def __init__(self, file: BinaryIO, terminal: TextIO | None) -> None:
        self._file = file
        self._terminal = terminal if terminal is not None and terminal.isatty() else None
        self._size = os.fstat(file.fileno()).st_size or 1
        self._next = 0.0

    def show(self, frames: int) -> None:
        if self._terminal is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.1
        share = min(1.0, self._file.tell() / self._size)
        bar = "█" * round(share * 30)
        self._terminal.write(f"\r\033[K{bar:░<30} {share:4.0%}  {frames} frames")
        self._terminal.flush()

    def clear(self) -> None:
        if self._terminal is not None:
            self._terminal.write("\r\033[K")
            self._terminal.flush()


def _read_keys(path: Path) -> Mapping[Did, PublicKey]:
    """The signing keys in a file of DID documents; a document without a usable one has none."""
    data = _read(path)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
        except zstandard.ZstdError as error:
            raise _Unusable(f"{path} is damaged: {error}") from None
    try:
        documents = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _Unusable(f"{path} is not JSON: {error}") from None
    if isinstance(documents, dict):
        documents = list(documents.values())
    if not isinstance(documents, list):
        raise _Unusable(f"{path} holds neither a JSON object nor a list of DID documents")
    keys: dict[Did, PublicKey] = {}
    for document in documents:
        did = document.get("id") if isinstance(document, dict) else None
        if not isinstance(did, str):
            raise _Unusable(f"{path} holds something that is no DID document")
        with contextlib.suppress(WrongDocument):
            claims = read_claims(Did(did), document, development=True)
            if claims.signing_key is not None:
                keys[claims.did] = PublicKey.parse(claims.signing_key)
    return keys


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _Unusable(f"cannot read {path}: {error.strerror}") from None


def _read(path: Path) -> bytes:
    with _open(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise _Unusable(f"cannot read {path}: {error.strerror}") from None


def _create(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise _Unusable(f"cannot write {path}: {error.strerror}") from None
