"""Asking an agent."""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, Mapping
from urllib.parse import quote

from airlock_airflow import place
from airlock_airflow.errors import AirlockError, UnusableId
from airlock_airflow.wire import Absent, Connection, Lost, Unread, not_an_agent

DEFAULT_TIMEOUT = 30.0  # seconds

# Starts an agent and returns what its first argument returns, by its second, a time of time.monotonic.
Start = Callable[[Callable[[], Connection], float], Connection]

_UNREAD_PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2)  # seconds, until a dying agent is gone and another can be started


class _Kept(threading.local):
    """The connections of one thread of one process, by their socket's path."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.connections: dict[str, Connection] = {}


_kept = _Kept()


class Agent:
    """One agent, by its socket. It keeps no connection itself: those belong to a process and a thread."""

    def __init__(self, path: str, timeout: float, start: Start | None = None) -> None:
        """``timeout`` in seconds bounds a whole lookup. Without ``start`` the agent is somebody else's to run."""
        self.path = path
        self._timeout = timeout
        self._start = start

    def get(self, collection: str, name: str, team: str | None) -> str | None:
        """The value of a connection, variable or config key; None when no vault has it.

        Raises UnusableId for a name that no vault can hold, AirlockError when there is no answer to be had.
        """
        status, body = self._ask(_request(collection, name, team))
        return self._understood(status, body)

    def _ask(self, request: bytes) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        unanswered, unread = 0, iter(_UNREAD_PAUSES)
        while unanswered < 2:  # a kept connection may have died with its agent: once more, with a new one
            connection = _take(self.path) or self._connect(deadline)
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
                    _keep(self.path, connection)
                else:
                    connection.close()
        raise AirlockError(
            "unavailable",
            f"the agent at {self.path} hangs up without an answer",
            ["see what it says with: airlock status"],
        )

    def _connect(self, deadline: float) -> Connection:
        def connect() -> Connection:
            return Connection(self.path, deadline)

        if self._start is not None:
            place.make_private(os.path.dirname(self.path))
        try:
            return connect()
        except Absent:
            pass
        if self._start is not None:
            return self._start(connect, deadline)
        raise AirlockError(
            "unavailable",
            f"no agent listens at {self.path}",
            [f"start it with: airlock agent --socket {self.path}"],
        )

    def _understood(self, status: int, body: bytes) -> str | None:
        import json

        try:
            answer = json.loads(body)
        except ValueError:
            answer = None  # its exception holds the body: it ends here
        if not isinstance(answer, dict):
            raise not_an_agent(self.path, "it does not answer in JSON")
        if status == 200:
            value = answer.get("value")
            if isinstance(value, str):
                return value
            raise not_an_agent(self.path, "its answer has no value")
        error = answer.get("error")
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            raise not_an_agent(self.path, f"its answer with status {status} has no reason")
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


def _request(collection: str, name: str, team: str | None) -> bytes:
    target = f"/v1/{collection}/{_encoded(name)}"
    if team:
        target += "?team=" + _encoded(team)
    # Which task asks, for the agent's audit: Airflow puts it into the environment while a task runs.
    context = "".join(
        f"{header}: {_encoded(os.environ[name])}\r\n"
        for header, name in (("Airlock-Dag", "AIRFLOW_CTX_DAG_ID"), ("Airlock-Task", "AIRFLOW_CTX_TASK_ID"))
        if name in os.environ
    )
    return f"GET {target} HTTP/1.1\r\nHost: airlock\r\n{context}\r\n".encode("ascii")


def _encoded(text: str) -> str:
    if not text.strip("."):
        return text.replace(".", "%2E")  # "." and ".." would be steps in a path
    return quote(text, safe="", errors="replace")


def _take(path: str) -> Connection | None:
    """This thread's kept connection, out of its place.

    It comes back only after a whole answer, so that neither what follows an exception (an interrupt and Airflow's own
    time-out strike anywhere) nor a lookup inside a lookup (in a signal handler, say) ever finds one with an answer
    still under way. A child process must not share its parent's.
    """
    if _kept.pid != os.getpid():
        _kept.pid, _kept.connections = os.getpid(), {}
    return _kept.connections.pop(path, None)


def _keep(path: str, connection: Connection) -> None:
    _kept.connections[path] = connection
