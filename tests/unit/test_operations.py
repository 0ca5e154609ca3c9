"""docs/operations.md knows every alarm and every metric."""

from __future__ import annotations

import re

from appview.media.serve import ServeConfig
from bin.kinds import LANES, SCHEDULES
from bin.settings import ROOT, load
from bin.worker import places

PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_every_metric_is_in_the_docs() -> None:
    code = "".join((ROOT / "appview" / name).read_text() for name in ("gauges.py", "metrics.py"))
    names = set(re.findall(r'"(plyr_\w+)"', code))
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}" not in PAGE] == []


def test_every_alarm_is_in_the_docs() -> None:
    code = (ROOT / "indexer" / "alarms.py").read_text()
    names = set(re.findall(r'Alarm\("(\w+)"', code)) | {"accounts_late", "identities_late"}
    assert len(names) > 8
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
    for command in set(re.findall(r'"(plyr [\w ]+)"\)', code)):
        assert f"`{command}`" in PAGE


def test_every_job_is_in_the_docs() -> None:
    assert [kind for kind in LANES if f"`{kind}`" not in PAGE] == []
    assert {each.kind for each in SCHEDULES} <= LANES.keys()


def test_what_stays_readable_of_the_hidden_is_in_the_docs() -> None:
    assert "With `PLYR_MEDIA_URL`, hidden sound and images stay readable at the bucket and its CDN." in PAGE
    link_s = load({}, {}).media_link_s
    assert link_s == ServeConfig().link_s == 30 * 60
    assert "That is half an hour by default" in PAGE
    assert f"{link_s * 9 // 10 // 60} minutes are left at least" in PAGE.replace("\n  ", " ")


def test_what_strangers_have_us_do_takes_nobodys_place() -> None:
    assert [kind for kind, lane in LANES.items() if lane == "mirror"] == ["mirror"]
    assert set(LANES.values()) == places(load({}, {})).keys()
