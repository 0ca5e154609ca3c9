"""Job `links.check`: what another index of the network's links says of likes, beside what we count.

It is asked as Constellation is (`/links/count/distinct-dids`), one question at a time. Both numbers are kept
for a person to look at (`plyr sync status`), and nothing of ours changes by what a stranger says. An answer
that is none is not kept. That both differ proves nothing: likes of accounts that are out of sight count there
alone.
"""

from __future__ import annotations

from urllib.parse import urlencode

from appview.jobs.tasks import Done, Run, TryLater, Work
from firehose.fetch_errors import BadStatus, FetchFailed
from firehose.net import GuardedClient
from lexicons.syntax import Nsid
from storage import link_checks
from storage.postgres import Pool

AT_ONCE = 200
TIMEOUT_S = 10.0
_PATH = ".subject.uri"
_MAX_BYTES = 4096
_LONGEST_WAIT_S = 3600.0
_MOST = 2**31 - 1
_NOT_THIS_ONE = frozenset({400, 404, 410, 422})


def check_links(
    pool: Pool,
    http: GuardedClient,
    url: str | None,
    like: Nsid,
    *,
    at_once: int = AT_ONCE,
    timeout_s: float = TIMEOUT_S,
) -> Run:
    """Asks the index at `url` about `at_once` tracks that somebody likes, each time for `timeout_s` at most;
    None: nobody is asked."""

    async def run(work: Work) -> Done:
        counts = {"tracks": 0, "differ": 0, "refused": 0}
        if url is None:
            return Done("No index of links is named.", counts)
        async with pool.connection() as conn:
            await link_checks.tidy(conn)
            liked = await link_checks.next_ones(conn, limit=at_once)
        for track in liked:
            theirs = await _asked(http, url, track.uri, like, timeout_s)
            if theirs is None:
                counts["refused"] += 1
                continue
            async with pool.connection() as conn:
                ours = await link_checks.note(conn, track.id, theirs)
            counts["tracks"] += 1
            counts["differ"] += ours != theirs
        if counts["refused"] and not counts["tracks"]:
            raise TryLater(f"{url} tells of none of {counts['refused']} tracks")
        return Done("Compared likes.", counts)

    return run


async def _asked(http: GuardedClient, url: str, target: str, like: Nsid, timeout_s: float) -> int | None:
    """Accounts that like it; None where they will not tell of this one. Raises TryLater."""
    query = urlencode({"target": target, "collection": like, "path": _PATH})
    where = f"{url}/links/count/distinct-dids?{query}"
    try:
        told = await http.get_json(where, max_bytes=_MAX_BYTES, timeout_s=timeout_s)
    except BadStatus as error:
        if error.status in _NOT_THIS_ONE:
            return None
        wait_s = error.retry_after_s
        raise TryLater(str(error), wait_s and min(wait_s, _LONGEST_WAIT_S)) from error
    except FetchFailed as error:
        raise TryLater(str(error)) from error
    total = told.get("total") if isinstance(told, dict) else None
    # A bool is an int.
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total <= _MOST:
        raise TryLater(f"{where}: no number of accounts")
    return total
