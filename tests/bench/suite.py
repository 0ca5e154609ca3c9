"""The benches by name, run one after the other; a wrong answer or a missed ratio is exit code 1."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import (
    archive,
    auth,
    backfill,
    bigcar,
    database,
    feed,
    headline,
    ingest,
    live,
    machine,
    pipeline,
    plays,
    ranges,
    report,
    rest,
    scan,
    transcode,
    upload,
    verify,
    zipped,
)
from tests.bench.measure import QUICK_FACTOR, Finding, WrongAnswer
from tests.bench.options import Options

WITHOUT_DATABASE = {
    "verify": verify.run,
    "bigcar": bigcar.run,
    "ranges": ranges.run,
    "zip": zipped.run,
    "transcode": transcode.run,
}


async def run(
    names: Sequence[str], *, quick: bool, profile: bool, json_file: Path | None, say: Callable[[str], None]
) -> int:
    """Run these benches, saying each block of lines as soon as it is known."""
    place, day = machine.describe(), datetime.now(UTC).date().isoformat()
    for line in report.heading(place, day, quick):
        say(line)
    findings: list[Finding] = []
    refused: list[str] = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plyr-bench-", dir="/var/tmp")))
        options = Options(quick=quick, profile=profile, scratch=scratch)
        server = stack.enter_context(database.throwaway()) if set(names) - set(WITHOUT_DATABASE) else None
        for name in names:
            try:
                finding = judged(await _one(name, options, server), quick)
            except WrongAnswer as error:
                refused.append(name)
                lines = report.wrong(name, error)
            else:
                findings.append(finding)
                lines = report.block(finding)
            say("\n" + "\n".join(lines))
    say("\n" + "\n".join(report.summary(findings, refused)))
    if json_file is not None:
        answer = report.as_json(place, day, quick, findings, refused)
        json_file.write_text(json.dumps(answer, indent=2) + "\n")
    return exit_code(findings, refused)


def judged(finding: Finding, quick: bool) -> Finding:
    """The finding with its targets relaxed where the inputs were small."""
    if not quick:
        return finding
    return replace(finding, targets=tuple(target.relaxed(QUICK_FACTOR) for target in finding.targets))


def exit_code(findings: Sequence[Finding], refused: Sequence[str]) -> int:
    """0 if every answer was right and every ratio reached, else 1."""
    return 0 if not refused and all(finding.met for finding in findings) else 1


async def _one(name: str, options: Options, server: database.Server | None) -> Finding:
    if name in WITHOUT_DATABASE:
        return await WITHOUT_DATABASE[name](options)
    assert server is not None
    benches = {
        "pipeline": pipeline.run,
        "ingest": ingest.run,
        "feed": feed.run,
        "rest": rest.run,
        "archive": archive.run,
        "backfill": backfill.run,
        "live": live.run,
        "auth": auth.run,
        "plays": plays.run,
        "upload": upload.run,
        "headline": headline.run,
        "scan": scan.run,
    }
    return await benches[name](options, server)
