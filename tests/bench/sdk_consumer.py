"""The baseline of (a): the Python SDK's documented consumer with an INSERT per operation (a child process).

The SDK's own client and models, used as its examples do: parse each message, read the
commit's CAR, take each operation's URI apart, make each created record a model, write what is
ours and count it, save the cursor now and then. Where the examples leave a choice, the
faster way is taken: the synchronous client, prepared statements, one connection, the cursor
every thousandth event only. It verifies nothing.

With `lean` in its task it is better than its documentation: records of other apps are
not made models, since their path tells that they are not wanted.
"""

from __future__ import annotations

import os
import time
from typing import Any

import psycopg
from atproto import (
    CAR,
    AtUri,
    FirehoseSubscribeReposClient,
    firehose_models,
    models,
    parse_subscribe_repos_message,
)

from tests.bench import children, machine
from tests.bench.measure import Sample

_INSERT_TRACK = """
insert into sdk.track (uri, did, cid, rev, title, artist, album, duration, file_type, audio_url, image_url,
                       description, created_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (uri) do update set cid = excluded.cid, rev = excluded.rev, title = excluded.title,
    artist = excluded.artist, album = excluded.album, duration = excluded.duration,
    file_type = excluded.file_type, audio_url = excluded.audio_url, image_url = excluded.image_url,
    description = excluded.description, created_at = excluded.created_at"""
_INSERT_LIKE = """
insert into sdk.like (uri, did, cid, rev, subject_uri, created_at) values (%s, %s, %s, %s, %s, %s)
on conflict (uri) do nothing"""
_INSERT_COMMENT = """
insert into sdk.comment (uri, did, cid, rev, subject_uri, text, timestamp_ms, created_at)
values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (uri) do nothing"""
_COUNT_LIKE = """
insert into sdk.track_stat as s (uri, likes) values (%s, 1)
on conflict (uri) do update set likes = s.likes + 1"""
_COUNT_COMMENT = """
insert into sdk.track_stat as s (uri, comments) values (%s, 1)
on conflict (uri) do update set comments = s.comments + 1"""
_SAVE_CURSOR = """
insert into sdk.cursor (service, seq) values ('bench', %s)
on conflict (service) do update set seq = excluded.seq"""


class Consumer:
    """Handles messages until the one with `last_seq`, and stops the clock there."""

    def __init__(
        self,
        connection: psycopg.Connection,
        client: FirehoseSubscribeReposClient,
        *,
        last_seq: int,
        lean: bool,
    ) -> None:
        self.events = 0
        self.error: BaseException | None = None
        self.wall_s = self.cpu_s = 0.0
        self._started, self._cpu = time.perf_counter(), time.process_time()
        self._connection = connection
        self._client = client
        self._last_seq = last_seq
        self._lean = lean

    def on_message(self, message: firehose_models.MessageFrame) -> None:
        self.events += 1
        commit = parse_subscribe_repos_message(message)
        if isinstance(commit, models.ComAtprotoSyncSubscribeRepos.Info):
            return
        if isinstance(commit, models.ComAtprotoSyncSubscribeRepos.Commit) and isinstance(
            commit.blocks, bytes
        ):
            car = CAR.from_bytes(commit.blocks)
            for op in commit.ops:
                if not self._lean or op.path.startswith("fm.plyr."):
                    self._operation(commit, op, car)
        seq = commit.seq
        if seq % 1000 == 0 or seq == self._last_seq:
            self._connection.execute(_SAVE_CURSOR, (seq,))
        if seq == self._last_seq:
            self.wall_s = time.perf_counter() - self._started
            self.cpu_s = time.process_time() - self._cpu
            self._client.stop()

    def on_error(self, error: BaseException) -> None:
        """Without this the client would print what the callback raised, and go on."""
        self.error = error
        self._client.stop()

    def _operation(self, commit: Any, op: Any, car: CAR) -> None:
        uri = AtUri.from_str(f"at://{commit.repo}/{op.path}")
        if op.action == "delete":
            self._delete(uri)
            return
        raw = car.blocks[op.cid]
        # None for a record that the SDK has no model of: ours stay dicts.
        if models.get_or_create(raw, strict=False) is None and uri.collection.startswith("fm.plyr."):
            self._write(commit, op, uri, raw)

    def _write(self, commit: Any, op: Any, uri: AtUri, record: Any) -> None:
        shared = (str(uri), commit.repo, str(op.cid), commit.rev)
        execute = self._connection.execute
        if uri.collection == "fm.plyr.track":
            execute(
                _INSERT_TRACK,
                (
                    *shared,
                    record["title"],
                    record["artist"],
                    record.get("album"),
                    record.get("duration"),
                    record["fileType"],
                    record.get("audioUrl"),
                    record.get("imageUrl"),
                    record.get("description"),
                    record["createdAt"],
                ),
            )
        elif uri.collection == "fm.plyr.like":
            if execute(_INSERT_LIKE, (*shared, record["subject"]["uri"], record["createdAt"])).rowcount:
                execute(_COUNT_LIKE, (record["subject"]["uri"],))
        elif uri.collection == "fm.plyr.comment":
            values = (
                *shared,
                record["subject"]["uri"],
                record["text"],
                record["timestampMs"],
                record["createdAt"],
            )
            if execute(_INSERT_COMMENT, values).rowcount:
                execute(_COUNT_COMMENT, (record["subject"]["uri"],))

    def _delete(self, uri: AtUri) -> None:
        execute = self._connection.execute
        if uri.collection == "fm.plyr.track":
            execute("delete from sdk.track where uri = %s", (str(uri),))
        elif uri.collection == "fm.plyr.like":
            gone = execute(
                "delete from sdk.like where uri = %s returning subject_uri", (str(uri),)
            ).fetchone()
            if gone:
                execute("update sdk.track_stat set likes = likes - 1 where uri = %s", gone)
        elif uri.collection == "fm.plyr.comment":
            gone = execute(
                "delete from sdk.comment where uri = %s returning subject_uri", (str(uri),)
            ).fetchone()
            if gone:
                execute("update sdk.track_stat set comments = comments - 1 where uri = %s", gone)


async def consume(task: dict[str, Any]) -> None:
    """Reads the relay of the task to its end, and says what that took."""
    # The client offers no way to trust a certificate; OpenSSL itself does.
    os.environ["SSL_CERT_FILE"] = task["certificate"]
    client = FirehoseSubscribeReposClient(base_uri=f"wss://127.0.0.1:{task['port']}/xrpc")
    with psycopg.connect(task["dsn"], autocommit=True, prepare_threshold=0) as connection:
        consumer = Consumer(connection, client, last_seq=task["last_seq"], lean=task["lean"])
        client.start(consumer.on_message, consumer.on_error)
    if consumer.error is not None:
        raise consumer.error
    sample = Sample(consumer.events, consumer.wall_s, consumer.cpu_s, machine.own_peak_bytes())
    children.say(children.sample_json(sample))


if __name__ == "__main__":
    children.main(consume)
