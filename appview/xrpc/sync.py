"""`fm.plyr.sync.*`: where what we hold comes from. The subscription is in `appview.subscribe`."""

from __future__ import annotations

from appview.errors import ProofNotFound, RecordNotFound, RepoNotFound
from appview.service import Call, Handler
from appview.xrpc.addresses import record_uris
from firehose.proof import NoProof, record_proof
from lexicons.syntax import Nsid, parse_at_uri
from storage import provenance


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
    if record.car is None:
        raise ProofNotFound
    try:
        return record_proof(record.car, f"{collection}/{rkey}", record.block)
    except NoProof:
        raise ProofNotFound from None


async def get_repo_state(call: Call) -> bytes:
    answer = await provenance.repo(call.reads, call.params["actor"], decisions=call.params["limit"])
    if answer is None:
        raise RepoNotFound
    return answer


METHODS: dict[str, Handler] = {
    "sync.getRecordProof": get_record_proof,
    "sync.getRepoState": get_repo_state,
}
