"""A read driver on libpq's pipeline mode: few connections, many questions on the way in each.

Contract: `fetch` answers with the rows of a statement that is prepared once on each connection, when it is
asked for the first time, or raises one of

    ReadFailed
    ├── Unavailable   no connection, or each broke under this question
    ├── TimedOut      Postgres gave up (statement_timeout), or did not answer at all
    └── BadValue      a parameter that the statement's types refuse

A connection answers in the order in which it was asked, so a queue of futures is all the book-keeping:
a caller that is cancelled leaves its place in the queue, and its answer is thrown away. A broken
connection fails what waits on it, is opened again with back-off, and `fetch` asks elsewhere; that is
safe because a reader can't write. One that may (`writes`) is for statements that do no harm the second time.

Example: two callers on one connection. Asked A, B; A's caller is cancelled; answered A (dropped), B.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

import psycopg
import structlog
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

log = structlog.get_logger()

Cell = bytes | None
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.05, 5.0

# Planning would cost more than running; JIT more than both. Text output of times must not depend on
# what the server's or the role's settings say.
_SESSION = """
set plan_cache_mode = force_generic_plan;
set jit = off;
set timezone = 'UTC';
set datestyle = 'ISO';
set client_encoding = 'UTF8';
"""


class ReadFailed(Exception):
    """A question to the database has no answer."""


class Unavailable(ReadFailed):
    """The database cannot be reached."""


class TimedOut(ReadFailed):
    """The database took too long."""


class BadValue(ReadFailed):
    """The database refuses a value."""


class Rows:
    """The answer's cells as Postgres writes them in text form. They are read out when asked for."""

    __slots__ = ("cell", "count")

    def __init__(self, result: PGresult) -> None:
        # By row and column. The bound method of libpq's result: a wrapper would cost as much again.
        self.cell: Callable[[int, int], Cell] = result.get_value
        self.count = result.ntuples


Question = tuple[str, Sequence[Cell]]  # a statement's name, and its parameters


class Reads(Protocol):
    """What the read modules ask; `Reader` is the one of production."""

    extensions: frozenset[str]

    async def fetch(self, name: str, *params: Cell) -> Rows: ...

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        """The answers to several at once, for little more than one costs; where one fails, all do."""
        ...


class _Waiting(NamedTuple):
    """`answer` is None where a statement is being prepared."""

    answer: asyncio.Future[list[Rows]] | None
    asked_at: float


class _Connection:
    """One connection that keeps itself open. `pg`: it, while it is; `queue`: who waits for an answer."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self.pg: PGconn | None = None
        self.queue: deque[_Waiting] = deque()
        self._results: list[PGresult] = []
        self._statements: Mapping[str, str] = {}
        self._prepared: set[str] = set()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._silent = False
        self.error = "not connected yet"

    async def keep_open(self) -> None:
        backoff_s = MIN_BACKOFF_S
        logged = ""
        while True:
            opened_at = self._loop.time()
            try:
                await self._serve()
            except (psycopg.Error, OSError, TimeoutError) as error:
                self.error = str(error).strip() or type(error).__name__
            finally:
                self._close()
            if self._loop.time() - opened_at > 60:
                backoff_s, logged = MIN_BACKOFF_S, ""
            if self.error != logged:
                log.warning("read connection lost", reason=self.error)
                logged = self.error
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def _serve(self) -> None:
        reader = self._reader
        conn = await psycopg.AsyncConnection.connect(
            reader.dsn, autocommit=True, connect_timeout=5, application_name="plyr-read"
        )
        try:
            async with asyncio.timeout(10):
                self._statements = await reader.begin(conn)
            self._prepared.clear()
            await self._pump(conn.pgconn)
        finally:
            await conn.close()

    async def _pump(self, pg: PGconn) -> None:
        """Ask and answer until the connection is lost. Psycopg's own methods are out of bounds here."""
        reader = self._reader
        self._lost = self._loop.create_future()
        pg.nonblocking = 1
        pg.enter_pipeline_mode()
        descriptor = pg.socket
        self._loop.add_reader(descriptor, self._readable)
        self.pg = pg
        reader.opened.set()
        try:
            while not (await asyncio.wait([self._lost], timeout=1))[0]:
                patience_s = reader.timeout_s + 1
                if self.queue and self._loop.time() - self.queue[0].asked_at > patience_s:
                    self._silent = True
                    self._break("the database does not answer")
            self.error = self._lost.result()
        finally:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)

    def _close(self) -> None:
        # Asking elsewhere what was not answered in time would only keep the caller waiting longer.
        failure = TimedOut if self._silent else Unavailable
        self.pg, self._results, self._silent = None, [], False
        while self.queue:
            answer = self.queue.popleft().answer
            if answer is not None and not answer.done():
                answer.set_exception(failure(self.error))

    def ask(self, questions: Sequence[Question]) -> asyncio.Future[list[Rows]]:
        pg = self.pg
        if pg is None:
            raise Unavailable(self.error)
        answer: asyncio.Future[list[Rows]] = self._loop.create_future()
        try:
            for name, _ in questions:
                if name not in self._prepared:
                    self._prepare(pg, name)
            for name, params in questions:
                pg.send_query_prepared(name.encode(), params)
            pg.pipeline_sync()
            self.queue.append(_Waiting(answer, self._loop.time()))
            if pg.flush():
                self._loop.add_writer(pg.socket, self._writable)
        except psycopg.OperationalError as error:
            self._break(str(error))
            raise Unavailable(str(error)) from None
        return answer

    def _prepare(self, pg: PGconn, name: str) -> None:
        """Ahead of the question, and on its own: whatever becomes of the question, it stays prepared."""
        if name not in self._statements:  # it needs what the database did not have when this one was opened
            self._break(f"no statement {name}")
            raise Unavailable(f"no statement {name}")
        pg.send_prepare(name.encode(), self._statements[name].encode())
        pg.pipeline_sync()
        self.queue.append(_Waiting(None, self._loop.time()))
        self._prepared.add(name)

    def _break(self, reason: str) -> None:
        self.pg = None
        if not self._lost.done():
            self._lost.set_result(reason.strip())

    def _writable(self) -> None:
        pg = self.pg
        try:
            if pg is not None and not pg.flush():
                self._loop.remove_writer(pg.socket)
        except psycopg.OperationalError as error:
            self._break(str(error))

    def _readable(self) -> None:
        pg = self.pg
        if pg is None:
            return
        try:
            pg.consume_input()
            while self.queue and not pg.is_busy():
                result = pg.get_result()
                if result is None:
                    continue  # the end of one statement's results; its sync is still to come
                if result.status == ExecStatus.PIPELINE_SYNC:
                    answer = self.queue.popleft().answer
                    if answer is not None:
                        self._answer(answer)
                    elif not self._is_prepared():
                        return
                else:
                    self._results.append(result)
        except psycopg.OperationalError as error:
            self._break(str(error))

    def _is_prepared(self) -> bool:
        """If not, nobody who waits here gets an answer."""
        [result], self._results = self._results, []
        if result.status == ExecStatus.COMMAND_OK:
            return True
        failure = self._failure(result)
        self._silent = isinstance(failure, TimedOut)
        self._break(str(failure))
        return False

    def _answer(self, answer: asyncio.Future[list[Rows]]) -> None:
        results, self._results = self._results, []
        if answer.done():  # its caller was cancelled
            return
        for result in results:
            if result.status != ExecStatus.TUPLES_OK:  # those behind it were not run
                answer.set_exception(self._failure(result))
                return
        answer.set_result([Rows(result) for result in results])

    def _failure(self, result: PGresult) -> ReadFailed:
        state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
        text = result.get_error_message()
        if state == "57014":
            return TimedOut(text)
        if state[:2] == "22":
            return BadValue(text)
        if state[:2] in ("57", "0A", "26"):
            # The server goes down, or a migration changed what a prepared statement returns: start afresh.
            self._break(text)
            return Unavailable(text)
        return ReadFailed(text)


class Reader:
    """Use as `async with Reader(dsn, statements) as reads`. It opens at once, and what is asked before
    a connection is there waits for up to `connect_wait_s`."""

    def __init__(
        self,
        dsn: str,
        statements: Mapping[str, str],
        *,
        optional: Mapping[str, Mapping[str, str]] | None = None,
        connections: int = 4,
        timeout_s: float = 5.0,
        connect_wait_s: float = 2.0,
        writes: bool = False,
    ) -> None:
        self.dsn = dsn
        self.timeout_s = timeout_s
        self.opened = asyncio.Event()
        self.extensions: frozenset[str] = frozenset()
        self._statements = statements
        self._optional = optional or {}
        self._count = connections
        self._mode = f"set default_transaction_read_only = {'off' if writes else 'on'};\n"
        self._connect_wait_s = connect_wait_s
        self._connections: list[_Connection] = []
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Reader:
        await self._tasks.__aenter__()
        self._connections = [_Connection(self) for _ in range(self._count)]
        self._running = [self._tasks.create_task(each.keep_open()) for each in self._connections]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        # An error of the caller's is the caller's; wrapping it in a group would hide its type.
        if kind is asyncio.CancelledError:
            await self._tasks.__aexit__(kind, error, trace)
        else:
            await self._tasks.__aexit__(None, None, None)

    async def begin(self, conn: psycopg.AsyncConnection[tuple[object, ...]]) -> Mapping[str, str]:
        """Set up a new connection; the statements that may be asked there."""
        timeout = f"set statement_timeout = {int(self.timeout_s * 1000)};"
        await conn.execute((self._mode + _SESSION + timeout).encode())
        found = await conn.execute("select extname from pg_extension")
        names = {str(row[0]) for row in await found.fetchall()}
        # libpq reads as much at once as its largest message needed: by default a page in five pieces.
        await conn.execute("select repeat(' ', 128 * 1024)")
        self.extensions = frozenset(names & self._optional.keys())
        wanted = dict(self._statements)
        for extension in self.extensions:
            wanted |= self._optional[extension]
        return wanted

    async def fetch(self, name: str, *params: Cell) -> Rows:
        """The rows that a prepared statement gives for these parameters, in text form."""
        return (await self.fetch_all((name, params)))[0]

    async def fetch_all(self, *questions: Question) -> list[Rows]:
        """The same of several, which are sent together and to one connection."""
        # All of them may be dead without our knowing yet; one more is one that was opened since.
        for _ in self._connections:
            connection = self._best() or await self._opened()
            try:
                return await connection.ask(questions)
            except Unavailable:
                continue
        connection = self._best() or await self._opened()
        return await connection.ask(questions)

    def _best(self) -> _Connection | None:
        """The open connection with the shortest queue."""
        best: _Connection | None = None
        least = sys.maxsize
        for each in self._connections:
            if each.pg is not None and len(each.queue) < least:
                best, least = each, len(each.queue)
        return best

    async def _opened(self) -> _Connection:
        """The first one to open. Raises Unavailable."""
        while True:
            self.opened.clear()
            try:
                async with asyncio.timeout(self._connect_wait_s):
                    await self.opened.wait()
            except TimeoutError:
                raise Unavailable(self._connections[0].error) from None
            best = self._best()
            if best is not None:
                return best
