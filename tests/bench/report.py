"""What a person reads: a block for each bench, bars for who likes to look, plain words for what is missed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tests.bench.machine import Machine
from tests.bench.measure import QUICK_FACTOR, Contestant, Finding, Goal, Target

_BAR = 32


def heading(machine: Machine, day: str, quick: bool) -> list[str]:
    """Where and when."""
    return [
        (
            f"{day}: {machine.cores} cores {machine.cpu}, {machine.memory_gib} GiB, Python {machine.python}, "
            f"{machine.postgres}, Linux {machine.kernel}"
        ),
        *([f"quick: small inputs, {QUICK_FACTOR:.0%} of each ratio is enough"] if quick else []),
    ]


def block(finding: Finding) -> list[str]:
    """The lines of one bench."""
    out = [f"{finding.name}: {finding.title}", ""]
    fastest = max(contestant.typical.per_second for contestant in finding.contestants)
    width = max(len(contestant.name) for contestant in finding.contestants)
    for contestant in finding.contestants:
        out.append("  " + _line(contestant, finding.unit, fastest, width))
    out.append("")
    out += [f"  {_target(target)}" for target in finding.targets]
    out += [f"  {_goal(goal)}" for goal in finding.goals]
    out += [f"  checked: {gate}" for gate in finding.gates]
    out += [f"  note: {note}" for note in finding.notes]
    for name, profile in finding.profiles.items():
        out += [
            "",
            f"  profile of {name}, ten costliest functions",
            *(f"    {x}" for x in profile.splitlines()),
        ]
    return out


def wrong(name: str, error: Exception) -> list[str]:
    """The lines of a bench whose gate refused."""
    return [f"{name}: WRONG ANSWER, so its speed does not count", f"  {error}"]


def summary(findings: list[Finding], refused: list[str]) -> list[str]:
    """The last lines: what was missed, or that nothing was."""
    out = [f"{name}: wrong answer" for name in refused]
    for finding in findings:
        out += [
            f"{finding.name}: {target.what}: {target.measured:.2f}, wanted at least {target.at_least:g}"
            for target in finding.targets
            if not target.met
        ]
    return ["MISSED", *(f"  {line}" for line in out)] if out else ["every ratio reached, every answer right"]


def as_json(
    machine: Machine, day: str, quick: bool, findings: list[Finding], refused: list[str]
) -> dict[str, Any]:
    """The same as one JSON object."""
    return {
        "day": day,
        "quick": quick,
        "machine": asdict(machine),
        "wrong": refused,
        "benches": {finding.name: _finding_json(finding) for finding in findings},
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "title": finding.title,
        "unit": finding.unit,
        "contestants": {
            contestant.name: {
                "per_second": contestant.typical.per_second,
                "cpu_us": contestant.typical.cpu_us,
                "peak_bytes": contestant.typical.peak_bytes,
                "n": contestant.typical.n,
                "runs": len(contestant.samples),
            }
            for contestant in finding.contestants
        },
        "targets": [
            {**asdict(target), "measured": target.measured, "met": target.met} for target in finding.targets
        ],
        "goals": [{**asdict(goal), "reached": goal.reached} for goal in finding.goals],
        "checked": finding.gates,
        "notes": finding.notes,
        "profiles": finding.profiles,
    }


def _line(contestant: Contestant, unit: str, fastest: float, width: int) -> str:
    sample = contestant.typical
    bar = "█" * max(1, round(_BAR * sample.per_second / fastest))
    return (
        f"{contestant.name:<{width}}  {bar:<{_BAR}}  {sample.per_second:>9,.0f} {unit}s/s  "
        f"{sample.cpu_us:>8,.1f} µs CPU/{unit}  {sample.peak_bytes / 2**20:>5,.0f} MiB  "
        f"n = {len(contestant.samples)} × {sample.n:,}"
    )


def _target(target: Target) -> str:
    runs = " ".join(f"{ratio:.2f}" for ratio in sorted(target.ratios))
    aim = "" if target.aim is None else f", aim {target.aim:g}"
    verdict = "reached" if target.met else "MISSED"
    return (
        f"{target.measured:.2f} × {target.what}: {verdict} (at least {target.at_least:g}{aim}; "
        f"median of {len(target.ratios)}: {runs})"
    )


def _goal(goal: Goal) -> str:
    bound = "at most" if goal.at_most else "at least"
    verdict = "reached" if goal.reached else "not reached on this machine"
    return (
        f"{goal.what}: {_number(goal.measured)} {goal.unit}, wanted {bound} {_number(goal.wanted)}: {verdict}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
