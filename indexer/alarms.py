"""When a person has to look, and what to ask then. Pure: numbers in, alarms out.

Silence is the enemy (T16): every promise of the index has a number that says whether it is kept, and
every alarm names the command that tells more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from indexer.pulse import blindness
from storage.health import Health


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on it is an alarm. `rejected`: events that wait; `failing`: part of all repos, and how many
    at least; `score`: part of the repos in step; the rest are ages."""

    rejected: int = 100
    failing: float = 0.02
    failing_repos: int = 3
    late_s: float = 900.0
    no_worker_s: float = 60.0
    cursor_s: float = 120.0
    unsealed_s: float = 7200.0
    sweep_s: float = 48 * 3600.0
    unproven_s: float = 1800.0
    score: float = 0.99


@dataclass(frozen=True, slots=True)
class Alarm:
    """`name` is what metrics call it; `text` says what is wrong; `command` tells more."""

    name: str
    text: str
    command: str


def alarms(health: Health, limits: Thresholds = Thresholds()) -> list[Alarm]:
    """Everything that a person should look at now, the most urgent first."""
    return [
        *_sources(health, limits),
        *_blind(health),
        *_work(health, limits),
        *_refused(health, limits),
        *_whole(health, limits),
        *_jobs(health, limits),
    ]


def _sources(health: Health, limits: Thresholds) -> Iterator[Alarm]:
    if not health.sources:
        yield Alarm("no_source", "no source was ever read", "plyr ingest")
    elif min(source.age_s for source in health.sources) > limits.cursor_s:
        # One that stands still while another moves may just not be followed any more. One that is quiet and
        # there has its cursor confirmed.
        newest = min(health.sources, key=lambda source: source.age_s)
        text = f"no source was there for {newest.age_s:,.0f} s, the last was {newest.url} at {newest.seq:,}"
        yield Alarm("sources_stand_still", text, "plyr ingest")


def _blind(health: Health) -> Iterator[Alarm]:
    pulse = health.pulse
    text = pulse and blindness(pulse.silent_s, pulse.records, pulse.over_s, pulse.behind)
    if text:
        yield Alarm("blind", text, "plyr sync reconcile")


def _work(health: Health, limits: Thresholds) -> Iterator[Alarm]:
    late = health.resync_late_s
    if late is not None and late > limits.late_s:
        text = f"{health.resync_due:,} repos are due to be read, one for {late:,.0f} s"
        yield Alarm("resyncs_late", text, "plyr sync run")
    for what, due, since in (
        ("accounts", health.accounts_due, health.accounts_late_s),
        ("identities", health.identities_due, health.identities_late_s),
    ):
        if since is not None and since > limits.late_s:
            text = f"{due:,} {what} are due to be asked about, one for {since:,.0f} s"
            yield Alarm(f"{what}_late", text, "plyr ingest")


def _refused(health: Health, limits: Thresholds) -> Iterator[Alarm]:
    waiting = sum(health.rejected.values())
    if waiting >= limits.rejected:
        text = f"{waiting:,} events could not be applied, {health.stuck:,} of them wait for a person"
        yield Alarm("rejected", text, "plyr sync rejected list")
    failing = health.states.get("error", 0)
    if failing >= max(limits.failing_repos, limits.failing * health.repos):
        worst = health.failing[0]
        text = f"{failing:,} of {health.repos:,} repos cannot be read, {worst.repos:,} at {worst.host}"
        yield Alarm("repos_failing", text, f"plyr sync explain {worst.did}")


def _whole(health: Health, limits: Thresholds) -> Iterator[Alarm]:
    sweep = health.sweep
    if sweep is not None and sweep.age_s > limits.sweep_s:
        text = f"the last comparison with the PDSs ended {sweep.age_s / 3600:,.0f} h ago"
        yield Alarm("sweep_old", text, "plyr sync reconcile")
    unproven = health.unproven
    if unproven is not None and unproven.age_s > limits.unproven_s:
        text = f"{unproven.records:,} records wait for their proof, one for {unproven.age_s:,.0f} s"
        yield Alarm("echo_missing", text, "plyr sync status")
    if sweep is not None and sweep.score is not None and sweep.score < limits.score:
        text = f"only {sweep.score:.1%} of the repos were in step with their PDS"
        yield Alarm("score_low", text, "plyr sync reconcile")
    if health.unsealed_s is not None and health.unsealed_s > limits.unsealed_s:
        text = f"events wait for the archive, the oldest for {health.unsealed_s / 3600:,.0f} h"
        yield Alarm("archive_late", text, "plyr archive status")


def _jobs(health: Health, limits: Thresholds) -> Iterator[Alarm]:
    jobs = health.jobs
    if jobs is None:
        return
    if jobs.late_s is not None and jobs.late_s > (limits.late_s if jobs.workers else limits.no_worker_s):
        who = f"{jobs.workers:,} lanes of workers live" if jobs.workers else "no worker lives"
        text = f"{jobs.in_state('pending'):,} jobs wait, the oldest for {jobs.late_s:,.0f} s; {who}"
        yield Alarm("jobs_late", text, "plyr jobs list")
    for job in jobs.failing:
        yield Alarm("jobs_failing", f"{job.kind} failed: {job.error}", "plyr jobs list")
