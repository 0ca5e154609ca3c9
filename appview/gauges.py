"""How the index is doing, for `/metrics`: states, what waits, what was refused, alarms.

From one statement, asked at most every `TTL_S`. While the database is away there are none of these, and
`plyr_index_up` is 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from indexer.alarms import Thresholds, alarms
from indexer.states import State
from storage import health as numbers
from storage.health import Cases, Health, Jobs, Labeler
from storage.reader import ReadFailed, Reads

TTL_S = 10.0
TIMEOUT_S = 5.0


class IndexGauges:
    """The text of these gauges, at most `ttl_s` old."""

    def __init__(self, reads: Reads, thresholds: Thresholds, ttl_s: float = TTL_S) -> None:
        self._reads = reads
        self._thresholds = thresholds
        self._ttl_s = ttl_s
        self._lock = asyncio.Lock()
        self._text = b""
        self._fresh_until = 0.0

    async def text(self) -> bytes:
        async with self._lock:
            if monotonic() >= self._fresh_until:
                self._text = _rendered(await self._ask(), self._thresholds)
                self._fresh_until = monotonic() + self._ttl_s
            return self._text

    async def _ask(self) -> Health | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await numbers.read(self._reads)
        except (ReadFailed, TimeoutError):
            return None


def _rendered(health: Health | None, thresholds: Thresholds) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(health, thresholds))
    return generate_latest(registry)


class _Once:
    """What a registry asks for gauges."""

    def __init__(self, health: Health | None, thresholds: Thresholds) -> None:
        self._health = health
        self._thresholds = thresholds

    def collect(self) -> Iterator[Metric]:
        health = self._health
        yield _one("plyr_index_up", "1 while the database answers.", health is not None)
        if health is None:
            return
        states = {str(state): health.states.get(state, 0) for state in State}
        yield _each("plyr_repos", "Accounts that are tracked, by state of their repo.", "state", states)
        yield _one("plyr_repos_hidden", "Accounts that are out of sight.", health.hidden)
        due = {
            "resync": health.resync_due,
            "account": health.accounts_due,
            "identity": health.identities_due,
        }
        yield _each("plyr_due", "Pieces of work whose time has come.", "work", due)
        late = {
            "resync": health.resync_late_s,
            "account": health.accounts_late_s,
            "identity": health.identities_late_s,
        }
        ages = {work: age or 0.0 for work, age in late.items()}
        yield _each("plyr_late_seconds", "How long the oldest of them waits.", "work", ages)
        rejected = health.rejected
        yield _each("plyr_rejected", "Events that could not be applied and wait.", "reason", rejected)
        yield _one("plyr_rejected_stuck", "Those of them that only a person may retry.", health.stuck)
        seqs = {source.url: source.seq for source in health.sources}
        yield _each("plyr_source_seq", "How far a source is applied.", "source", seqs)
        moved = {source.url: source.age_s for source in health.sources}
        yield _each("plyr_source_age_seconds", "Since that moved.", "source", moved)
        if health.quiet_s is not None:
            yield _one("plyr_quiet_seconds", "Since the last event of ours.", health.quiet_s)
        yield _one("plyr_outbox_seq", "How many events there were.", health.head)
        yield _one("plyr_unsealed_seconds", "Age of the oldest event not archived.", health.unsealed_s or 0)
        if health.sweep is not None:
            sweep = health.sweep
            found = {
                "checked": sweep.checked,
                "in step": sweep.in_step,
                "healed": sweep.healed,
                "unreachable": sweep.unreachable,
            }
            yield _each("plyr_sweep", "What the last comparison with the PDSs found.", "found", found)
            yield _one("plyr_sweep_age_seconds", "Since it ended.", sweep.age_s)
            if sweep.score is not None:
                yield _one("plyr_completeness", "Part of the compared repos that were in step.", sweep.score)
        if health.jobs is not None:
            yield from _jobs(health.jobs)
        mirrored = health.mirrored
        if mirrored is not None:
            yield _one("plyr_mirrored_bytes", "Sound that is here from PDSs.", mirrored.bytes)
            yield _one("plyr_mirror_over", "Tracks whose sound is left there, over a limit.", mirrored.over)
        if health.links is not None:
            yield _one(
                "plyr_links_compared", "Tracks whose likes another index counted.", health.links.tracks
            )
            yield _one("plyr_links_differ", "Those that it counted otherwise.", health.links.differ)
        if health.cases is not None:
            yield from _cases(health.cases)
        if health.labelers:
            yield from _labelers(health.labelers)
        firing = {alarm.name: 1 for alarm in alarms(health, self._thresholds)}
        yield _each("plyr_alarm", "1 for what a person should look at: plyr sync status.", "name", firing)


def _cases(cases: Cases) -> Iterator[Metric]:
    yield _one("plyr_cases_open", "Cases that wait for a person's decision.", cases.open)
    yield _one("plyr_cases_oldest_seconds", "How long the oldest of them waits.", cases.oldest_s or 0)
    yield _one("plyr_notices_late", "Notices that were to be decided before now.", cases.late_notices)


def _labelers(labelers: Sequence[Labeler]) -> Iterator[Metric]:
    seqs = {each.did: each.seq for each in labelers}
    yield _each("plyr_labeler_seq", "How far another labeler was heard.", "labeler", seqs)
    refused = {each.did: each.refused for each in labelers}
    yield _each("plyr_labeler_refused", "Labels of it that did not hold.", "labeler", refused)
    ages = {each.did: each.age_s for each in labelers}
    yield _each("plyr_labeler_age_seconds", "Since it was heard.", "labeler", ages)


def _jobs(jobs: Jobs) -> Iterator[Metric]:
    count = GaugeMetricFamily("plyr_jobs", "Jobs that are kept.", labels=["kind", "state"])
    tries = GaugeMetricFamily("plyr_job_attempts", "Attempts at those.", labels=["kind", "state"])
    for each in jobs.counts:
        count.add_metric([each.kind, each.state], each.jobs)
        tries.add_metric([each.kind, each.state], each.attempts)
    yield count
    yield tries
    yield _one("plyr_jobs_late_seconds", "How long the oldest job waits for a worker.", jobs.late_s or 0)
    yield _one("plyr_workers", "Lanes of workers that live.", jobs.workers)


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _each(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], float(value))
    return family
