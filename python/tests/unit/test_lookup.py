"""What Airflow asks, what goes over the socket, and what Airflow gets."""

from __future__ import annotations

import asyncio
import inspect
import json

import pytest
from airflow.secrets import BaseSecretsBackend
from conftest import FakeAgent, error, value

from airlock_airflow import AirlockBackend, AirlockError


@pytest.fixture
def backend(agent: FakeAgent) -> AirlockBackend:
    return AirlockBackend(agent_socket=agent.path)


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (lambda b: b.get_variable("hello"), "/v1/variables/hello"),
        (lambda b: b.get_variable(key="hello", team_name="team_a"), "/v1/variables/hello?team=team_a"),
        (lambda b: b.get_variable("a/b c?d#e%f:&é"), "/v1/variables/a%2Fb%20c%3Fd%23e%25f%3A%26%C3%A9"),
        (lambda b: b.get_variable("x", "t&a=b/ö"), "/v1/variables/x?team=t%26a%3Db%2F%C3%B6"),
        (lambda b: b.get_variable(".."), "/v1/variables/%2E%2E"),
        (lambda b: b.get_variable("a..b"), "/v1/variables/a..b"),
        (lambda b: b.get_variable("line\r\nHost: evil"), "/v1/variables/line%0D%0AHost%3A%20evil"),
        (lambda b: b.get_variable("half \udce9"), "/v1/variables/half%20%3F"),
        (lambda b: b.get_variable("x", team_name=""), "/v1/variables/x"),
        (lambda b: b.get_conn_value("my_db"), "/v1/connections/my_db"),
        (lambda b: b.get_conn_value(conn_id="my_db", team_name="t"), "/v1/connections/my_db?team=t"),
        (lambda b: b.get_config("sql_alchemy_conn"), "/v1/config/sql_alchemy_conn"),
    ],
)
def test_request(agent: FakeAgent, backend: AirlockBackend, ask, target: str) -> None:
    agent.values[target] = "postgresql://u:p@h/d"
    assert ask(backend) == "postgresql://u:p@h/d"
    assert agent.requests == [target]


@pytest.mark.parametrize("text", ["", " ", "plain", "line\nline", "é\U0001f511", '{"a": "\\"b\\""}', "x" * 25_000])
def test_value_arrives_unchanged(agent: FakeAgent, backend: AirlockBackend, text: str) -> None:
    agent.values["/v1/variables/hello"] = text
    assert backend.get_variable("hello") == text


def test_missing_is_none(agent: FakeAgent, backend: AirlockBackend, caplog: pytest.LogCaptureFixture) -> None:
    assert backend.get_variable("nobody") is None
    assert backend.get_conn_value("nobody") is None
    assert backend.get_connection("nobody") is None
    assert backend.get_config("nobody") is None
    assert [r for r in caplog.records if r.levelname != "DEBUG"] == []


@pytest.mark.parametrize(
    "stored", ["postgresql://u:p%40w@h:5432/db", '{"conn_type": "postgres", "host": "h", "password": "p@w"}']
)
def test_connection(agent: FakeAgent, backend: AirlockBackend, stored: str) -> None:
    agent.values["/v1/connections/db"] = stored
    for found in (backend.get_connection("db"), asyncio.run(backend.aget_connection("db"))):
        assert (found.conn_id, found.conn_type, found.host, found.password) == ("db", "postgres", "h", "p@w")


def test_async_lookups_do_not_block_the_loop(agent: FakeAgent, backend: AirlockBackend) -> None:
    """The agent answers the first only after the second has come: one at a time they would both time out."""
    import threading

    both = threading.Barrier(2)

    def behave(connection, target: str) -> bool:
        both.wait(10)
        connection.sendall(value(target[-1]))
        return True

    agent.behave = behave

    async def ask() -> list:
        return await asyncio.gather(backend.aget_variable("a"), backend.aget_variable("b", team_name=None))

    assert asyncio.run(ask()) == ["a", "b"]


@pytest.mark.parametrize(
    ("prefix", "ask"),
    [
        ("connections_prefix", lambda b: b.get_conn_value("x", team_name="t")),
        ("connections_prefix", lambda b: b.get_connection("x")),
        ("variables_prefix", lambda b: b.get_variable("x", team_name="t")),
        ("config_prefix", lambda b: b.get_config("x")),
    ],
)
def test_prefix_none_asks_nobody(agent: FakeAgent, prefix: str, ask) -> None:
    assert ask(AirlockBackend(agent_socket=agent.path, **{prefix: None})) is None
    assert agent.connections == 0
    agent.replies(value("v"))
    others = {"connections_prefix", "variables_prefix", "config_prefix"} - {prefix}
    assert AirlockBackend(agent_socket=agent.path, **{name: None for name in others}) is not None
    ask_all = AirlockBackend(agent_socket=agent.path, **{prefix: ""})
    agent.replies(value("http://h"))
    assert ask(ask_all) is not None


def test_id_that_no_vault_can_hold(agent: FakeAgent, backend: AirlockBackend, caplog: pytest.LogCaptureFixture) -> None:
    agent.replies(error(400, "usage", "a name has letters, digits and dashes only"))
    for _ in range(3):
        assert backend.get_variable("a.b") is None
        assert backend.get_variable("c.d") is None
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "'a.b'" in warnings[0] and "letters, digits and dashes" in warnings[0] and "'c.d'" in warnings[1]


def test_signature_is_the_official_one() -> None:
    from airflow.providers.microsoft.azure.secrets.key_vault import AzureKeyVaultBackend

    official = list(inspect.signature(AzureKeyVaultBackend.__init__).parameters.values())[:-1]
    ours = list(inspect.signature(AirlockBackend.__init__).parameters.values())
    assert len(official) > 10
    assert [(p.name, p.kind) for p in ours[: len(official)]] == [(p.name, p.kind) for p in official]
    for method in ("get_conn_value", "get_variable", "get_config", "get_connection"):
        assert list(inspect.signature(getattr(AirlockBackend, method)).parameters) == list(
            inspect.signature(getattr(BaseSecretsBackend, method)).parameters
        )


def test_constructor_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        for function in ("os.mkdir", "os.open", "os.lstat", "socket.socket", "subprocess.Popen"):
            patched.setattr(function, lambda *_, **__: pytest.fail("the constructor reached out"))
        AirlockBackend(vault_url="nonsense", agent_socket="/nowhere", agent_binary="/nowhere", no_such_kwarg=1)


def test_unknown_on_error_is_refused() -> None:
    with pytest.raises(ValueError, match="'Stop'; it can be one of: fall_through, stop"):
        AirlockBackend(on_error="Stop")


def test_socket_from_the_environment(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.values["/v1/variables/hello"] = "world"
    monkeypatch.setenv("AIRLOCK_AGENT_SOCKET", agent.path)
    assert AirlockBackend().get_variable("hello") == "world"
    monkeypatch.setenv("AIRLOCK_AGENT_SOCKET", "/nowhere")
    assert AirlockBackend(agent_socket=agent.path).get_variable("hello") == "world"


def test_error_survives_pickling() -> None:
    import pickle

    again = pickle.loads(pickle.dumps(AirlockError("forbidden", "refused", ["ask"])))
    assert (again.kind, again.message, again.hints, str(again)) == (
        "forbidden",
        "refused",
        ("ask",),
        "refused (hint: ask)",
    )


def test_request_is_what_json_needs_not(agent: FakeAgent, backend: AirlockBackend) -> None:
    """Fields that a later agent may add do not disturb."""
    from conftest import answer

    agent.replies(answer(200, json.dumps({"value": "v", "source": "stale", "age": 3, "new": [1]}).encode()))
    assert backend.get_variable("x") == "v"


@pytest.mark.parametrize("name", ["a" * 1025, "é" * 513, "/" * 10_000, "\N{ROCKET}" * 2_500])
def test_id_that_is_far_too_long(agent: FakeAgent, backend: AirlockBackend, name: str) -> None:
    """No vault can hold it, and no agent reads so much: that is no failure."""
    assert backend.get_variable(name) is None
    assert backend.get_variable("x", team_name=name) is None
    assert AirlockBackend(agent_socket=agent.path, on_error="stop").get_conn_value(name) is None
    assert agent.requests == []


def test_longest_id(agent: FakeAgent, backend: AirlockBackend) -> None:
    agent.values["/v1/variables/" + "a" * 1024] = "v"
    assert backend.get_variable("a" * 1024) == "v"
