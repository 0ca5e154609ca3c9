"""How an account stands: asked of its current PDS, and what follows from the answer (rules C3 to C11).

`#account` and everything else that is heard only set a time. Then the DID document is fetched anew, the
PDS that it names is asked, and nobody else's word counts:

    its PDS says               then
    active, whatever status    in sight (T8); fetched if it was away and something is missing
    inactive, with a status    out of sight, its records stay
    deleted                    out of sight, every record a tombstone, and it begins anew
    "no such repo"             the same, if a source had said so or it still says so a while later;
                               until then out of sight, its records stay
    nothing, or nonsense       nothing changes; asked again later (rule C6)

The directory's "this DID was given up" counts as deleted (rule C10). What we took down ourselves stays
out of sight whatever its PDS says, and what upstream says is kept beside it (rule C8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from firehose.host_errors import HostError, MethodMissing, RepoNotFound, RepoUnavailable
from firehose.hosts import SyncHost
from firehose.identity import (
    IdentityDoc,
    IdentityError,
    IdentityNotFound,
    IdentityResolver,
    IdentityTombstoned,
)
from indexer.identities import settle_identity
from indexer.standing import begin_anew, erase, show
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rev
from storage import accounts, decisions, outbox, repos
from storage.accounts import Due
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import Connection, Pool
from storage.repos import Standing

LEASE_S = 120.0
CONFIRM_S = 600.0  # how long "no such repo" has to stay true if nobody had said so before

DELETED, NOT_FOUND = "deleted", "not found"
# A host's words for an account that does not exist any more, and for one that only went out of sight.
HIDING = frozenset({"takendown", "suspended", "deactivated", DELETED})

Host = Callable[[str], SyncHost]


class Verdict(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    MISSING = "missing"  # who should know it does not
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Answer:
    """How an account stands: `verdict`, and `status` in the words of `said_by`. `rev` is that of its newest
    commit, where that was told."""

    verdict: Verdict
    status: str | None
    said_by: str
    rev: Rev | None = None


class CannotTell(Exception):
    """Nobody who knows could be asked now. `wait_s`: for how long at least not to ask again; `soon`: that
    is all that there is to it."""

    def __init__(self, reason: str, wait_s: float = 0, *, soon: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.soon = soon


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be stored: upstream's word, and when to ask again. `erase`: nothing of it stays."""

    active: bool
    status: str | None
    erase: bool
    again_s: float | None


def outcome(answer: Answer, claim: str | None, before: str | None, confirm_s: float = CONFIRM_S) -> Outcome:
    """What an answer comes to, given what a source claimed and the status that we hold. Pure."""
    match answer.verdict:
        case Verdict.ACTIVE:
            return Outcome(True, answer.status, False, None)
        case Verdict.INACTIVE:
            return Outcome(False, answer.status, False, None)
        case Verdict.GONE:
            return Outcome(False, DELETED, True, None)
        case Verdict.MISSING:
            confirmed = claim == DELETED or before == DELETED or (before == NOT_FOUND and claim is None)
            if confirmed:
                return Outcome(False, DELETED, True, None)
            return Outcome(False, NOT_FOUND, False, confirm_s)


async def ask_directory(resolver: IdentityResolver, did: Did) -> IdentityDoc | Answer:
    """The account's document as it is now, or what the directory says instead. Raises `CannotTell`, also
    where the directory may not be asked again yet: an older document may name the host it has left (T7)."""
    try:
        doc = await resolver.resolve(did, refresh=True)
    except IdentityTombstoned as error:
        return Answer(Verdict.GONE, DELETED, str(error))
    except IdentityNotFound as error:
        return Answer(Verdict.MISSING, DELETED, str(error))
    except IdentityError as error:
        raise CannotTell(str(error)) from None
    if (wait_s := resolver.refresh_due_s(did)) is not None:
        raise CannotTell(
            "its DID document was fetched a moment ago and may have changed since", wait_s, soon=True
        )
    return doc


async def ask_host(at: Host, doc: IdentityDoc, *, with_rev: bool = False) -> Answer:
    """How the account stands at the PDS of its document, `with_rev` where it is, too. Raises `CannotTell`."""
    did = doc.did
    if doc.pds is None:
        raise CannotTell("its DID document names no PDS")
    host = at(doc.pds)
    try:
        try:
            found = await host.repo_status(did)
        except MethodMissing:
            latest = await host.latest_commit(did)
            return Answer(Verdict.ACTIVE, None, host.origin, latest.rev)
        rev = found.rev
        if with_rev and found.active and rev is None:
            rev = (await host.latest_commit(did)).rev
    except RepoNotFound:
        return Answer(Verdict.MISSING, DELETED, host.origin)
    except RepoUnavailable as error:
        if error.status in HIDING:
            return Answer(Verdict.INACTIVE, error.status, host.origin)
        raise CannotTell(f"{host.origin} says {error.status}") from None
    except HostError as error:
        raise CannotTell(str(error), error.retry_after_s or 0) from None
    if found.active:
        return Answer(Verdict.ACTIVE, found.status, host.origin, rev)
    if found.status == DELETED:
        return Answer(Verdict.GONE, DELETED, host.origin)
    return Answer(Verdict.INACTIVE, found.status, host.origin)


class AccountChecks:
    """Asks about the accounts that are due, and stores what comes of it."""

    def __init__(
        self,
        *,
        pool: Pool,
        catalog: Catalog,
        resolver: IdentityResolver,
        host: Host,
        learn: Callable[[IdentityDoc], None] = lambda _: None,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._resolver = resolver
        self._host = host
        self._learn = learn
        self._confirm_s = confirm_s

    async def take(self, limit: int) -> list[Due]:
        async with self._pool.connection() as conn:
            return await accounts.take(conn, limit=limit, lease_s=LEASE_S)

    async def check(self, due: Due) -> None:
        """Ask about one account. Whatever cannot be told changes nothing."""
        try:
            answer = await ask_directory(self._resolver, due.did)
            if isinstance(answer, IdentityDoc):
                await self._store_identity(answer)
                answer = await ask_host(self._host, answer)
        except CannotTell as error:
            async with self._pool.connection() as conn, conn.transaction():
                await accounts.postpone(conn, due, wait_s=error.wait_s)
                if due.account_tries == 0 and not error.soon:
                    await decisions.add(conn, [_decided(due, "unchanged", f"cannot tell: {error}")])
            return
        await self._store(due, answer)

    async def _store_identity(self, doc: IdentityDoc) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            entries = await settle_identity(conn, doc, self._catalog, lease=None, due_s=None)
            await outbox.append(conn, entries)
        self._learn(doc)

    async def _store(self, due: Due, answer: Answer) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            standing = (await repos.lock(conn, [due.did])).get(due.did)
            if standing is None:
                return
            now = outcome(answer, due.account_claim, standing.status, self._confirm_s)
            entries = await _settle(conn, due, standing, now, answer)
            lease = await accounts.settle(
                conn,
                due,
                active=now.active,
                status=now.status,
                again_s=LEASE_S if now.erase else now.again_s,
            )
            last = None
            if now.erase:
                last = await accounts.last_rev(conn, due.id)
                entries += await begin_anew(conn, standing, last, answer.said_by)
            await outbox.append(conn, entries)
        if lease is not None and now.erase:
            await erase(self._pool, replace(due, account_due=lease), last, answer.said_by, self._catalog)


async def _settle(
    conn: Connection, due: Due, standing: Standing, now: Outcome, answer: Answer
) -> list[Entry]:
    """Show or hide the account, and say why."""
    await show(conn, standing, active=now.active, taken_down=standing.taken_down)
    shown = "active" if now.active else now.status or "inactive"
    if (standing.active, standing.status) == (now.active, now.status):
        if due.account_claim is not None and due.account_claim != shown:
            reason = (
                f"still {shown}: {due.account_source} said {due.account_claim}, {answer.said_by} does not"
            )
            await decisions.add(conn, [_decided(due, shown, reason)])
        return []
    reason = f"{answer.said_by} says {answer.status or answer.verdict}"
    if due.account_claim is not None:
        reason += f", after {due.account_source} had said {due.account_claim}"
    if now.again_s is not None:
        reason += "; nobody had said that it was deleted, so its records stay until that is certain"
    await decisions.add(conn, [_decided(due, shown, reason)])
    detail = {"active": now.active, "status": now.status}
    return [Entry(Kind.ACCOUNT, answer.said_by, did=due.did, reason=reason, detail=detail)]


def _decided(due: Due, result: str, reason: str) -> Decision:
    return Decision(due.did, "account", result, reason, due.account_source, due.account_seq)
