"""The connection: kept, dropped, shared with nobody."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import warnings

import pytest
from conftest import FakeAgent, answer, full_queue, value

from airlock_airflow import AirlockBackend, AirlockError


@pytest.fixture
def backend(agent: FakeAgent) -> AirlockBackend:
    agent.replies(value("v"))
    return AirlockBackend(agent_socket=agent.path)


def test_one_connection_serves_many_lookups_and_backends(agent: FakeAgent, backend: AirlockBackend) -> None:
    for _ in range(5):
        assert backend.get_variable("x") == "v"
        assert AirlockBackend(agent_socket=agent.path).get_conn_value("y") == "v"
    assert (agent.connections, len(agent.requests)) == (1, 10)


def test_agent_that_closes_after_each_answer(agent: FakeAgent, backend: AirlockBackend) -> None:
    agent.replies(value("v"), keep=False)
    assert [backend.get_variable("x") for _ in range(5)] == ["v"] * 5


def test_agent_that_says_that_it_closes(agent: FakeAgent, backend: AirlockBackend) -> None:
    agent.replies(answer(200, {"value": "v"}, "Connection: close"))
    assert [backend.get_variable("x") for _ in range(3)] == ["v"] * 3
    assert (agent.connections, len(agent.requests)) == (3, 3)


def test_agent_that_was_replaced(agent: FakeAgent, backend: AirlockBackend) -> None:
    assert backend.get_variable("x") == "v"
    agent.hang_up()
    assert backend.get_variable("x") == "v"
    assert agent.connections == 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-", value("v")[:-3]])
def test_truncated_answer_is_asked_for_once_more(agent: FakeAgent, backend: AirlockBackend, sent: bytes) -> None:
    answers = [sent, value("whole")]

    def behave(connection: socket.socket, _: str) -> bool:
        connection.sendall(answers.pop(0))
        return not answers

    agent.behave = behave
    assert backend.get_variable("x") == "whole"
    agent.replies(sent, keep=False)
    asked = len(agent.requests)
    with pytest.raises(AirlockError, match="hangs up without an answer") as caught:
        backend.get_config("x")
    assert caught.value.kind == "unavailable"
    assert len(agent.requests) <= asked + 2


def test_answer_in_small_pieces(agent: FakeAgent, backend: AirlockBackend) -> None:
    def behave(connection: socket.socket, _: str) -> bool:
        for byte in value("v" * 100):
            connection.sendall(bytes([byte]))
        return True

    agent.behave = behave
    assert backend.get_variable("x") == "v" * 100
    assert backend.get_variable("x") == "v" * 100
    assert agent.connections == 1


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", value("v")[:-1]])
def test_silent_agent(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    """The limit is for the whole lookup, so a trickle does not stretch it."""
    done = threading.Event()

    def behave(connection: socket.socket, _: str) -> bool:
        connection.sendall(first)
        done.wait(30)
        connection.sendall(value("late"))
        return True

    agent.behave = behave
    monkeypatch.setenv("AIRLOCK_TIMEOUT", "0.1s")
    backend = AirlockBackend(agent_socket=agent.path)
    with pytest.raises(AirlockError, match="did not answer in time.*AIRLOCK_TIMEOUT") as caught:
        backend.get_config("slow")
    assert caught.value.kind == "unavailable"
    done.set()
    agent.replies(value("right"))
    assert backend.get_config("other") == "right"


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt and for Airflow's time-out, which a signal handler raises."""


def test_interrupted_lookup_does_not_answer_the_next(agent: FakeAgent, backend: AirlockBackend) -> None:
    interrupted = threading.Event()

    def behave(connection: socket.socket, _: str) -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        interrupted.wait(10)
        connection.sendall(value("the answer to the first question"))
        return True

    def interrupt(*_: object) -> None:
        raise Interrupted

    assert backend.get_variable("warm") == "v"
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        agent.behave = behave
        with pytest.raises(Interrupted):
            backend.get_variable("first")
    finally:
        signal.signal(signal.SIGUSR1, before)
    agent.replies(value("the answer to the second question"))
    interrupted.set()
    assert backend.get_variable("second") == "the answer to the second question"


def test_lookup_inside_a_lookup(agent: FakeAgent, backend: AirlockBackend) -> None:
    inner: list[str | None] = []

    def behave(connection: socket.socket, target: str) -> bool:
        if target.endswith("outer"):
            os.kill(os.getpid(), signal.SIGUSR1)
            looked.wait(10)
        connection.sendall(value(target.rpartition("/")[2]))
        return True

    def handler(*_: object) -> None:
        inner.append(backend.get_variable("inner"))
        looked.set()

    looked = threading.Event()
    assert backend.get_variable("warm") == "v"
    agent.behave = behave
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert backend.get_variable("outer") == "outer"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert inner == ["inner"]


def test_child_does_not_use_its_parents_connection(agent: FakeAgent, backend: AirlockBackend) -> None:
    assert backend.get_variable("parent") == "v"
    child = os.fork()
    if child == 0:
        os._exit(0 if [backend.get_variable("child") for _ in range(2)] == ["v", "v"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert agent.connections == 2
    assert backend.get_variable("parent") == "v"
    assert agent.connections == 2  # the child's end did not take the parent's with it


def test_threads_share_no_connection(agent: FakeAgent, backend: AirlockBackend) -> None:
    """Each of eight threads is answered only when all eight have asked, and each gets its own answer."""
    together = threading.Barrier(8)

    def behave(connection: socket.socket, target: str) -> bool:
        together.wait(10)
        connection.sendall(value(target.rpartition("/")[2]))
        return True

    agent.behave = behave
    got: dict[int, list[str | None]] = {}

    def ask(number: int) -> None:
        got[number] = [backend.get_variable(f"{number}-{turn}") for turn in range(3)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert got == {number: [f"{number}-{turn}" for turn in range(3)] for number in range(8)}
    assert agent.connections == 8


def test_ended_threads_leave_no_open_socket(agent: FakeAgent, backend: AirlockBackend) -> None:
    open_before = len(os.listdir("/dev/fd"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            thread = threading.Thread(target=backend.get_variable, args=("x",))
            thread.start()
            thread.join(10)
        gc.collect()
    agent.hang_up()
    # The fake agent's ends live in this process too and close when its threads see the hang-up: wait for that.
    for other in threading.enumerate():
        if other is not threading.current_thread() and other is not agent._thread:
            other.join(10)
    assert len(os.listdir("/dev/fd")) <= open_before


def test_full_queue_is_waited_for(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket whose queue is full refuses a connection at once; a crowd of tasks must not fail for that."""
    path = str(folder / "busy.sock")
    listener, crowd = full_queue(path)
    from airlock_airflow import wire

    waited = threading.Event()
    pause = wire.time.sleep
    monkeypatch.setattr(wire.time, "sleep", lambda seconds: (waited.set(), pause(seconds)))

    def serve() -> None:
        assert waited.wait(10)
        while True:
            connection, _ = listener.accept()
            request = connection.recv(4096)
            if request:
                connection.sendall(value("v"))
                connection.close()
                return
            connection.close()

    for one in crowd:
        one.close()
    server = threading.Thread(target=serve)
    server.start()
    assert AirlockBackend(agent_socket=path).get_variable("x") == "v"
    server.join(10)
    listener.close()


def test_socket_of_another_user(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(folder / "closed.sock")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("airlock_airflow.wire.socket.socket.connect", refuse, raising=False)
    with pytest.raises(AirlockError, match=f"may not open the agent's socket {path}") as caught:
        AirlockBackend(agent_socket=path).get_config("x")
    assert caught.value.kind == "forbidden"
