"""How far clocks may be apart: tokens and leases are good for a time, and who made one has another clock."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from appview.auth.service_jwt import SKEW_S
from bin.checkup.verdict import Finding, fail, ok, warn

WARN_S = 3.0
_SET = "set this machine's clock by NTP (timedatectl status)"


def clock(subject: str, whose: str, ahead_s: float, blur_s: float) -> Finding:
    """`ahead_s`: their time less ours; `blur_s`: what that may be wrong by."""
    off_s = max(0.0, abs(ahead_s) - blur_s)
    text = f"the clock of {whose} is {off_s:,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
    if off_s > SKEW_S:
        return fail(subject, f"{text}: tokens will be refused", _SET)
    if off_s > WARN_S:
        return warn(subject, text, _SET)
    return ok(subject, f"as that of {whose}")


def by_header(subject: str, whose: str, date: str | None, asked_s: float, told_s: float) -> Finding | None:
    """By the Date of an answer that was asked for and came at these times since 1970; None: it has none."""
    try:
        moment = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    # Without a zone, "-0000", it is UTC, too. A Date has whole seconds: it is half of one later on average.
    theirs_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + 0.5
    blur_s = 0.5 + (told_s - asked_s) / 2
    return clock(subject, whose, theirs_s - (asked_s + told_s) / 2, blur_s)
