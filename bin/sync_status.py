"""`plyr sync status`: how whole the index is, what waits, and what a person should look at."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence

import orjson
import psycopg

from bin.settings import Settings
from indexer.alarms import Alarm, Thresholds, alarms
from indexer.explain import span
from indexer.states import State
from storage import health as numbers
from storage.health import Health, Jobs, Links


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="exit with 1 if there is an alarm")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")


def thresholds(settings: Settings) -> Thresholds:
    """From where on the operator wants an alarm."""
    return Thresholds(rejected=settings.alarm_rejected, unsealed_s=settings.seal_minutes * 60 + 3600)


def run(args: argparse.Namespace, settings: Settings) -> int:
    health = asyncio.run(_ask(settings))
    found = alarms(health, thresholds(settings))
    if args.json:
        print(orjson.dumps({"health": health, "alarms": found}, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(summary(health, found)))
    return 1 if args.check and found else 0


async def _ask(settings: Settings) -> Health:
    assert settings.database_url
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn:
        return await numbers.ask(conn)


def summary(health: Health, found: Sequence[Alarm]) -> Iterator[str]:
    """One line a matter; then the alarms, each with the command that tells more."""
    rows = [
        ("repos", _repos(health)),
        ("due", _due(health)),
        *(("source", text) for text in _sources(health)),
    ]
    rows += [("last event", "none yet" if health.quiet_s is None else f"{span(health.quiet_s)} ago")]
    rows += [("rejected", _rejected(health)), ("in step", _score(health)), ("archive", _archive(health))]
    if health.jobs is not None:
        rows += [("jobs", _jobs(health.jobs))]
    if health.links is not None:
        rows += [("links", _links(health.links))]
    rows += [("failing", f"{f.host}: {f.repos:,}, as {f.did}: {f.error}") for f in health.failing]
    for name, text in rows:
        yield f"{name:<10}  {text}"
    yield ""
    if not found:
        yield "No alarm."
    for alarm in found:
        yield f"ALARM {alarm.name}: {alarm.text}"
        yield f"      more: {alarm.command}"


def _jobs(jobs: Jobs) -> str:
    counts = [f"{n:,} {state}" for state in ("running", "pending", "failed") if (n := jobs.in_state(state))]
    late = [f"the oldest waits for {span(jobs.late_s)}"] if jobs.late_s and jobs.late_s > 5 else []
    return ", ".join([*counts, *late]) or "nothing to do"


def _repos(health: Health) -> str:
    states = [f"{health.states[state]:,} {state}" for state in State if health.states.get(state)]
    hidden = [f"{health.hidden:,} out of sight"] if health.hidden else []
    return ", ".join([f"{health.repos:,}", *states, *hidden])


def _due(health: Health) -> str:
    parts = [
        (health.resync_due, "repo", "repos", "to read", health.resync_late_s),
        (health.accounts_due, "account", "accounts", "to ask about", health.accounts_late_s),
        (health.identities_due, "identity", "identities", "to look up", health.identities_late_s),
    ]
    said = [
        f"{n:,} {one if n == 1 else many} {what}" + (f" (for {span(late)})" if late and late > 5 else "")
        for n, one, many, what, late in parts
        if n
    ]
    if health.resync_waiting:
        said.append(f"of the repos {health.resync_waiting:,} must wait for an identity")
    return ", ".join(said) or "nothing"


def _sources(health: Health) -> list[str]:
    return [f"{s.url}: {s.seq:,}, {span(s.age_s)} ago" for s in health.sources] or ["none was read yet"]


def _rejected(health: Health) -> str:
    counts = ", ".join(f"{reason} {n:,}" for reason, n in sorted(health.rejected.items()))
    return f"{sum(health.rejected.values()):,}: {counts}; {health.stuck:,} for a person" if counts else "none"


def _score(health: Health) -> str:
    sweep = health.sweep
    if sweep is None:
        return "not compared with the PDSs yet: plyr sync reconcile"
    score = "nothing to compare" if sweep.score is None else f"{sweep.score:.2%} of {sweep.checked:,} repos"
    return f"{score}, {sweep.healed:,} healed, {sweep.unreachable:,} unreachable, {span(sweep.age_s)} ago"


def _links(links: Links) -> str:
    compared = (
        f"{links.tracks:,} {'track' if links.tracks == 1 else 'tracks'} compared, {links.differ:,} differ"
    )
    told = "; ".join(f"{each.uri} ours {each.ours:,}, theirs {each.theirs:,}" for each in links.worst[:3])
    return f"{compared}: {told}" if told else compared


def _archive(health: Health) -> str:
    if health.unsealed_s is None:
        return f"everything, up to seq {health.sealed:,}"
    return f"up to seq {health.sealed:,} of {health.head:,}, the next is {span(health.unsealed_s)} old"
