"""From verified events to what a transaction needs to know: one candidate per record, parsed.

Pure, and without the database, so that one batch is prepared while the one before is written.
Within a batch the newest rev of a record wins; whether it also beats what is stored is `decide`'s
business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from firehose.events import Account, Action, Commit, Event, Identity, RecordOp, Sync
from lexicons.catalog import Catalog
from lexicons.records import InvalidRecord, Record, parse_record
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey


@dataclass(frozen=True, slots=True)
class Candidate:
    """The newest version of a record in a batch. `cid` None: deleted. `invalid`: the lexicon's reason."""

    did: Did
    collection: Nsid
    rkey: Rkey
    rev: Rev
    cid: Cid | None
    block: bytes | None
    record: Record | None
    invalid: str | None


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
            self.newest[key] = parsed(Candidate(*key, commit.rev, cid, op.block, None, None), catalog)


def prepare(events: Iterable[Event], catalog: Catalog) -> Prepared:
    """A batch, collapsed and parsed."""
    batch = Prepared()
    for event in events:
        batch.add(event, catalog)
    return batch


def parsed(candidate: Candidate, catalog: Catalog) -> Candidate:
    """The candidate with its record, or with the reason why there is none; a delete as it is."""
    c = candidate
    if c.block is None:
        return c
    try:
        record, invalid = parse_record(catalog, c.collection, c.rkey, c.block), None
    except InvalidRecord as error:
        record, invalid = None, str(error)
    return Candidate(c.did, c.collection, c.rkey, c.rev, c.cid, c.block, record, invalid)
