"""Why a repo or record looks as it does, told to a person. Pure: facts and the time in, lines out.

In this order: who it is, how its repo stands and why, what happens next, what we hold, what could not be
applied, and what happened until now.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import urlsplit

from indexer.cards import rev_time
from indexer.chain import Gap
from indexer.states import State
from indexer.timeline import Happening, path, timeline
from lexicons.syntax import Rev
from storage.explain import Account, Facts, Holding, Seen, Version, Waiting, archive_question
from storage.outbox import Kind

WIDTH = 110
SLOW_S = 60.0  # what is due for longer than that has nobody who does it
_GLUE = "\N{NO-BREAK SPACE}"


def explain(facts: Facts, now: datetime, *, limit: int) -> list[str]:
    """The story of a repo; `limit` bounds what happened."""
    account = facts.account
    lines = [*_who(account, now), "", *_stands(account, now), "", "What happens next"]
    lines += _wrapped(next_steps(facts, now), "  ")
    lines += ["", "What we hold", *_holdings(facts.holdings)]
    if facts.waiting_count:
        lines += ["", f"What could not be applied: {_count(facts.waiting_count, 'event')}"]
        lines += _wrapped((_waiting(w, now) for w in facts.waiting[:5]), "  ")
        lines.append(f"  all of it: plyr sync rejected list --did {account.did}")
    lines += ["", *_happened(facts, limit)]
    return lines


def explain_record(
    facts: Facts, uri: str, version: Version | None, now: datetime, *, limit: int
) -> list[str]:
    """The story of a record, and then of the repo that it is in."""
    lines = [uri, *_wrapped(_version(version, facts), "  ")]
    versions = [s for s in facts.seen if s.entry.kind is Kind.RECORD and uri.endswith(f"/{path(s.entry)}")]
    lines += ["", "Its versions, as they came"]
    for seen in reversed(versions[:limit]):
        lines += _wrapped([f"{_clock(seen.at)}  {_as_it_came(seen)}"], "  ")
    if not versions or _goes_back(facts):
        question = archive_question(facts.account.did, uri.rpartition("/")[2])
        lines.append(f'  earlier ones are in the archive: plyr archive sql "{question}"')
    return [*lines, "", *explain(facts, now, limit=limit)]


def unknown(actor: str) -> list[str]:
    """Nothing is known."""
    return [
        f"Of {actor} we know nothing: no record of ours by this account was ever seen or found.",
        "If there should be one, have its repo looked at: plyr sync reconcile DID",
    ]


def next_steps(facts: Facts, now: datetime) -> list[str]:
    """What will happen by itself, soonest first; a sentence each."""
    a = facts.account
    steps: list[tuple[datetime, str]] = []
    if a.identity_due is not None:
        tries = f" ({_count(a.identity_tries, 'attempt')} failed)" if a.identity_tries else ""
        steps.append((a.identity_due, f"its DID document and handle are looked up{tries}"))
    if a.account_due is not None:
        tries = f" ({_count(a.account_tries, 'attempt')} without an answer)" if a.account_tries else ""
        steps.append((a.account_due, f"its current PDS is asked how the account stands{tries}"))
    if a.resync_due is not None and a.state == State.RESYNCING:
        steps.append((a.resync_due, "if the reading has not ended by then, it is begun again"))
    elif a.resync_due is not None and a.pds is not None and a.signing_key is not None:
        steps.append((a.resync_due, f"the whole repo is read from {a.pds}"))
    due = [w for w in facts.waiting if w.next_attempt_at is not None]
    if due:
        soonest = min(w.next_attempt_at for w in due if w.next_attempt_at is not None)
        what = "an event that could not be applied is" if len(due) == 1 else f"{len(due):,} events are"
        steps.append((soonest, f"{what} tried again"))
    lines = [f"{_when(at, now)}: {what}" for at, what in sorted(steps)]
    if a.resync_due is not None and (a.pds is None or a.signing_key is None):
        lines.append("then: the whole repo is read, once its PDS and key are known")
    overdue = [at for at, _ in steps if (now - at).total_seconds() > SLOW_S]
    if overdue:
        lines.append("overdue: does `plyr sync run` run, and `plyr ingest`? plyr sync status says more")
    return lines or ["nothing by itself; its next commit is applied as it comes"]


def _who(a: Account, now: datetime) -> Iterator[str]:
    yield f"{a.did} is @{a.handle}" if a.handle else f"{a.did}, without a handle that could be verified"
    if a.pds is None or a.identity_at is None:
        yield "  where it is at home is not known yet"
    else:
        yield f"  at home at {a.pds}, as its DID document said {_ago(a.identity_at, now)}"
    yield f"  first heard of {_date(a.first_seen_at)}, last {_ago(a.last_seen_at, now)}"
    why: list[str] = []
    if not a.active:
        known = a.status != "not found"
        why.append(f"its PDS says {a.status or 'inactive'}" if known else "nobody knows the account any more")
    if a.taken_down is not None:
        why.append(f"we took it down: {a.taken_down}")
    if why:
        yield from _wrapped([f"NOT SHOWN to anybody: {', and '.join(why)}"], "  ")
    elif a.status is not None:
        yield f"  its records are shown, though its PDS says {a.status}"
    else:
        yield "  its records are shown"


def _stands(a: Account, now: datetime) -> Iterator[str]:
    """State and reason, and what is missing."""
    yield from _wrapped([f"{a.state.upper()}: {_state(a)}"], "")
    gaps = [Gap(**gap) for gap in a.gaps]
    if gaps and a.state != State.ACTIVE:
        yield "Missing:"
        yield from _wrapped(map(_gap, gaps), "  ")
    if a.synced_rev is not None:
        yield f"It was read whole at rev {_rev(a.synced_rev)}."
    if a.checked_at is not None:
        yield f"Its PDS confirmed what we hold {_ago(a.checked_at, now)}."


def _state(a: Account) -> str:
    match a.state:
        case State.ACTIVE:
            return f"everything that it signed is here, up to rev {_rev(a.rev)}."
        case State.PENDING if a.rev is None:
            return "the account is known, none of its commits is yet."
        case State.PENDING:
            return f"its commits are here up to rev {_rev(a.rev)}, its beginning is not."
        case State.RESYNCING:
            until = "" if a.resync_due is None else f", which may take until {_clock(a.resync_due)}"
            return f"the whole repo is being read from {a.pds or 'its PDS'} right now{until}."
        case State.DESYNCHRONIZED:
            return f"its newest commit that is here has rev {_rev(a.rev)}, but not everything before it came."
        case _:
            failed = f"reading the whole repo failed {_times(a.resync_tries)}"
            return f"{failed}, because: {a.resync_error or 'no reason is on record'}"


def _gap(gap: Gap) -> str:
    if gap.forked:
        return f"whether its PDS has what we hold up to rev {_rev(gap.after)}, and what came after it"
    if gap.after is None and gap.until is None:
        return "everything, from the beginning on"
    if gap.after is None:
        return f"everything up to rev {_rev(gap.until)}"
    if gap.until is None:
        return f"what came after rev {_rev(gap.after)}: something there could not be proven"
    return f"what leads from rev {_rev(gap.after)} to rev {_rev(gap.until)}"


def _holdings(holdings: Iterable[Holding]) -> list[str]:
    rows: list[str] = []
    for h in holdings:
        said = [_count(h.held, "record")]
        said += [f"{n:,} {what}" for n, what in ((h.deleted, "deleted"), (h.unproven, "not proven")) if n]
        if h.invalid:
            said.append(f"{h.invalid:,} refused by the lexicon and not shown")
        rows.append(f"  {h.collection}: {', '.join(said)}")
    return rows or ["  no record of ours"]


def _waiting(w: Waiting, now: datetime) -> str:
    again = "a person has to look" if w.next_attempt_at is None else f"again {_when(w.next_attempt_at, now)}"
    told = f"from {_where(w.source, w.seq)}, tried {_times(w.attempts)}, {again}"
    return f"{_clock(w.rejected_at)} {w.reason}: {w.detail} ({told}); plyr sync rejected show {w.id}"


def _happened(facts: Facts, limit: int) -> list[str]:
    happenings = timeline(facts.seen, facts.decided, limit=limit)
    lines = ["What happened, newest last (UTC)"]
    for h in happenings:
        lines += _happening(h)
    if len(happenings) == limit:
        lines.append("  --limit tells of more")
    if _goes_back(facts):
        since = "now" if facts.seen_since is None else _clock(facts.seen_since)
        question = archive_question(facts.account.did)
        lines.append(f'  what was seen before {since}: plyr archive sql "{question}"'.replace(_GLUE, " "))
    return lines


def _goes_back(facts: Facts) -> bool:
    """Whether something of this account may have left the outbox."""
    return facts.seen_since is None or facts.account.first_seen_at < facts.seen_since


def _happening(h: Happening) -> list[str]:
    # Where a decision has no other source than its own kind, that says nothing.
    said = f"{h.text} ({_where(h.source, h.seq)})" if h.source and h.source != h.topic else h.text
    head = f"  {h.at:%Y-%m-%d %H:%M:%S}  {h.topic:<10} "
    return _lines(said, head, " " * len(head))


def _version(version: Version | None, facts: Facts) -> Iterator[str]:
    if version is None:
        yield "We never heard of this record."
        if facts.account.state != State.ACTIVE:
            yield "Its repo is not complete here, so it may exist all the same."
        return
    if version.cid is None:
        yield f"DELETED at rev {_rev(version.rev)}."
    elif version.invalid is not None:
        yield f"NOT SHOWN: its lexicon refuses the version of rev {_rev(version.rev)}: {version.invalid}"
    elif facts.account.hidden:
        yield f"NOT SHOWN, as nothing of this account is; its version is of rev {_rev(version.rev)}."
    else:
        yield f"SHOWN, in the version of rev {_rev(version.rev)}."
    if version.cid is not None:
        yield f"{version.cid}, {version.bytes or 0:,} bytes"
    if not version.verified:
        yield "Not proven: a source without proofs told of it. Reading the whole repo settles it."
    elif version.cid is not None and version.proof:
        yield "Proven by the commit that wrote it; fm.plyr.sync.getRecordProof gives the proof to anybody."
    else:
        yield "Proven by the account's signature over its whole tree."


def _as_it_came(seen: Seen) -> str:
    e = seen.entry
    why = f" ({e.reason})" if e.reason else ""
    return f"{e.action} at rev {e.rev}, {e.verdict}{why}, from {_where(e.source, e.source_seq)}"


def _where(source: str | None, seq: int | None) -> str:
    """The host alone: there is hardly ever a second source on it."""
    name = "nobody" if source is None else urlsplit(source).netloc or source
    return name if seq is None else f"{name}, seq {seq}"


def _rev(rev: Rev | None) -> str:
    return "?" if rev is None else f"{rev} ({_clock(rev_time(rev))})"


def _clock(at: datetime) -> str:
    """Date and time, which no line break parts: see `_lines`."""
    return f"{at:%Y-%m-%d}{_GLUE}{at:%H:%M:%S}"


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _ago(at: datetime, now: datetime) -> str:
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 5 else f"{span(seconds)} ago"


def _when(at: datetime, now: datetime) -> str:
    seconds = (at - now).total_seconds()
    if seconds > 1:
        return f"in {span(seconds)}"
    return "now" if seconds > -5 else f"due since {span(-seconds)}"


def span(seconds: float) -> str:
    """The larger unit only, as nobody wants it more exactly: 45 s, 12 min, 5 h, 3 days."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def _wrapped(texts: Iterable[str], indent: str) -> Iterator[str]:
    for text in texts:
        yield from _lines(text, indent, indent + "  ")


def _lines(text: str, first: str, later: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_GLUE, " ") for line in lines]
