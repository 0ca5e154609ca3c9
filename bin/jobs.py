"""`plyr jobs COMMAND`: what is being done for whom, and a hand on it."""

from __future__ import annotations

from bin.command import OF_DATABASE, Command

COMMANDS = {
    "list": Command("bin.jobs_list", "jobs, newest first", True, "there", OF_DATABASE),
    "show": Command("bin.jobs_show", "everything about one job", True, "there", OF_DATABASE),
    "retry": Command(
        "bin.jobs_retry", "have jobs done again that failed, or now that wait", True, "there", OF_DATABASE
    ),
    "cancel": Command("bin.jobs_cancel", "end jobs, and undo what they began", True, "there", OF_DATABASE),
}
