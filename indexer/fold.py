"""Where each repo stands after everything that the archive says of it. Pure.

The chain is the one that is kept live (`indexer.chain`), fed in order of seq; what was committed together
moves the state once, as it did then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter

import orjson

from firehose.events import Commit, Sync
from indexer.chain import Chain, Gap, doubt, extend, is_foreign, observe, rebase
from indexer.states import State
from lexicons.syntax import Cid, Did, Rev
from storage.fold import Step

_RESTING = (State.RESYNCING, State.ERROR)


class UnknownStep(ValueError):
    """The archive says something of a repo that this version does not understand."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A repo after its last step. `synced_rev`: up to where everything is known by a whole read;
    `forked_rev`: up to where only whole reads are believed."""

    chain: Chain = field(default_factory=Chain)
    state: State = State.PENDING
    synced_rev: Rev | None = None
    forked_rev: Rev | None = None


def folded(steps: Iterable[Step]) -> Iterator[tuple[Did, Folded]]:
    """Each account's repo; steps come by account, in order of seq. Raises UnknownStep."""
    for did, own in groupby(steps, key=attrgetter("did")):
        repo = Folded()
        for _, together in groupby(own, key=attrgetter("at_us")):
            repo = _advance(repo, list(together))
        yield did, repo


def _advance(repo: Folded, together: list[Step]) -> Folded:
    """The repo after one transaction. Only the stream leaves the state to the chain; a resync and a deletion
    say what it is."""
    before = repo.chain
    for step in together:
        repo = _apply(repo, step)
    told = any(step.kind == "state" for step in together)
    held = repo.state in _RESTING and repo.chain.gaps
    if told or repo.chain == before or held:
        return repo
    return replace(repo, state=repo.chain.state)


def _apply(repo: Folded, step: Step) -> Folded:
    match step.kind:
        case "commit" if step.rev and is_foreign(step.rev, repo.synced_rev, repo.forked_rev):
            return replace(repo, chain=doubt(repo.chain))
        case "commit":
            return replace(repo, chain=extend(repo.chain, _commit(step)))
        case "sync":
            return replace(repo, chain=observe(repo.chain, _sync(step)))
        case "doubt":
            return replace(repo, chain=doubt(repo.chain, forked=bool(step.forked)))
        case "resync":
            return _reread(repo, step)
        case "state":
            chain = repo.chain
            if step.gaps is not None:
                chain = replace(chain, gaps=tuple(Gap(**gap) for gap in orjson.loads(step.gaps)))
            synced_rev = _later(repo.synced_rev, step.synced_rev)
            return replace(repo, chain=chain, state=State(step.verdict or ""), synced_rev=synced_rev)
        case other:
            raise UnknownStep(f"seq {step.seq}: {other}")


def _reread(repo: Folded, step: Step) -> Folded:
    rev, data = _known(step)
    chain = rebase(repo.chain, rev, data, _before(step), step.over if step.forked else None)
    synced_rev = rev if step.forked else _later(repo.synced_rev, rev)
    return replace(repo, chain=chain, synced_rev=synced_rev, forked_rev=_later(repo.forked_rev, step.over))


def _later(*revs: Rev | None) -> Rev | None:
    return max(filter(None, revs), default=None)


def _before(step: Step) -> tuple[Gap, ...]:
    """The endless gaps that were known when a whole read began."""
    if step.before is None:
        return ()
    return tuple(Gap(after, data, None, None, *more) for after, data, *more in orjson.loads(step.before))


def _known(step: Step) -> tuple[Rev, Cid]:
    if step.rev is None or step.data is None:
        raise UnknownStep(f"seq {step.seq}: {step.kind} without rev or data")
    return step.rev, step.data


def _commit(step: Step) -> Commit:
    """As much of the commit as its chain needs."""
    rev, data = _known(step)
    return Commit(step.seq, step.did, rev, step.since, Cid(""), data, step.prev_data, "", ())


def _sync(step: Step) -> Sync:
    rev, data = _known(step)
    return Sync(step.seq, step.did, rev, data, "")
