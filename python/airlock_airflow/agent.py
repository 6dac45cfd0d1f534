"""Asking an agent."""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, Mapping, TypeVar
from urllib.parse import quote

from airlock_airflow import place
from airlock_airflow.errors import AirlockError, UnusableId
from airlock_airflow.wire import Absent, Address, Connection, Lost, Tcp, Unread, not_an_agent

DEFAULT_TIMEOUT = 30.0  # seconds

Got = TypeVar("Got")

# Starts an agent and returns what its first argument returns, by its second, a time of time.monotonic.
Start = Callable[[Callable[[], Connection], float], Connection]

_MAX_ID = 1024  # bytes; what is longer no agent answers, and much longer it does not even read

_ON_SOCKET = "Host: airlock\r\n"

# How often one lookup may be left without an answer. An agent that is started on demand may die with each try, but a
# request that its agent cannot stand must not be asked for ever.
_MOST_LOST = 2
_MOST_LOST_ON_DEMAND = 5

_UNREAD_PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds, until a dying agent is gone and another can be started

# An agent that somebody else runs may be about to come back: its socket was removed and is made again within a second, or
# its service manager restarts it. Who waited for it in vain does so again only after a while, and not at each lookup.
_RETURN_TIME = 2.0  # seconds
_RETURN_EVERY = 0.02
_WAIT_AGAIN = 60.0
_waited: dict[Address, float] = {}

# How long after its file was changed a token may be one that the agent has not read yet, in seconds.
_TOKEN_SETTLES = 2.0
_TOKEN_PAUSE = 0.05


class _Kept(threading.local):
    """The connections of one thread of one process, by their agent's address."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.connections: dict[Address, Connection] = {}


_kept = _Kept()


class Agent:
    """One agent, by its address. It keeps no connection itself: those belong to a process and a thread."""

    def __init__(self, address: Address, timeout: float, start: Start | None = None, token_file: str = "") -> None:
        """``timeout`` in seconds bounds a whole lookup. Without ``start`` the agent is somebody else's to run.

        ``token_file`` holds what an agent on loopback wants to be shown. It is read for each lookup, so that another
        token counts at once.
        """
        self.address = address
        self._timeout = timeout
        self._start = start
        self._token_file = token_file
        self._head = f"Host: {str(address)[len('http://'):]}\r\n" if isinstance(address, Tcp) else _ON_SOCKET

    def get(self, collection: str, name: str, team: str | None) -> str | None:
        """The value of a connection, variable or config key; None when no vault has it.

        Raises UnusableId for a name that no vault can hold, AirlockError when there is no answer to be had.
        """
        for text in (name, team or ""):
            if len(text) > _MAX_ID // 4 and len(text.encode("utf-8", "replace")) > _MAX_ID:
                raise UnusableId("usage", f"longer than {_MAX_ID} bytes")
        deadline = time.monotonic() + self._timeout
        if not self._token_file:
            status, body = self._ask(_request(collection, name, team, self._head), deadline)
            return self._understood(status, body)
        while True:
            token, changed = self._token(deadline)
            status, body = self._ask(_request(collection, name, team, f"{self._head}Authorization: Bearer {token}\r\n"), deadline)
            if status != 403 or not abs(time.time() - changed) < _TOKEN_SETTLES:
                return self._understood(status, body)
            time.sleep(_TOKEN_PAUSE)

    def _token(self, deadline: float) -> tuple[str, float]:
        from airlock_airflow import tokenfile

        path = self._token_file
        return self._returned(lambda: tokenfile.read(path), deadline, tokenfile.missing(path))

    def _ask(self, request: bytes, deadline: float) -> tuple[int, bytes]:
        unanswered, unread = 0, iter(_UNREAD_PAUSES)
        most = _MOST_LOST if self._start is None else _MOST_LOST_ON_DEMAND
        while unanswered < most:  # a kept connection may have died with its agent: then once more, with a new one
            connection = _take(self.address) or self._connect(deadline)
            try:
                return connection.exchange(request, deadline)
            except Unread:
                pause = next(unread, None)
                if pause is None:
                    break
                time.sleep(pause)
            except Lost:
                unanswered += 1
            finally:
                if connection.reusable:
                    _keep(self.address, connection)
                else:
                    connection.close()
        raise AirlockError(
            "unavailable",
            f"the agent at {self.address} hangs up without an answer",
            ["see what it says with: airlock status"],
        )

    def _connect(self, deadline: float) -> Connection:
        def connect() -> Connection:
            return Connection(self.address, deadline)

        if self._start is None:
            hint = "its configuration has the address: listen.tcp"
            if isinstance(self.address, str):
                hint = f"start it with: airlock agent --socket {self.address}"
            return self._returned(connect, deadline, AirlockError("unavailable", f"no agent listens at {self.address}", [hint]))
        if isinstance(self.address, str):
            place.make_private(os.path.dirname(self.address))
        try:
            return connect()
        except Absent:
            return self._start(connect, deadline)

    def _returned(self, get: Callable[[], Got], deadline: float, otherwise: AirlockError) -> Got:
        """What get returns, as soon as it no longer raises Absent; raises otherwise when that takes too long."""
        now = time.monotonic()
        until = now
        if now - _waited.get(self.address, now - _WAIT_AGAIN) >= _WAIT_AGAIN:
            until = min(now + _RETURN_TIME, deadline)
        while True:
            try:
                got = get()
            except Absent:
                if time.monotonic() < until:
                    time.sleep(_RETURN_EVERY)
                    continue
                if until > now:
                    _waited[self.address] = time.monotonic()
                raise otherwise from None
            if _waited:
                _waited.pop(self.address, None)
            return got

    def _understood(self, status: int, body: bytes) -> str | None:
        import json

        try:
            answer = json.loads(body)
        except ValueError:
            answer = None  # its exception holds the body: it ends here
        if not isinstance(answer, dict):
            raise not_an_agent(self.address, "it does not answer in JSON")
        if status == 200:
            value = answer.get("value")
            if isinstance(value, str):
                return value
            raise not_an_agent(self.address, "its answer has no value")
        error = answer.get("error")
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            raise not_an_agent(self.address, f"its answer with status {status} has no reason")
        kind, message, hints = error.get("kind"), error["message"], error.get("hints")
        hints = [hint for hint in hints if isinstance(hint, str)] if isinstance(hints, list) else []
        if kind == "not_found":
            return None
        if kind == "usage":
            raise UnusableId(kind, message, hints)
        raise AirlockError(kind if isinstance(kind, str) else "internal", message, hints)


def timeout(environ: Mapping[str, str]) -> float:
    """AIRLOCK_TIMEOUT in seconds ("30" or "30s"), else 30. Raises AirlockError for anything else."""
    text = environ.get("AIRLOCK_TIMEOUT", "")
    if not text:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(text[:-1] if text.endswith("s") else text)
    except ValueError:
        seconds = 0.0
    if 0 < seconds <= 3600:  # also refuses nan
        return seconds
    raise AirlockError(
        "usage", f"AIRLOCK_TIMEOUT is {text!r}", ["give seconds, more than 0 and at most 3600, such as 30"]
    )


def _request(collection: str, name: str, team: str | None, head: str = _ON_SOCKET) -> bytes:
    target = f"/v1/{collection}/{_encoded(name)}"
    if team:
        target += "?team=" + _encoded(team)
    # Which task asks, for the agent's audit: Airflow puts it into the environment while a task runs.
    context = "".join(
        f"{header}: {_encoded(os.environ[name])}\r\n"
        for header, name in (("Airlock-Dag", "AIRFLOW_CTX_DAG_ID"), ("Airlock-Task", "AIRFLOW_CTX_TASK_ID"))
        if name in os.environ
    )
    return f"GET {target} HTTP/1.1\r\n{head}{context}\r\n".encode("ascii")


def _encoded(text: str) -> str:
    if not text.strip("."):
        return text.replace(".", "%2E")  # "." and ".." would be steps in a path
    return quote(text, safe="", errors="replace")


def _take(address: Address) -> Connection | None:
    """This thread's kept connection, out of its place.

    It comes back only after a whole answer, so that neither what follows an exception (an interrupt and Airflow's own
    time-out strike anywhere) nor a lookup inside a lookup (in a signal handler, say) ever finds one with an answer
    still under way. A child process must not share its parent's.
    """
    if _kept.pid != os.getpid():
        _kept.pid, _kept.connections = os.getpid(), {}
    return _kept.connections.pop(address, None)


def _keep(address: Address, connection: Connection) -> None:
    _kept.connections[address] = connection
