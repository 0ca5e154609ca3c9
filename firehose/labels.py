"""A labeler's word, out of a frame of `com.atproto.label.subscribeLabels`: read, and proven by its key. Pure.

Every label is judged by itself: one that does not hold is refused with a reason and takes no other with it.
What is signed is the DAG-CBOR of exactly the label's fields without `sig` (rule L1), by the key
`#atproto_label` of the labeler's DID document and no other. <https://atproto.com/specs/label>
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from firehose.keys import PublicKey
from lexicons.dagcbor import encode
from lexicons.syntax import Did, InvalidSyntax, is_at_uri, is_cid, is_did, parse_datetime

VERSION = 1
MAX_VAL_BYTES = 128
MAX_LABELS = 10_000  # of one frame
_FIELDS = ("ver", "src", "uri", "cid", "val", "neg", "cts", "exp")


class BadLabel(ValueError):
    """Nothing that this labeler said; the message tells why."""


class WrongSignature(BadLabel):
    """Not signed by this key: it may have been rotated."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a labeler says, proven. `cts` and `exp` are as it signed them, beside the times that they mean."""

    src: Did
    uri: str
    val: str
    cid: str | None
    neg: bool
    cts: str
    exp: str | None
    said_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Heard:
    """The labels of one frame: those that hold, and why the others do not."""

    labels: list[Label]
    refusals: list[BadLabel]

    @property
    def wrong_signature(self) -> bool:
        return any(isinstance(each, WrongSignature) for each in self.refusals)


def read_labels(body: dict[str, Any], src: Did, key: PublicKey) -> Heard:
    """What the body of a `#labels` frame says in the name of `src`, whose key is `key`."""
    given = body.get("labels")
    if not isinstance(given, list) or len(cast("list[Any]", given)) > MAX_LABELS:
        return Heard([], [BadLabel("no list of labels, or one that is too long")])
    heard = Heard([], [])
    for each in cast("list[Any]", given):
        try:
            heard.labels.append(_read(each, src, key))
        except BadLabel as error:
            heard.refusals.append(error)
    return heard


def last_words(labels: Iterable[Label]) -> list[Label]:
    """Of several about the same the one that was said last; of two at one moment, the one that came last."""
    found: dict[tuple[str, str], Label] = {}
    for label in labels:
        before = found.get((label.uri, label.val))
        if before is None or before.said_at <= label.said_at:
            found[label.uri, label.val] = label
    return list(found.values())


def _time(text: object) -> datetime:
    if type(text) is not str:
        raise BadLabel("a time that is none")
    try:
        return parse_datetime(text)
    except InvalidSyntax:
        raise BadLabel("a time that is none") from None


def _read(given: object, src: Did, key: PublicKey) -> Label:
    if not isinstance(given, dict):
        raise BadLabel("no object")
    label = cast("dict[str, Any]", given)
    ver, uri, val, cts = label.get("ver"), label.get("uri"), label.get("val"), label.get("cts")
    cid, neg, exp, sig = label.get("cid"), label.get("neg", False), label.get("exp"), label.get("sig")
    if type(ver) is not int or ver != VERSION:
        raise BadLabel("not version 1")
    if label.get("src") != src:
        raise BadLabel("of somebody else")
    if type(uri) is not str or not (is_did(uri) or is_at_uri(uri)):
        raise BadLabel("about no DID and no at:// URI")
    if type(val) is not str or not 0 < len(val.encode()) <= MAX_VAL_BYTES or not val.isprintable():
        raise BadLabel("a value that is none")
    said_at, ends_at = _time(cts), None if exp is None else _time(exp)
    if cid is not None and (type(cid) is not str or not is_cid(cid)):
        raise BadLabel("of a version that is none")
    if type(neg) is not bool:
        raise BadLabel("neither said nor taken back")
    if type(sig) is not bytes or len(sig) != 64:
        raise BadLabel("not signed")
    if not key.verify(encode({name: label[name] for name in _FIELDS if label.get(name) is not None}), sig):
        raise WrongSignature("not signed by the labeler's key")
    return Label(src, uri, val, cid, neg, cast("str", cts), exp, said_at, ends_at)
