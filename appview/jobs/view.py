"""A job as its owner sees it, over XRPC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from storage.jobs import Job

_RESULT = ("uri", "cid", "trackId")


def job_view(job: Job) -> dict[str, Any]:
    """`#jobView`: what is unknown is left out."""
    view = {
        "id": str(job.id),
        "kind": job.kind,
        "state": job.state,
        "phase": job.phase,
        "progress": None if job.progress is None else round(job.progress * 100),
        "message": job.message,
        "error": job.error,
        "warnings": job.warnings or None,
        "result": None if job.result is None else _known(job.result),
        "createdAt": _iso(job.created_at),
        "updatedAt": _iso(job.updated_at),
        "finishedAt": None if job.finished_at is None else _iso(job.finished_at),
    }
    return {name: value for name, value in view.items() if value is not None}


def _known(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in _RESULT if result.get(name) is not None}


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
