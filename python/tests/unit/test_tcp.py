"""An agent on loopback, its token, and agents that come back."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest
from conftest import CANARY, FakeAgent, error, full_queue, value

from airlock_airflow import AirlockBackend, AirlockError
from airlock_airflow import agent as agent_module
from airlock_airflow import wire

TOKEN = f"{CANARY}-0123456789-0123456789"


@pytest.fixture
def tcp_agent() -> Iterator[FakeAgent]:
    running = FakeAgent()
    running.replies(value("v"))
    yield running
    running.close()


@pytest.fixture
def token_file(folder: Path) -> Path:
    made = folder / "token"
    made.write_text(TOKEN + "\n")
    made.chmod(0o600)
    os.utime(made, (0, 0))
    return made


def backend_of(agent: FakeAgent, token_file: Path) -> AirlockBackend:
    return AirlockBackend(agent_url=f"http://{agent.host}", agent_token_file=str(token_file), agent_binary="/never/started")


def test_lookup_shows_the_token(tcp_agent: FakeAgent, token_file: Path) -> None:
    backend = backend_of(tcp_agent, token_file)
    assert [backend.get_variable("x") for _ in range(3)] == ["v"] * 3
    assert tcp_agent.connections == 1
    for head in tcp_agent.heads:
        assert head.count(b"\r\nAuthorization: Bearer " + TOKEN.encode()) == 1


def test_named_by_the_environment(tcp_agent: FakeAgent, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLOCK_AGENT_URL", f"http://localhost:{tcp_agent.host.split(':')[1]}/")
    monkeypatch.setenv("AIRLOCK_AGENT_TOKEN_FILE", str(token_file))
    tcp_agent.host = tcp_agent.host.replace("127.0.0.1", "localhost")
    assert AirlockBackend().get_variable("x") == "v"


def test_kwargs_stand_above_the_environment(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.replies(value("by socket"))
    monkeypatch.setenv("AIRLOCK_AGENT_URL", "http://127.0.0.1:1")
    assert AirlockBackend(agent_socket=agent.path).get_variable("x") == "by socket"
    monkeypatch.setenv("AIRLOCK_AGENT_SOCKET", agent.path)
    with pytest.raises(AirlockError, match="named twice"):
        AirlockBackend().get_config("x")


def test_socket_gets_no_token(agent: FakeAgent, token_file: Path) -> None:
    agent.replies(value("v"))
    assert AirlockBackend(agent_socket=agent.path, agent_token_file=str(token_file)).get_variable("x") == "v"
    assert b"Authorization" not in agent.heads[0]


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:0", "http://127.0.0.1:65536", f"http://u:{CANARY}@h:1", "x"]
    + ["http://h:1/path", "http://h:1?q", "http://h:1\r\nX: y", "http://h:1 "],
)
def test_bad_url(url: str, token_file: Path) -> None:
    with pytest.raises(AirlockError, match="agent_url is not the URL of an agent") as caught:
        AirlockBackend(agent_url=url, agent_token_file=str(token_file)).get_config("x")
    assert caught.value.kind == "usage" and CANARY not in str(caught.value)


def test_url_without_token_file() -> None:
    with pytest.raises(AirlockError, match="wants agent_token_file"):
        AirlockBackend(agent_url="http://127.0.0.1:1").get_config("x")


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "[::]", "[2001:db8::1]"])
def test_nothing_leaves_the_machine(token_file: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("somebody elsewhere is called")

    monkeypatch.setattr("airlock_airflow.wire.socket.socket.connect", connect, raising=False)
    with pytest.raises(AirlockError, match="is not on this machine's loopback") as caught:
        AirlockBackend(agent_url=f"http://{host}:8130", agent_token_file=str(token_file)).get_config("x")
    assert caught.value.kind == "usage"


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (TOKEN, 0o604, "can be read by other users .mode 0604"),
        ("", 0o600, "holds no token"),
        ("\n", 0o600, "holds no token"),
        (f"{TOKEN} {TOKEN}", 0o600, "holds no token"),
        (f"{TOKEN}\r\nX-Evil: 1", 0o600, "holds no token"),
        (f"{TOKEN}ü", 0o600, "holds no token"),
    ],
)
def test_bad_token_file(tcp_agent: FakeAgent, token_file: Path, content: str, mode: int, message: str) -> None:
    token_file.write_text(content)
    token_file.chmod(mode)
    with pytest.raises(AirlockError, match=message) as caught:
        backend_of(tcp_agent, token_file).get_config("x")
    assert CANARY not in str(caught.value)
    assert tcp_agent.requests == []


def test_token_that_was_just_changed_may_be_ahead_of_the_agent(tcp_agent: FakeAgent, token_file: Path) -> None:
    """The agent needs a moment to read it; no lookup fails for that."""
    refused = error(403, "forbidden", "the request does not show the agent's token")
    token_file.write_text("another-" + TOKEN)
    tcp_agent.replies(refused, refused, value("v"))
    assert backend_of(tcp_agent, token_file).get_config("x") == "v"
    assert len(tcp_agent.requests) == 3


def test_wrong_token_is_told_at_once(tcp_agent: FakeAgent, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tcp_agent.replies(error(403, "forbidden", "the request does not show the agent's token"))
    changed = os.stat(token_file).st_ctime
    monkeypatch.setattr(agent_module.time, "time", lambda: changed + 60)
    with pytest.raises(AirlockError, match="does not show the agent's token"):
        backend_of(tcp_agent, token_file).get_config("x")
    assert len(tcp_agent.requests) == 1


# --- an agent that is away for a moment ------------------------------------------------------------------------------


def test_socket_that_comes_back_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(folder / "again.sock")
    waited, pause = threading.Event(), time.sleep
    monkeypatch.setattr(agent_module.time, "sleep", lambda seconds: (waited.set(), pause(seconds)))
    got: list[str | None] = []
    asking = threading.Thread(target=lambda: got.append(AirlockBackend(agent_socket=path).get_variable("x")))
    asking.start()
    assert waited.wait(10)
    running = FakeAgent(path)
    running.replies(value("v"))
    asking.join(10)
    running.close()
    assert got == ["v"]


def test_token_that_the_agent_makes_is_waited_for(tcp_agent: FakeAgent, token_file: Path, monkeypatch) -> None:
    token = token_file.read_bytes()
    token_file.unlink()
    pause = time.sleep

    def make(seconds: float) -> None:
        token_file.touch(0o600)
        token_file.write_bytes(token)
        pause(seconds)

    monkeypatch.setattr(agent_module.time, "sleep", make)
    assert backend_of(tcp_agent, token_file).get_variable("x") == "v"


@pytest.mark.parametrize("by", ["socket", "url", "token"])
def test_agent_that_stays_away_is_waited_for_once(folder: Path, token_file: Path, monkeypatch, by: str) -> None:
    """A DAG with a hundred variables must not wait a hundred times."""
    monkeypatch.setattr(agent_module, "_RETURN_TIME", 0.05)
    pauses: list[float] = []
    pause = time.sleep
    monkeypatch.setattr(agent_module.time, "sleep", lambda seconds: (pauses.append(seconds), pause(seconds)))
    if by == "token":
        token_file.unlink()
    kwargs = {"agent_url": "http://127.0.0.1:1", "agent_token_file": str(token_file)}
    if by == "socket":
        kwargs = {"agent_socket": str(folder / "nobody.sock")}
    for _ in range(5):
        with pytest.raises(AirlockError, match="is not there" if by == "token" else "no agent listens at") as caught:
            AirlockBackend(**kwargs).get_config("x")
        assert caught.value.kind == "unavailable"
    first = len(pauses)
    assert first > 0
    clock = agent_module.time.monotonic() + 61
    monkeypatch.setattr(agent_module.time, "monotonic", lambda: clock + 0.01 * len(pauses))
    with pytest.raises(AirlockError):
        AirlockBackend(**kwargs).get_config("x")
    assert len(pauses) > first


def test_full_queue_is_waited_for_no_longer_than_a_lookup_may_take(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(folder / "full.sock")
    listener, crowd = full_queue(path)
    with listener:
        monkeypatch.setenv("AIRLOCK_TIMEOUT", "0.1")
        began = time.monotonic()
        with pytest.raises(AirlockError, match="did not answer in time"):
            AirlockBackend(agent_socket=path).get_config("x")
        assert time.monotonic() - began < 10
        for one in crowd:
            one.close()


def test_addresses_as_text() -> None:
    assert [str(wire.Tcp(host, 8130)) for host in ("127.0.0.1", "::1")] == ["http://127.0.0.1:8130", "http://[::1]:8130"]
