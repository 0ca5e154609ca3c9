"""From verified events to what a transaction needs to know: one candidate per record, parsed and
rendered.

Pure, and without the database, so that one batch is prepared while the one before is written: whatever
can be computed from the record alone is computed here. Within a batch the newest rev of a record wins;
whether it also beats what is stored is `decide`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import msgspec

from firehose.events import Account, Action, Commit, Event, Identity, Info, RecordOp, Sync, Unproven
from indexer import cards
from lexicons.catalog import Catalog, Collections
from lexicons.records import Comment, InvalidRecord, Like, List, Record, Track, parse_record
from lexicons.syntax import AtUri, Cid, Did, Nsid, Rev, Rkey, is_atproto_did
from storage.intake import NewRecord, Packed, Run, pack

MAX_TRACK_URI = 1024  # a DID of this network has at most 261 characters, a record key 512


class Doubt(msgspec.Struct, frozen=True):
    """Something of a repo that cannot be proven, so that only reading the repo whole can settle it. With
    a `rev`, only what was proven up to there may already have."""

    did: Did
    reason: str
    detail: str
    seq: int | None
    rev: Rev | None = None


class Candidate(msgspec.Struct, frozen=True):
    """A version of a record.

    `cid` None: deleted. `action` is the author's word for it; `verified` False: nothing proves it yet.
    `invalid`: the lexicon's reason against it. `subjects` are the tracks that it points at, by place:
    one at 0 for a like or comment, some of a list's items. `card` is None where rendering it takes more
    than the record. `over`: it replaces versions up to that rev, too, which are not the repo's.
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
    action: Action = Action.UPDATE
    verified: bool = True
    over: Rev | None = None

    @property
    def uri(self) -> AtUri:
        return AtUri(f"at://{self.did}/{self.collection}/{self.rkey}")


Move = Commit | Sync | Doubt


@dataclass(frozen=True, slots=True)
class Opening:
    """`runs`: repos whose commits in the batch continue one another, with `rows`, their records; None if
    there is none."""

    runs: Packed | None
    rows: Packed | None


@dataclass(slots=True)
class Prepared:
    """A batch, sorted by what it touches. `discovered`: accounts with a record of ours in it; `written`:
    those for whom we wrote one; `uris`: the tracks that it is about.

    `log` has everything that may change a repo in order of arrival, each commit before its records; of
    `newest`, a record's place is its number.
    """

    newest: dict[tuple[Did, Nsid, Rkey], Candidate] = field(
        default_factory=dict[tuple[Did, Nsid, Rkey], Candidate]
    )
    history: dict[Did, list[Move]] = field(default_factory=dict[Did, list[Move]])
    log: list[Move | Candidate] = field(default_factory=list[Move | Candidate])
    accounts: list[Account] = field(default_factory=list[Account])
    identities: set[Did] = field(default_factory=set[Did])
    discovered: set[Did] = field(default_factory=set[Did])
    written: set[Did] = field(default_factory=set[Did])
    uris: set[AtUri] = field(default_factory=set[AtUri])
    outdated: bool = False  # the source has lost events that we have not seen
    _opening: Opening | None = None

    @property
    def candidates(self) -> Collection[Candidate]:
        return self.newest.values()

    @property
    def dids(self) -> set[Did]:
        return {*self.history, *(a.did for a in self.accounts), *self.identities, *self.written}

    def add(self, event: Event, catalog: Catalog) -> None:
        """One more event. An invalid record becomes a candidate with its reason (rule F1)."""
        match event:
            case Commit():
                self._move(event)
                for op in event.ops:
                    self._add_op(event, op, catalog)
            case Sync():
                self._move(event)
            case Unproven() if _is_kept(event.op.collection, catalog.collections):
                self._move(
                    Doubt(event.did, "unverified", "the source shows no signatures", event.seq, event.rev)
                )
                self._add_op(event, event.op, catalog)
            case Unproven():
                pass  # of another app: nothing of it would be kept
            case Account():
                self.accounts.append(event)
            case Identity():
                self.identities.add(event.did)
            case Info():
                self.outdated |= event.name == "OutdatedCursor"

    def write(self, written: Unproven, catalog: Catalog) -> None:
        """A record that we wrote ourselves, and whose proof is on its way: no reason to doubt the repo."""
        self.written.add(written.did)
        self._add_op(written, written.op, catalog)

    def doubt(self, doubt: Doubt) -> None:
        """A frame of interest that proves nothing: whoever sent it is looked at, known or not."""
        self.discovered.add(doubt.did)
        self._move(doubt)

    def opening(self) -> Opening:
        """What Postgres is asked first. Worked out once: the stage that prepares may call it, too."""
        if self._opening is None:
            runs = {run.did: run for history in self.history.values() if (run := _run(history)) is not None}
            rows = pack(self.rows(runs)) if runs else None
            self._opening = Opening(pack(list(runs.values())) if runs else None, rows)
        return self._opening

    def rows(self, dids: Container[Did]) -> list[NewRecord]:
        """The candidates of these accounts as rows, with their numbers."""
        return [
            NewRecord(n, c.did, c.collection, c.rkey, c.rev, c.cid, c.block, c.verified, c.invalid)
            for n, c in enumerate(self.candidates)
            if c.did in dids
        ]

    def _move(self, event: Move) -> None:
        self.history.setdefault(event.did, []).append(event)
        self.log.append(event)

    def _add_op(self, commit: Commit | Unproven, op: RecordOp, catalog: Catalog) -> None:
        if not _is_kept(op.collection, catalog.collections):
            return
        if op.collection in catalog.collections.own:
            self.discovered.add(commit.did)
        key = (commit.did, op.collection, op.rkey)
        known = self.newest.get(key)
        verified = isinstance(commit, Commit)
        # Of the same rev it is the same version, come again: news only if it is proven now.
        if known is None or (known.rev, known.verified) < (commit.rev, verified):
            cid = None if op.action is Action.DELETE else op.cid
            version = Candidate(*key, commit.rev, cid, op.block, action=op.action, verified=verified)
            candidate = read(version, catalog)
            self.newest[key] = candidate
            self.log.append(candidate)
            self.uris.update(candidate.subjects.values())
            if op.collection == catalog.collections.track:
                self.uris.add(candidate.uri)


def _is_kept(collection: Nsid, collections: Collections) -> bool:
    return collection in collections.own or collection == collections.bsky_profile


def _run(history: Sequence[Move]) -> Run | None:
    """The commits as one run, if they are nothing else and each continues the one before."""
    commits = [event for event in history if isinstance(event, Commit)]
    if len(commits) < len(history):
        return None
    first, last = commits[0], commits[-1]
    if first.since is None or first.prev_data is None:
        return None
    for before, commit in pairwise(commits):
        if (commit.since, commit.prev_data) != (before.rev, before.data):
            return None
    return Run(first.did, first.since, first.prev_data, last.rev, last.data)


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
                card = cards.track_card(
                    record, uri=c.uri, did=c.did, cid=c.cid, rev=c.rev, pds=None, verified=c.verified
                )
        case Like():
            subjects = _tracks((record.subject.uri,), catalog.collections)
            sort_at = cards.sort_time(record.created_at, c.rev)
        case Comment():
            subjects = _tracks((record.subject.uri,), catalog.collections)
            sort_at = cards.sort_time(record.created_at, c.rev)
            card = cards.comment_card(record, uri=c.uri, cid=c.cid, rev=c.rev, verified=c.verified)
        case List():
            subjects = _tracks((item.subject.uri for item in record.items), catalog.collections)
            sort_at = cards.sort_time(record.created_at, c.rev)
            card = cards.list_card(record, uri=c.uri, cid=c.cid, rev=c.rev, verified=c.verified)
        case _:
            pass  # profiles are put together from two records and a handle
    return msgspec.structs.replace(c, record=record, subjects=subjects, sort_at=sort_at, card=card)


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
