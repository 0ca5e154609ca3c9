"""Where repos stand after a batch, and why. Pure: how they stood in, rows and decisions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from firehose.events import Commit, Sync
from indexer.chain import Chain, doubt, extend, is_foreign, observe
from indexer.prepare import Doubt, Move, Prepared
from indexer.states import State, move
from lexicons.syntax import Did, Rev
from storage.decisions import Decision
from storage.repos import Standing, SyncState


@dataclass(slots=True)
class Steps:
    """Where repos stand after a batch: rows to save, decisions to tell, and the events that moved them, by
    `id()`."""

    states: list[SyncState] = field(default_factory=list[SyncState])
    decisions: list[Decision] = field(default_factory=list[Decision])
    moved: set[int] = field(default_factory=set[int])


def steps_of(batch: Prepared, standings: Mapping[Did, Standing], source: str) -> Steps:
    """Work through the events of those repos that did not simply move on."""
    out = Steps()
    for did, history in batch.history.items():
        standing = standings.get(did)
        if standing is None:
            continue
        before = chain = Chain.of(standing.rev, standing.data, standing.gaps or [])
        last = history[0]
        for event in history:
            after = _step(chain, event, standing)
            if after != chain:
                out.moved.add(id(event))
                chain, last = after, event
        if chain == before or chain.rev is None or chain.data is None:
            continue
        was = State(standing.state)
        # A resync that is going on, or failed, is not undone by what the stream says, unless all is well.
        state = was if was in (State.RESYNCING, State.ERROR) and chain.gaps else move(was, chain.state)
        out.states.append(SyncState(standing.repo.id, chain.rev, chain.data, chain.gaps, state))
        if state is not was:
            why = _why(state, chain, last, standing)
            out.decisions.append(Decision(did, "state", state, why, source, last.seq))
    return out


def _step(chain: Chain, event: Move, standing: Standing) -> Chain:
    match event:
        case Commit() if is_foreign(event.rev, standing.synced_rev, standing.forked_rev):
            return doubt(chain)
        case Commit():
            return extend(chain, event)
        case Sync():
            return observe(chain, event)
        case Doubt():
            settled = event.rev is not None and chain.rev is not None and event.rev <= chain.rev
            return chain if settled else doubt(chain)


def _why(state: State, chain: Chain, last: Move, standing: Standing) -> str:
    if isinstance(last, Doubt):
        return f"a commit could not be proven: {last.reason}, {last.detail}"
    if isinstance(last, Commit) and is_foreign(last.rev, standing.synced_rev, standing.forked_rev):
        return f"the commit of rev {last.rev} may be of a history that its PDS does not have"
    match state:
        case State.ACTIVE:
            return f"everything up to rev {chain.rev} came"
        case State.PENDING:
            return f"first seen at rev {chain.rev}, what came before is not known"
        case _ if isinstance(last, Sync):
            return f"the host says that the repo is at rev {last.rev} with other data than ours"
        case _:
            gap = chain.gaps[-1]
            return f"what leads from rev {gap.after} to rev {gap.until or '?'} did not come"


def current(rev: Rev, standing: Standing) -> bool:
    """Whether a commit can say something new: what the repo was at its last whole read is known, and what may
    be of another history is for the next one to tell."""
    return all(floor is None or rev > floor for floor in (standing.synced_rev, standing.forked_rev))
