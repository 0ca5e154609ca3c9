"""The functions that a run spends its time in, ten of them."""

from __future__ import annotations

import cProfile
import io
import pstats
from pathlib import Path


def top_ten(profile: cProfile.Profile, per: int, unit: str) -> str:
    """Own CPU time of the ten costliest functions, in µs for each of `per` things, costliest first.

    The profiler itself costs time at every call: read the order and the shares, not the sum.
    """
    stats = pstats.Stats(profile, stream=io.StringIO())
    rows: list[tuple[float, int, str]] = []
    total = 0.0
    for (file, line, function), (_, calls, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        rows.append((own, calls, _name(file, line, function)))
        total += own
    rows.sort(reverse=True)
    lines = [f"{'own µs/' + unit:>12}  {'share':>5}  {'calls':>9}  function"]
    for own, calls, name in rows[:10]:
        lines.append(f"{own / per * 1e6:12.2f}  {own / total:5.0%}  {calls:9d}  {name}")
    return "\n".join(lines)


def _name(file: str, line: int, function: str) -> str:
    if file == "~":
        return function
    parts = Path(file).parts
    parts = parts[parts.index("site-packages") + 1 :] if "site-packages" in parts else parts[-2:]
    return f"{'/'.join(parts)}:{line} {function}"
