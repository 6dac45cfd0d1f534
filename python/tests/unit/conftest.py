"""An agent for the tests: a real socket that answers as it is told, also badly."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Callable, Iterator

import pytest

from airlock_airflow import agent as agent_module
from airlock_airflow import backend as backend_module
from airlock_airflow import start as start_module

CANARY = "canary-7f3a-do-not-print"


def answer(status: int, body: object, *headers: str) -> bytes:
    """An HTTP answer as the agent writes it; body is bytes, or an object that becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def value(text: str) -> bytes:
    return answer(200, {"value": text, "source": "cache", "age": 1.5})


def error(status: int, kind: str, message: str, *hints: str) -> bytes:
    return answer(status, {"error": {"kind": kind, "message": message, "hints": list(hints)}})


def full_queue(path: str) -> tuple[socket.socket, list[socket.socket]]:
    """A listener at path that accepts nobody, and the crowd that fills its queue."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(0)
    crowd = []
    while True:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.setblocking(False)
        crowd.append(one)
        try:
            one.connect(path)
        except BlockingIOError:
            return listener, crowd


class FakeAgent:
    """Listens at path, or without one on loopback. ``behave`` gets the connection and the request's target, and tells whether to go on with it."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.heads: list[bytes] = []
        self.values: dict[str, str] = {}
        self.requests: list[str] = []
        self.connections = 0
        self.behave: Callable[[socket.socket, str], bool] = self.serve
        self._open: list[socket.socket] = []
        self._family = socket.AF_UNIX if path else socket.AF_INET
        self._listener = socket.socket(self._family, socket.SOCK_STREAM)
        self._listener.bind(path or ("127.0.0.1", 0))
        self._listener.listen(64)
        self.host = "airlock" if path else "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def serve(self, connection: socket.socket, target: str) -> bool:
        known = self.values.get(target)
        connection.sendall(value(known) if known is not None else error(404, "not_found", "no vault has it"))
        return True

    def replies(self, *answers: bytes, keep: bool = True) -> None:
        """Gives the answers in turn, the last one for ever."""
        remaining = list(answers)

        def behave(connection: socket.socket, _: str) -> bool:
            connection.sendall(remaining.pop(0) if len(remaining) > 1 else remaining[0])
            return keep

        self.behave = behave

    def hang_up(self) -> None:
        """Closes every open connection, as an agent that stops does, and goes on listening."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other end closed it already

    def close(self) -> None:
        self.hang_up()
        # A listener that is closed does not wake its accept on every system; one last connection does.
        self._closing = True
        with socket.socket(self._family, socket.SOCK_STREAM) as last:
            try:
                last.connect(self._listener.getsockname())
            except OSError:
                pass
        self._thread.join(10)
        self._listener.close()
        if self.path:
            os.unlink(self.path)

    _closing = False

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    try:
                        chunk = connection.recv(4096)
                    except OSError:
                        return
                    if not chunk:
                        return
                    received += chunk
                head, _, received = received.partition(b"\r\n\r\n")
                expected = f" HTTP/1.1\r\nHost: {self.host}".encode()
                assert expected in head if self.host != "airlock" else head.endswith(expected), head
                self.heads.append(head)
                target = head.split(b" ")[1].decode("ascii")
                self.requests.append(target)
                try:
                    if not self.behave(connection, target):
                        return
                except OSError:
                    return  # the other end did not wait for the whole answer


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder with a path short enough for sockets."""
    made = tempfile.mkdtemp(prefix="airlock-test-", dir="/tmp")
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """A process as it is at its start: nothing told, nothing kept, no setting, an empty runtime folder."""
    for name in list(os.environ):
        if name.startswith(("AIRLOCK_", "AZURE_", "IDENTITY_", "MSI_", "AIRFLOW__")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AIRLOCK_RUNTIME_DIR", str(folder / "run"))
    backend_module._told.clear()
    start_module._failures.clear()
    agent_module._kept.connections.clear()
    agent_module._waited.clear()
    yield
    agent_module._kept.connections.clear()


@pytest.fixture
def agent(folder: Path) -> Iterator[FakeAgent]:
    running = FakeAgent(str(folder / "agent.sock"))
    yield running
    running.close()
