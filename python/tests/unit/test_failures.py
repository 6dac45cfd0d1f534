"""What Airflow gets when there is no answer, and what is told to whom."""

from __future__ import annotations

import traceback

import pytest
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
from conftest import CANARY, FakeAgent, answer, error, value

from airlock_airflow import AirlockBackend, AirlockError
from airlock_airflow import agent as agent_module
from airlock_airflow import backend as backend_module

FAILURES = {
    "forbidden": error(403, "forbidden", "the vault refused", "give the identity the role Key Vault Secrets User"),
    "unavailable": error(503, "unavailable", "the vault is down", "try later"),
    "internal": error(500, "internal", "the agent failed"),
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= 30]


@pytest.mark.parametrize("kind", FAILURES)
def test_fall_through(agent: FakeAgent, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    agent.replies(FAILURES[kind])
    for name in ("one", "two_three", "one"):
        backend = AirlockBackend(agent_socket=agent.path)  # as Airflow does: a new one for each lookup
        assert backend.get_variable(name) is None
        assert backend.get_conn_value(name) is None
        assert backend.get_connection(name) is None
    [told] = warnings(caplog)
    assert told.startswith("airlock: variable 'one' was not read, Airflow asks its next source: the ")
    assert "\n" not in told
    if kind == "forbidden":
        assert told.endswith("(hint: give the identity the role Key Vault Secrets User)")


def test_each_cause_is_told_once_and_again_after_an_hour(
    agent: FakeAgent, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = AirlockBackend(agent_socket=agent.path)

    def refuse(connection, target: str) -> bool:
        kind, name = target.split("/")[2:]
        secret = "prefix-" + name.replace("_", "-")
        connection.sendall(error(403, "forbidden", f'{kind[:-1]} "{name}": secret {secret} is refused'))
        return True

    agent.behave = refuse
    for name in ("a_1", "b_2", "c_3"):
        backend.get_variable(name)
        backend.get_conn_value(name)
    [told] = warnings(caplog)  # the same cause, although each message names its own secret
    assert told == "airlock: variable 'a_1' was not read, Airflow asks its next source: secret prefix-a-1 is refused"
    agent.replies(FAILURES["unavailable"])
    backend.get_variable("a_1")
    assert len(warnings(caplog)) == 2
    clock = backend_module.time.monotonic() + 3601
    monkeypatch.setattr(backend_module.time, "monotonic", lambda: clock)
    agent.behave = refuse
    backend._agent._timeout = 1e9
    backend.get_variable("d_4")
    assert len(warnings(caplog)) == 3


@pytest.mark.parametrize("kind", FAILURES)
def test_stop(agent: FakeAgent, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    agent.replies(FAILURES[kind])
    backend = AirlockBackend(agent_socket=agent.path, on_error="stop")
    for ask in (backend.get_variable, backend.get_conn_value, backend.get_connection):
        with pytest.raises(AirflowSecretsBackendAccessDenied, match="the (vault|agent)") as caught:
            ask("x")
        assert isinstance(caught.value.__cause__, AirlockError) and caught.value.__cause__.kind == kind
    assert warnings(caplog) == []


def test_stop_still_passes_over_what_is_missing(agent: FakeAgent) -> None:
    backend = AirlockBackend(agent_socket=agent.path, on_error="stop")
    assert backend.get_variable("nobody") is None
    agent.replies(error(400, "usage", "no such name"))
    assert backend.get_variable("a.b") is None


def test_stop_on_an_airflow_without_its_exception(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow.sdk.exceptions

    monkeypatch.delattr(airflow.sdk.exceptions, "AirflowSecretsBackendAccessDenied")
    agent.replies(FAILURES["forbidden"])
    with pytest.raises(AirlockError, match="the vault refused"):
        AirlockBackend(agent_socket=agent.path, on_error="stop").get_variable("x")


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("on_error", ["fall_through", "stop"])
def test_config_is_never_skipped(agent: FakeAgent, kind: str, on_error: str) -> None:
    agent.replies(FAILURES[kind])
    with pytest.raises(AirlockError) as caught:
        AirlockBackend(agent_socket=agent.path, on_error=on_error).get_config("sql_alchemy_conn")
    assert caught.value.kind == kind


def test_no_agent_at_a_given_socket(folder, caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(agent_module, "_RETURN_TIME", 0.05)
    path = str(folder / "nobody.sock")
    backend = AirlockBackend(agent_socket=path, agent_binary="/never/started")
    assert backend.get_variable("x") is None
    [told] = warnings(caplog)
    assert f"no agent listens at {path}" in told and f"airlock agent --socket {path}" in told


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "inf", "5000", "10m"])
def test_bad_timeout(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRLOCK_TIMEOUT", text)
    with pytest.raises(AirlockError, match=f"AIRLOCK_TIMEOUT is '{text}'"):
        AirlockBackend(agent_socket=agent.path).get_config("x")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"vault_url": "%s}', "line 1 column 15"),
        ('\'{"a": "%s"}\'', "line 1 column 1"),
        ('["%s"]', "not a JSON object"),
    ],
)
@pytest.mark.parametrize("name", ["AIRFLOW__SECRETS__BACKEND_KWARGS", "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS"])
def test_kwargs_that_airflow_dropped(monkeypatch: pytest.MonkeyPatch, name: str, text: str, place: str) -> None:
    monkeypatch.setenv(name, text.replace("%s", CANARY))
    with pytest.raises(AirlockError) as caught:
        AirlockBackend().get_config("x")
    assert name in str(caught.value) and place in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(None, caught.value, caught.tb))


GARBAGE = {
    "not HTTP": ("does not speak HTTP", f"{CANARY}\r\n\r\n".encode()),
    "no number": ("does not speak HTTP", f"HTTP/1.1 abc {CANARY}\r\nContent-Length: 1\r\n\r\n1".encode()),
    "no JSON": ("does not answer in JSON", answer(200, CANARY.encode())),
    "half JSON": ("does not answer in JSON", answer(200, f'{{"value": "{CANARY}'.encode())),
    "not UTF-8": ("does not answer in JSON", answer(200, b'{"value": "\xff%s"}' % CANARY.encode())),
    "no object": ("does not answer in JSON", answer(200, [CANARY])),
    "no value": ("has no value", answer(200, {"other": CANARY})),
    "value is a number": ("has no value", answer(200, {"value": 7, "other": CANARY})),
    "value is an object": ("has no value", answer(200, {"value": {"x": CANARY}})),
    "error without reason": ("status 404 has no reason", answer(404, {"detail": CANARY})),
    "error is text": ("status 403 has no reason", answer(403, {"error": CANARY})),
    "somebody else's 404": ("does not answer in JSON", answer(404, f"<html>{CANARY}</html>".encode())),
    "chunked": (
        "announce the length",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{CANARY}\r\n0\r\n\r\n".encode(),
    ),
    "no length": ("announce the length", f"HTTP/1.1 200 OK\r\n\r\n{CANARY}".encode()),
    "two lengths": ("Content-Length is not a number", answer(200, {"value": CANARY}, "Content-Length: 1")),
    "negative length": (
        "Content-Length is not a number",
        f"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{CANARY}".encode(),
    ),
    "length of many digits": (
        "Content-Length is not a number",
        f"HTTP/1.1 200 OK\r\nContent-Length: {'9' * 5000}\r\n\r\n{CANARY}".encode(),
    ),
    "huge": ("larger than 1048576", f"HTTP/1.1 200 OK\r\nContent-Length: {(1 << 20) + 1}\r\n\r\n{CANARY}".encode()),
    "more than announced": ("more than it announced", value(CANARY) + CANARY.encode()),
    "endless header": ("header is too long", f"HTTP/1.1 200 OK\r\nX: {CANARY * 4000}".encode()),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_an_error_and_never_shown(agent: FakeAgent, caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level("DEBUG")
    reason, sent = GARBAGE[name]
    agent.replies(sent)
    with pytest.raises(AirlockError, match=f"is not an Airlock agent of this version: .*{reason}") as caught:
        AirlockBackend(agent_socket=agent.path).get_config("x")
    assert caught.value.kind == "internal"
    assert AirlockBackend(agent_socket=agent.path).get_variable("x") is None
    shown = "".join(traceback.format_exception(None, caught.value, caught.tb)) + caplog.text
    assert "is not an Airlock agent" in caplog.text
    assert CANARY not in shown
    # Nothing that was left over is taken for the next answer.
    agent.replies(value("right"))
    assert AirlockBackend(agent_socket=agent.path).get_variable("x") == "right"


def test_values_are_never_logged(agent: FakeAgent, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    agent.values = {f"/v1/{kind}/x": f"http://u:{CANARY}@h" for kind in ("variables", "connections", "config")}
    backend = AirlockBackend(agent_socket=agent.path, client_secret=CANARY)
    for ask in (backend.get_variable, backend.get_conn_value, backend.get_config):
        assert CANARY in ask("x")
    assert backend.get_connection("x").password == CANARY
    assert CANARY not in caplog.text
    assert CANARY not in repr(backend)
