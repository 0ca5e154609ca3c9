"""Our own decisions about what is shown, and their way back.

A record that is taken down leaves the tables that are made of records, as if it had been deleted: no query
has to leave it out, and none that is written later can forget to. Table `record` keeps its signed bytes and
why it is down, so whatever its author does to it meanwhile shows nothing, and `restore` makes of the newest
version what is always made of one. An account's takedown is in `indexer/standing.py`.

Bytes are taken down of one account: what its records show is made again without an address of them, and
`storage/media.py` and `storage/exports.py` give them to nobody on its behalf. Whoever else has the same bytes
is not touched.

A track that is unlisted stays in its table with a mark, and the queries that list what nobody asked for by
name leave out what has it. `record` keeps why, so it stays over new versions, too.

All of it happens in the caller's transaction, told to the outbox and to table `decision`.
"""

from __future__ import annotations

from firehose.events import Action
from indexer import apply, decide, happenings, standing
from indexer.decide import Change
from indexer.prepare import Candidate, read
from indexer.profiles import refresh_profiles
from indexer.replay import refresh_cards
from lexicons.catalog import Catalog
from lexicons.datamodel import cid_of
from lexicons.records import Comment, List
from lexicons.subject import Subject, SubjectKind
from lexicons.syntax import Nsid, Rkey
from storage import accounts, decisions, outbox, records, repos, social, tracks
from storage.decisions import Decision
from storage.intake import Repo
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.records import RecordKey, Stored
from storage.tracks import Names


class CannotTakeDown(ValueError):
    """There is no such decision about this kind of subject."""


class CannotUnlist(ValueError):
    """It is no track."""


async def take_down(conn: Connection, subject: Subject, reason: str, catalog: Catalog) -> bool:
    """Out of every answer from the commit on. False: it already is, for this reason, or is not known here.
    Raises CannotTakeDown."""
    return await _decide(conn, subject, reason, catalog)


async def restore(conn: Connection, subject: Subject, catalog: Catalog) -> bool:
    """As it was, or as its author has made it since. False: it is not down, or not known here. Raises
    CannotTakeDown."""
    return await _decide(conn, subject, None, catalog)


async def delist(conn: Connection, subject: Subject, reason: str, catalog: Catalog) -> bool:
    """From the commit on listed only among its artist's own and where somebody names it. False: it already is
    so for this reason, or is not known here. Raises CannotUnlist."""
    return await _list(conn, subject, reason, catalog)


async def relist(conn: Connection, subject: Subject, catalog: Catalog) -> bool:
    """Listed as any other. False: it is, or it is not known here. Raises CannotUnlist."""
    return await _list(conn, subject, None, catalog)


async def _list(conn: Connection, subject: Subject, reason: str | None, catalog: Catalog) -> bool:
    if subject.collection != catalog.collections.track:
        raise CannotUnlist("only tracks are listed, so nothing else is unlisted")
    found = await _locked(conn, subject)
    if found is None or not await records.unlist(conn, found[1], reason):
        return False
    key = found[1]
    await tracks.unlist(conn, key.repo_id, key.rkey, unlisted=reason is not None)
    verdict, why = ("listed", "taken back") if reason is None else ("unlisted", reason)
    told = f"{subject.text}: {why}"
    await decisions.add(conn, [Decision(subject.did, "listing", verdict, told, standing.OURSELVES)])
    entry = Entry(
        Kind.LISTING,
        standing.OURSELVES,
        did=subject.did,
        collection=key.collection,
        rkey=key.rkey,
        verdict=verdict,
        reason=why,
    )
    await outbox.append(conn, [entry])
    return True


async def _decide(conn: Connection, subject: Subject, reason: str | None, catalog: Catalog) -> bool:
    match subject.kind:
        case SubjectKind.ACCOUNT:
            return await standing.take_down(conn, subject.did, reason)
        case SubjectKind.RECORD:
            return await _record(conn, subject, reason, catalog)
        case SubjectKind.BLOB:
            return await _bytes(conn, subject, reason, catalog)


async def _bytes(conn: Connection, subject: Subject, reason: str | None, catalog: Catalog) -> bool:
    did, sha256 = subject.did, subject.sha256
    if sha256 is None:
        raise CannotTakeDown(f"{subject.cid} is no CID of bytes: version 1, sha-256")
    locked = (await repos.lock(conn, [did])).get(did)
    if locked is None or not await accounts.withhold(conn, locked.repo.id, sha256, reason):
        return False
    await refresh_cards(conn, locked.repo.id, catalog)
    await refresh_profiles(conn, [locked.repo.id], catalog)
    verdict, why = _verdict(reason)
    await _note(conn, subject, verdict, why)
    entry = Entry(
        Kind.WITHHOLD, standing.OURSELVES, did=did, cid=subject.cid, verdict=verdict, reason=why,
        detail={"sha256": sha256},
    )  # fmt: skip
    await outbox.append(conn, [entry])
    return True


async def _record(conn: Connection, subject: Subject, reason: str | None, catalog: Catalog) -> bool:
    found = await _locked(conn, subject)
    if found is None:
        return False
    repo, key = found
    old = (await records.get_many(conn, [key])).get(key)
    own = catalog.collections
    if old is None or not await records.take_down(conn, key, reason, comment=own.comment, list_=own.list):
        return False
    names = Names({}, [])
    version = _version(old, repo)
    if reason is not None and old.taken_down is None:
        gone = Change(repo, decide.withheld(version), old.rev, decide.pointed_at(old, own))
        await apply.project(conn, [gone], names, catalog)
    elif reason is None:
        version = read(version, catalog)
        await _seat(conn, key, version)
        again = Change(repo, version, old.rev, None, old.unlisted is not None)
        await apply.project(conn, [again], names, catalog)
    verdict, why = _verdict(reason)
    await _note(conn, subject, verdict, why)
    entry = _told(version, verdict, why)
    await outbox.append(conn, [*happenings.named(names, standing.OURSELVES), entry])
    return True


def _verdict(reason: str | None) -> tuple[str, str]:
    return ("up", "taken back") if reason is None else ("down", reason)


async def _note(conn: Connection, subject: Subject, verdict: str, why: str) -> None:
    told = Decision(subject.did, "takedown", verdict, f"{subject.text}: {why}", standing.OURSELVES)
    await decisions.add(conn, [told])


async def _locked(conn: Connection, subject: Subject) -> tuple[Repo, RecordKey] | None:
    """Whose record it is, locked until the transaction ends, and its key; None: of nobody we know."""
    _, collection, rkey = subject.text.removeprefix("at://").split("/")
    locked = (await repos.lock(conn, [subject.did])).get(subject.did)
    return None if locked is None else (locked.repo, RecordKey(locked.repo.id, Nsid(collection), Rkey(rkey)))


async def _seat(conn: Connection, key: RecordKey, version: Candidate) -> None:
    """A comment or list that is made again has the number that it was known by."""
    if isinstance(version.record, Comment) and version.subjects:
        await social.seat_comment(conn, key)
    elif isinstance(version.record, List):
        await social.seat_list(conn, key)


def _version(old: Stored, repo: Repo) -> Candidate:
    """What we hold, as it came."""
    cid = None if old.block is None else cid_of(old.block)
    return Candidate(
        repo.did,
        old.collection,
        old.rkey,
        old.rev,
        cid,
        old.block,
        verified=old.verified,
        invalid=old.invalid,
    )


def _told(version: Candidate, verdict: str, why: str) -> Entry:
    """To those who follow a record that goes down is deleted, and one that comes back is written."""
    back = verdict == "up" and version.cid is not None
    shown = back and version.invalid is None and version.verified
    return Entry(
        Kind.TAKEDOWN,
        standing.OURSELVES,
        did=version.did,
        rev=version.rev,
        collection=version.collection,
        rkey=version.rkey,
        action=Action.CREATE if shown else Action.DELETE,
        cid=version.cid if shown else None,
        block=version.block if shown else None,
        verdict=verdict,
        reason=why,
    )
