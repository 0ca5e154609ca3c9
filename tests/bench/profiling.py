"""The functions that a run spends its time in, ten of them."""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import signal
import time
from pathlib import Path

from tests.bench import children


def toggle_by_signal(per: int, unit: str) -> None:
    """From here on SIGUSR1 starts a profile of this process, and the next one ends it and says its ten."""
    running: list[cProfile.Profile] = []

    def toggle() -> None:
        if running:
            profile = running.pop()
            profile.disable()
            children.say({"profile": top_ten(profile, per, unit)})
        else:
            running.append(cProfile.Profile(time.process_time))
            running[0].enable()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, toggle)


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
