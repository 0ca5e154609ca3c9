"""`com.atproto.moderation.*`: what others think that somebody should look at. Rule L6."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from appview.errors import MethodNotImplemented
from appview.messages import time_text
from appview.moderation.reports import read_report
from appview.service import Call, Handler


async def create_report(call: Call) -> bytes:
    """The `id` is that of the case, which may have been open before."""
    reports = call.service.reports
    if reports is None:
        raise MethodNotImplemented
    asker = call.require_asker()
    report = read_report(call.input)
    case_id = await reports.take(report, asker)
    answer: dict[str, object] = {
        "id": case_id,
        "reasonType": report.reason_type,
        "subject": call.input["subject"],
        "reportedBy": asker.did,
        "createdAt": time_text(datetime.now(UTC)),
    }
    if report.text is not None:
        answer["reason"] = report.text
    return orjson.dumps(answer)


# Under their whole names: they are the network's, not ours.
METHODS: dict[str, Handler] = {"com.atproto.moderation.createReport": create_report}
