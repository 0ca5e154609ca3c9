"""Compares what we hold with what the PDSs say, and has put right what differs (rules A7, E9; T11, T16).

    its PDS says                     then
    the rev that we hold             in step
    a newer rev, for `grace_s`       behind: the repo is doubted and fetched whole
    an older rev, for `grace_s`      ahead: the same, and what lies beyond its history goes
    otherwise active than we show    its account is asked about, by the way of every such question
    another handle, PDS or key       its identity is looked up
    nothing                          unreachable; nothing changes

Every account each night, and at once where a source lost events (`apply` begins a run); those in doubt
(`checked_at` null: an account came back) within a minute. Nothing is mended here: due times are set, and
the usual parts do their work.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

from firehose.identity import IdentityDoc, IdentityError, IdentityNotFound, IdentityResolver
from indexer.accounts import Answer, CannotTell, Host, Verdict, ask_host
from indexer.doubts import Suspicion, raise_doubts
from indexer.states import State
from lexicons.syntax import Did, Rev
from storage import accounts, decisions, outbox, proofs, reconcile, repos
from storage.decisions import Decision
from storage.postgres import AWAY, Pool
from storage.reconcile import Held, Run
from storage.repos import Standing

log = structlog.get_logger()

PAGE = 200
AT_ONCE = 16
LOOK_S = 15.0
MOST_PAUSE_S = 3600.0
SOURCE = "reconcile"


class Found(StrEnum):
    """How a repo compares."""

    IN_STEP = "in step"
    WAITING = "waits to be fetched"  # as we know already
    BEHIND = "behind"
    AHEAD = "ahead"
    STANDING = "stands otherwise"
    IDENTITY = "another identity"
    UNREACHABLE = "unreachable"
    UNKNOWN = "not tracked"


@dataclass(frozen=True, slots=True)
class Checked:
    """One repo's comparison; `told` is a sentence for people, `rev` where its PDS is if that is known."""

    held: Held
    found: Found
    told: str
    rev: Rev | None = None
    stale_identity: bool = False


APART = (Found.BEHIND, Found.AHEAD)


def compare(held: Held, answer: Answer, stale_identity: bool) -> Checked:
    """What its PDS says against what we hold. Pure."""

    def is_(found: Found, told: str) -> Checked:
        return Checked(held, found, told, answer.rev, stale_identity)

    active = answer.verdict is Verdict.ACTIVE
    if active != held.active or (not active and _word(answer) != held.status):
        here = "active" if held.active else held.status or "inactive"
        return is_(Found.STANDING, f"{answer.said_by} says {_word(answer)}, here it is {here}")
    if not active:
        return is_(Found.IN_STEP, f"both say {held.status}")
    if answer.rev is not None and held.rev is not None and answer.rev < held.rev:
        return is_(Found.AHEAD, f"{answer.said_by} is at rev {answer.rev}, we are at {held.rev}")
    if held.state != State.ACTIVE:
        return is_(Found.WAITING, f"its state is {held.state}")
    if answer.rev is not None and (held.rev is None or answer.rev > held.rev):
        return is_(Found.BEHIND, f"{answer.said_by} is at rev {answer.rev}, we are at {held.rev}")
    if stale_identity:
        return is_(Found.IDENTITY, "its DID document says something else than we hold")
    return is_(Found.IN_STEP, f"both are at rev {held.rev}")


def _word(answer: Answer) -> str:
    if answer.verdict in (Verdict.GONE, Verdict.MISSING):
        return "deleted"
    return answer.status or answer.verdict


class Reconciler:
    """Sweeps until it is cancelled. `grace_s`: how long the stream may take to bring what a PDS has."""

    def __init__(
        self,
        *,
        pool: Pool,
        resolver: IdentityResolver,
        host: Host,
        every_s: float = 24 * 3600,
        grace_s: float = 20,
        look_s: float = LOOK_S,
        tell: Callable[[Checked], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._resolver = resolver
        self._host = host
        self._every_s = every_s
        self._grace_s = grace_s
        self._look_s = look_s
        self._tell = tell

    async def run(self) -> None:
        pause_s = self._look_s
        while True:
            try:
                found = await self.once()
                # Whoever is in doubt and does not answer stays so: not every look is worth a sweep.
                stuck = found[Found.UNREACHABLE] > 0
                pause_s = min(MOST_PAUSE_S, pause_s * 2) if stuck else self._look_s
            except AWAY as error:
                log.warning("reconciliation waits for the database", error=str(error).strip())
            await asyncio.sleep(pause_s)

    async def once(self) -> Counter[Found]:
        """The sweep of all if its time has come, else those in doubt, if any."""
        async with self._pool.connection() as conn:
            run = await reconcile.unfinished(conn)
            if run is None and await reconcile.is_due(conn, self._every_s):
                run = await reconcile.begin(conn, "all")
            if run is not None:
                scope = self._all(run)
            elif await reconcile.anybody_doubtful(conn):
                run, scope = await reconcile.begin(conn, "some"), self._doubtful()
            else:
                return Counter()
        return await self._sweep(run, scope)

    async def everybody(self) -> Counter[Found]:
        """A sweep of all now, whenever the last one was."""
        async with self._pool.connection() as conn:
            run = await reconcile.begin(conn, "all")
        return await self._sweep(run, self._all(run))

    async def named(self, dids: Sequence[Did]) -> Counter[Found]:
        """These accounts now."""
        async with self._pool.connection() as conn:
            run = await reconcile.begin(conn, "some")
            held = await reconcile.of_named(conn, dids)
        return await self._sweep(run, _pages(held))

    async def _all(self, run: Run) -> AsyncIterator[list[Held]]:
        after = 0
        while True:
            async with self._pool.connection() as conn:
                page = await reconcile.of_all(conn, after=after, since=run.started_at, limit=PAGE)
            if not page:
                return
            yield page
            after = page[-1].id

    async def _doubtful(self) -> AsyncIterator[list[Held]]:
        after = 0
        while True:
            async with self._pool.connection() as conn:
                page = await reconcile.of_doubtful(conn, after=after, limit=PAGE)
            if not page:
                return
            yield page
            after = page[-1].id

    async def _sweep(self, run: Run, pages: AsyncIterator[list[Held]]) -> Counter[Found]:
        total: Counter[Found] = Counter()
        async for page in pages:
            found = await self._page(run, page)
            for checked in found:
                self._tell(checked)
            total.update(checked.found for checked in found)
        async with self._pool.connection() as conn:
            await reconcile.finish(conn, run)
        log.info("reconciled", **{found.replace(" ", "_"): n for found, n in total.items()})
        return total

    async def _page(self, run: Run, page: Sequence[Held]) -> list[Checked]:
        found = await self._ask(page)
        apart = [checked.held for checked in found if checked.found in APART]
        if apart:
            await asyncio.sleep(self._grace_s)
            ahead = [checked.held for checked in found if checked.found is Found.AHEAD]
            again = {checked.held.id: checked for checked in await self._ask(ahead)}
            async with self._pool.connection() as conn:
                now = {held.id: held for held in await reconcile.of_named(conn, [h.did for h in apart])}
            found = [self._later(again.get(checked.held.id, checked), now) for checked in found]
        await self._store(run, found)
        return found

    def _later(self, checked: Checked, now: dict[int, Held]) -> Checked:
        """The same once the stream, and its PDS, had their time."""
        held = now.get(checked.held.id)
        if held is None or held.rev is None or checked.rev is None or checked.found not in APART:
            return checked
        if held.rev < checked.rev if checked.found is Found.BEHIND else held.rev > checked.rev:
            return checked
        return Checked(held, Found.IN_STEP, f"both are at rev {held.rev}", checked.rev)

    async def _ask(self, page: Sequence[Held]) -> list[Checked]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(held: Held) -> Checked:
            async with turns:
                return await self._check(held)

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(one(held)) for held in page]
        return [task.result() for task in asked]

    async def _check(self, held: Held) -> Checked:
        try:
            doc = await self._resolver.resolve(held.did, refresh=True)
        except IdentityNotFound as error:
            return compare(held, Answer(Verdict.GONE, "deleted", str(error)), stale_identity=False)
        except IdentityError as error:
            return Checked(held, Found.UNREACHABLE, str(error))
        stale = _stale(held, doc)
        try:
            answer = await ask_host(self._host, doc, with_rev=True)
        except CannotTell as error:
            return Checked(held, Found.UNREACHABLE, str(error), stale_identity=stale)
        return compare(held, answer, stale)

    async def _store(self, run: Run, found: Sequence[Checked]) -> None:
        kinds = Counter(checked.found for checked in found)
        answered = [checked for checked in found if checked.found is not Found.UNREACHABLE]
        wrong = [checked for checked in answered if checked.found not in (Found.IN_STEP, Found.WAITING)]
        async with self._pool.connection() as conn, conn.transaction():
            standings = await repos.lock(conn, [checked.held.did for checked in found])
            entries = await raise_doubts(conn, _suspicions(wrong, standings), standings, SOURCE)
            await reconcile.checked(conn, [checked.held.id for checked in answered])
            await proofs.sweep(conn, [standing.repo.id for standing in standings.values()])
            waiting = [checked.held.id for checked in answered if checked.found is Found.WAITING]
            await reconcile.fetch_soon(conn, waiting)
            await accounts.check(conn, [c.held.did for c in wrong if c.found is Found.STANDING])
            await repos.expire_identity(conn, [c.held.did for c in found if c.stale_identity])
            await decisions.add(
                conn, [Decision(c.held.did, "reconcile", c.found, c.told, SOURCE) for c in wrong]
            )
            await reconcile.add(
                conn,
                run,
                checked=len(found) - kinds[Found.WAITING],
                in_step=kinds[Found.IN_STEP],
                healed=len(wrong),
                behind=kinds[Found.BEHIND],
                unreachable=kinds[Found.UNREACHABLE],
            )
            await outbox.append(conn, entries)


def _suspicions(wrong: Iterable[Checked], standings: Mapping[Did, Standing]) -> Iterator[Suspicion]:
    """Whom the stream did not bring in step meanwhile."""
    for c in wrong:
        rev = standings[c.held.did].rev
        if rev is None or c.rev is None:
            continue
        if (c.found is Found.BEHIND and rev < c.rev) or (c.found is Found.AHEAD and rev > c.rev):
            yield Suspicion(c.held.did, c.found, c.told, forked=c.found is Found.AHEAD)


def _stale(held: Held, doc: IdentityDoc) -> bool:
    """Whether the document says something that we do not hold. A handle that could not be looked up now is
    no news; one that leads elsewhere is."""
    if (held.pds, held.signing_key) != (doc.pds, doc.signing_key):
        return True
    return doc.unchecked is None and doc.handle != held.handle


async def _pages(held: Sequence[Held]) -> AsyncIterator[list[Held]]:
    for start in range(0, len(held), PAGE):
        yield list(held[start : start + PAGE])
