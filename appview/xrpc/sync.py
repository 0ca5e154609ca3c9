"""`fm.plyr.sync.*`: where what we hold comes from. The subscription is in `appview.subscribe`."""

from __future__ import annotations

import structlog

from appview.errors import ProofNotFound, RecordNotFound, RepoNotFound
from appview.service import Call, Handler
from appview.xrpc.addresses import record_uris
from firehose.proof import NoProof, record_proof
from lexicons.syntax import Nsid, parse_at_uri
from storage import provenance

log = structlog.get_logger()


async def get_record_proof(call: Call) -> bytes:
    parts = parse_at_uri(call.params["uri"])
    if parts.collection is None or parts.rkey is None:
        raise RecordNotFound
    collection = Nsid(parts.collection)
    found = await record_uris(call.reads, [call.params["uri"]], collection)
    if not found:
        raise RecordNotFound
    did, rkey = found[0]
    record = await provenance.record(call.reads, did, collection, rkey)
    if record is None:
        raise RecordNotFound
    try:
        if record.car is not None:
            return record_proof(record.car, f"{collection}/{rkey}", record.block)
    except NoProof as error:
        log.warning("a slice does not prove what it came with", did=did, rkey=rkey, reason=str(error))
    where = "" if record.pds is None else f" {record.pds} has com.atproto.sync.getRecord."
    raise ProofNotFound(f"Nothing signed that leads to this record was kept.{where}")


async def get_repo_state(call: Call) -> bytes:
    answer = await provenance.repo(call.reads, call.params["actor"], decisions=call.params["limit"])
    if answer is None:
        raise RepoNotFound
    return answer


METHODS: dict[str, Handler] = {
    "sync.getRecordProof": get_record_proof,
    "sync.getRepoState": get_repo_state,
}
