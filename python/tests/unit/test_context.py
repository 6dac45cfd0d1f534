"""What a lookup tells the agent's audit of the task that asks."""

from __future__ import annotations

import pytest

from airlock_airflow import agent


def test_the_task_is_named_in_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "my dag\r\nX: y")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "täsk")
    lines = agent._request("variables", "hello", None).split(b"\r\n")
    assert lines[2:] == [b"Airlock-Dag: my%20dag%0D%0AX%3A%20y", b"Airlock-Task: t%C3%A4sk", b"", b""]


def test_outside_a_task_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CTX_DAG_ID", raising=False)
    monkeypatch.delenv("AIRFLOW_CTX_TASK_ID", raising=False)
    assert agent._request("variables", "hello", None) == b"GET /v1/variables/hello HTTP/1.1\r\nHost: airlock\r\n\r\n"
