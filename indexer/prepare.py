"""From verified events to what a transaction needs to know: one candidate per record, parsed and
rendered.

Pure, and without the database, so that one batch is prepared while the one before is written: whatever
can be computed from the record alone is computed here. Within a batch the newest rev of a record wins;
whether it also beats what is stored is `decide`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from firehose.events import Account, Action, Commit, Event, Identity, RecordOp, Sync
from indexer import cards
from lexicons.catalog import Catalog, Collections
from lexicons.records import Comment, InvalidRecord, Like, List, Record, Track, parse_record
from lexicons.syntax import AtUri, Cid, Did, Nsid, Rev, Rkey, is_atproto_did

MAX_TRACK_URI = 1024  # a DID of this network has at most 261 characters, a record key 512


class Candidate(msgspec.Struct, frozen=True):
    """The newest version of a record in a batch.

    `cid` None: deleted. `invalid`: the lexicon's reason against it. `subjects` are the tracks that it
    points at, by place: one at 0 for a like or comment, some of a list's items. `card` is None where
    rendering it takes more than the record.
    """

    did: Did
    collection: Nsid
    rkey: Rkey
    rev: Rev
    cid: Cid | None
    block: bytes | None
    record: Record | None = None
    invalid: str | None = None
    subjects: dict[int, AtUri] = {}
    sort_at: datetime | None = None
    card: str | None = None

    @property
    def uri(self) -> AtUri:
        return AtUri(f"at://{self.did}/{self.collection}/{self.rkey}")


@dataclass(slots=True)
class Prepared:
    """A batch, sorted by what it touches. `discovered`: accounts with a record of ours in it."""

    newest: dict[tuple[Did, Nsid, Rkey], Candidate] = field(
        default_factory=dict[tuple[Did, Nsid, Rkey], Candidate]
    )
    history: dict[Did, list[Commit | Sync]] = field(default_factory=dict[Did, list[Commit | Sync]])
    accounts: list[Account] = field(default_factory=list[Account])
    identities: set[Did] = field(default_factory=set[Did])
    discovered: set[Did] = field(default_factory=set[Did])

    @property
    def candidates(self) -> Collection[Candidate]:
        return self.newest.values()

    @property
    def dids(self) -> set[Did]:
        return {*self.history, *(a.did for a in self.accounts), *self.identities}

    def add(self, event: Event, catalog: Catalog) -> None:
        """One more event. An invalid record becomes a candidate with its reason (rule F1)."""
        match event:
            case Commit():
                self.history.setdefault(event.did, []).append(event)
                for op in event.ops:
                    self._add_op(event, op, catalog)
            case Sync():
                self.history.setdefault(event.did, []).append(event)
            case Account():
                self.accounts.append(event)
            case Identity():
                self.identities.add(event.did)
            case _:  # Info concerns the stream, not the tables
                pass

    def _add_op(self, commit: Commit, op: RecordOp, catalog: Catalog) -> None:
        if op.collection in catalog.collections.own:
            self.discovered.add(commit.did)
        elif op.collection != catalog.collections.bsky_profile:
            return
        key = (commit.did, op.collection, op.rkey)
        known = self.newest.get(key)
        if known is None or known.rev <= commit.rev:
            cid = None if op.action is Action.DELETE else op.cid
            self.newest[key] = read(Candidate(*key, commit.rev, cid, op.block), catalog)


def prepare(events: Iterable[Event], catalog: Catalog) -> Prepared:
    """A batch, collapsed and parsed."""
    batch = Prepared()
    for event in events:
        batch.add(event, catalog)
    return batch


def read(candidate: Candidate, catalog: Catalog) -> Candidate:
    """The candidate with all that its bytes say, or why they say nothing; a delete as it is."""
    c = candidate
    if c.block is None or c.cid is None:
        return c
    try:
        record = parse_record(catalog, c.collection, c.rkey, c.block)
    except InvalidRecord as error:
        return msgspec.structs.replace(c, invalid=str(error))
    subjects: dict[int, AtUri] = {}
    sort_at = card = None
    match record:
        case Track():
            sort_at = cards.sort_time(record.created_at, c.rev)
            if record.audio_url is not None:
                card = cards.track_card(record, uri=c.uri, did=c.did, cid=c.cid, rev=c.rev, pds=None)
        case Like():
            subjects = _tracks((record.subject.uri,), catalog.collections)
            sort_at = cards.sort_time(record.created_at, c.rev)
        case Comment():
            subjects = _tracks((record.subject.uri,), catalog.collections)
            sort_at = cards.sort_time(record.created_at, c.rev)
            card = cards.comment_card(record, uri=c.uri, cid=c.cid, rev=c.rev)
        case List():
            subjects = _tracks((item.subject.uri for item in record.items), catalog.collections)
            sort_at = cards.sort_time(record.created_at, c.rev)
            card = cards.list_card(record, uri=c.uri, cid=c.cid, rev=c.rev)
        case _:
            pass  # profiles are put together from two records and a handle
    return Candidate(
        c.did, c.collection, c.rkey, c.rev, c.cid, c.block, record, None, subjects, sort_at, card
    )


def _tracks(uris: Iterable[str], collections: Collections) -> dict[int, AtUri]:
    return {n: uri for n, text in enumerate(uris) if (uri := track_uri(text, collections)) is not None}


def track_uri(uri: str, collections: Collections) -> AtUri | None:
    """The URI itself if it names a track of ours by a DID that can exist, else None (trap T20: the
    syntax allows 8 kB, an index entry a third of that)."""
    if len(uri) > MAX_TRACK_URI:
        return None
    authority, _, path = uri.removeprefix("at://").partition("/")
    collection, _, rkey = path.partition("/")
    ours = collection == collections.track and rkey != "" and is_atproto_did(authority)
    return AtUri(uri) if ours else None
