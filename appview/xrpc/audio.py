"""`fm.plyr.audio.*`: sound on its way in, and how often it is played."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from appview.errors import JobNotFound, MethodNotImplemented, TrackNotFound
from appview.jobs.view import job_view
from appview.media.receive import FORMATS, IMAGE_FORMATS, Plan, Receiver
from appview.service import Call, Handler
from appview.xrpc.addresses import record_uris
from storage import feed, jobs


async def upload_audio(call: Call) -> bytes:
    receiver = _receiver(call)
    actor = await receiver.actor(call.require_asker())
    body, params = call.body, call.params
    assert body is not None  # the lexicon says so
    plan = Plan(
        title=params["title"],
        album=params.get("album"),
        description=params.get("description"),
        features=params.get("features", ()),
        filename=params.get("filename"),
    )
    most = receiver.limits.max_bytes
    body.check(most)
    async with receiver.taking(actor, size=body.size) as intake:
        sound = await intake.sound(body.chunks(most), size=body.size)
        id = await intake.hand_on(plan, sound)
    return await _shown(receiver, id, actor.did)


async def get_job(call: Call) -> bytes:
    receiver = _receiver(call)
    asker = call.require_asker()
    try:
        id = UUID(call.params["id"])
    except ValueError:
        raise JobNotFound from None
    return await _shown(receiver, id, asker.did)


async def get_limits(call: Call) -> bytes:
    receiver = _receiver(call)
    limits = receiver.limits
    answer: dict[str, Any] = {
        "maxBytes": limits.max_bytes,
        "maxDurationS": limits.max_duration_s,
        "maxImageBytes": limits.max_image_bytes,
        "formats": FORMATS,
        "imageFormats": IMAGE_FORMATS,
        "maxUnfinished": limits.most_unfinished,
        "uploadsPerMinute": limits.rate.requests,
    }
    if call.asker is not None:
        answer["unfinished"] = await receiver.unfinished(call.asker)
        answer["uploadsLeft"] = receiver.left(call.asker)
    return orjson.dumps(answer)


async def record_play(call: Call) -> bytes:
    plays = call.service.plays
    if plays is None:
        raise MethodNotImplemented("nobody counts plays here")
    assert call.request is not None
    collection = call.service.catalog.collections.track
    named = await record_uris(call.reads, [call.input["uri"]], collection)
    uris = [f"at://{did}/{collection}/{rkey}" for did, rkey in named]
    track_id = await feed.track_id(call.reads, uris[0]) if uris else None
    if track_id is None:
        raise TrackNotFound
    heard = await plays.listeners.heard(call.request, call.viewer)
    listener = replace(heard.listener, alias=None)  # no cookie goes out by XRPC
    counted = await plays.counter.count(track_id, listener)
    if counted is None:
        raise TrackNotFound
    return orjson.dumps({"plays": counted.plays, "counted": listener.digest in counted.listeners})


async def _shown(receiver: Receiver, id: UUID, did: str) -> bytes:
    """The job, if it is this account's. Raises JobNotFound."""
    async with receiver.pool.connection() as conn:
        job = await jobs.get(conn, id)
    if job is None or job.did != did:
        raise JobNotFound
    return orjson.dumps(job_view(job))


def _receiver(call: Call) -> Receiver:
    if call.service.receiver is None:
        raise MethodNotImplemented("nothing can be uploaded here")
    return call.service.receiver


METHODS: dict[str, Handler] = {
    "audio.getJob": get_job,
    "audio.getLimits": get_limits,
    "audio.recordPlay": record_play,
    "audio.uploadAudio": upload_audio,
}
