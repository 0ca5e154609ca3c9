"""Every kind of job that there is: its lane, and how often the house wants it done.

A new one is a line in `LANES`, and one in bin/tasks.py, where whoever does it is built; the house's own is
also in `SCHEDULES`. Who only puts jobs into the queue needs no more than this.
"""

from __future__ import annotations

from datetime import timedelta

from appview.jobs.queue import JobQueue
from appview.jobs.tasks import Schedule

LANES = {
    "blobs.collect": "light",
    "export": "light",
    "exports.expire": "light",
    "images.render": "light",
    "jobs.forget": "light",
    "links.check": "light",
    "listen": "later",
    "listen.sweep": "light",
    "lists.sweep": "light",
    "mirror": "mirror",
    "mirror.sweep": "light",
    "moderation.sweep": "light",
    "opus": "later",
    "opus.sweep": "light",
    "playing.forget": "light",
    "plays.rollup": "light",
    "plays.seal": "light",
    "records.doubt": "light",
    "replace": "heavy",
    "scan": "scan",
    "scan.sweep": "light",
    "sounds.check": "light",
    "sounds.index": "light",
    "stats.count": "light",
    "tracks.render": "light",
    "tracks.sweep": "light",
    "upload": "heavy",
    "uploads.sweep": "light",
}

SCHEDULES = (
    Schedule("blobs.collect", every=timedelta(hours=1)),
    Schedule("exports.expire", every=timedelta(hours=1)),
    Schedule("images.render", every=timedelta(hours=1)),
    Schedule("jobs.forget", every=timedelta(days=1)),
    Schedule("links.check", every=timedelta(hours=1)),
    Schedule("listen.sweep", every=timedelta(minutes=1)),
    Schedule("lists.sweep", every=timedelta(hours=1)),
    Schedule("mirror.sweep", every=timedelta(minutes=1)),
    Schedule("moderation.sweep", every=timedelta(minutes=10)),
    Schedule("opus.sweep", every=timedelta(hours=1)),
    Schedule("playing.forget", every=timedelta(hours=1)),
    Schedule("plays.rollup", every=timedelta(minutes=5)),
    Schedule("plays.seal", every=timedelta(days=1)),
    Schedule("records.doubt", every=timedelta(minutes=10)),
    Schedule("scan.sweep", every=timedelta(minutes=10)),
    Schedule("sounds.check", every=timedelta(minutes=1)),
    Schedule("sounds.index", every=timedelta(minutes=10)),
    Schedule("stats.count", every=timedelta(minutes=10)),
    Schedule("tracks.render", every=timedelta(hours=1)),
    Schedule("tracks.sweep", every=timedelta(minutes=10)),
    Schedule("uploads.sweep", every=timedelta(minutes=10)),
)


def job_queue() -> JobQueue:
    return JobQueue(LANES)
