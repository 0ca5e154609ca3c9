"""Repos that we doubt: something of them is missing, or may not be theirs, and only a whole read can tell.

A doubt is a gap without an end behind what we hold (`chain.doubt`). One that is `forked` says that the end
of what we hold may be of another history: of the host that an account has left, or of one that lost what
it had said. The next read of the repo then decides about that, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from indexer.chain import Chain, doubt
from indexer.states import State, move
from lexicons.syntax import Did
from storage import decisions, repos
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.repos import Standing, SyncState


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`verdict` in a word, `reason` in a sentence for people."""

    did: Did
    verdict: str
    reason: str
    forked: bool = False


async def raise_doubts(
    conn: Connection, suspicions: Iterable[Suspicion], standings: Mapping[Did, Standing], source: str
) -> list[Entry]:
    """Doubt these locked repos, where anything of them is known; the caller appends the entries. Those that
    may be forked are read at once, the others soon."""
    states: list[SyncState] = []
    entries: list[Entry] = []
    reasons: list[Decision] = []
    forked: list[int] = []
    for s in suspicions:
        standing = standings[s.did]
        chain = Chain.of(standing.rev, standing.data, standing.gaps or [])
        if chain.rev is None or chain.data is None:
            continue
        after = doubt(chain, forked=s.forked)
        was = State(standing.state)
        # As with what the stream says, a resync that is going on, or failed meanwhile, is not undone.
        state = was if was in (State.RESYNCING, State.ERROR) else move(was, after.state)
        states.append(SyncState(standing.repo.id, chain.rev, chain.data, after.gaps, state))
        detail = {"forked": True} if s.forked else None
        entries.append(
            Entry(Kind.DOUBT, source, did=s.did, verdict=s.verdict, reason=s.reason, detail=detail)
        )
        if state is not was:
            reasons.append(Decision(s.did, "state", state, s.reason, source))
        if s.forked:
            forked.append(standing.repo.id)
    if states:
        await repos.save_sync(conn, states)
    if forked:
        await repos.hurry_sync(conn, forked)
    await decisions.add(conn, reasons)
    return entries
