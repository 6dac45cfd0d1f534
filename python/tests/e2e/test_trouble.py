"""Agents that are killed, whose sockets go and whose tokens change, while real processes look up; and what Airflow makes
of a refusal. Each test says how many lookups failed: none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import LOGINS, PATIENCE, VAULT, Cloud

KWARGS = {**VAULT, **LOGINS["client-secret"]}

# `crowd(n, ask)` runs ask in n forked processes at the same moment, and returns what each printed as JSON. A process that
# was forked has Airflow loaded and costs nothing. `until_over` asks
# until a file says that it is over, and counts the answers.
HEAD = """
import json, os, sys, time
from airlock_airflow import AirlockBackend
from airlock_airflow import agent
kwargs = json.loads(sys.argv[1])

def crowd(n, ask):
    gate_out, gate_in = os.pipe()
    pipes = []
    for _ in range(n):
        mine, theirs = os.pipe()
        if os.fork() == 0:
            os.close(gate_in)
            os.read(gate_out, 1)
            os.write(theirs, json.dumps(ask(AirlockBackend(**kwargs))).encode())
            os._exit(0)
        os.close(theirs)
        pipes.append(mine)
    os.close(gate_in)
    answers = []
    for pipe in pipes:
        with os.fdopen(pipe) as file:
            answers.append(json.loads(file.read() or '"died"'))
    return answers

def until_over(ask):
    counts = {}
    while True:
        over = os.path.exists("over")
        got = str(ask())
        counts[got] = counts.get(got, 0) + 1
        if over:
            return counts
"""


def python(cloud: Cloud, code: str, kwargs: dict = KWARGS, **environ: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(code), json.dumps(kwargs)],
        cwd=cloud.folder,
        env={**cloud.environ, **environ},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def says(process: subprocess.Popen) -> object:
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    *warned, last = out.splitlines()  # Airflow logs to standard output
    assert not warned, "\n".join(warned)
    return json.loads(last)


def wait(what: str, until) -> object:
    deadline = time.monotonic() + PATIENCE
    while not (got := until()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
    return got


def more_lookups(cloud: Cloud) -> None:
    """Waits until the processes have asked their agent, and more."""
    (agent,) = cloud.agents()
    wait("lookups", lambda: [a for a in cloud.agents() if a["lookups"] > agent["lookups"] + 20])


def test_a_hundred_processes_at_once(start_cloud) -> None:
    cloud = start_cloud(KWARGS)
    got = says(python(cloud, "print(json.dumps(crowd(100, lambda backend: backend.get_variable('hello'))))"))
    assert got == ["world"] * 100
    (agent,) = cloud.agents()
    assert agent["lookups"] == 100
    assert agent["vault_requests"] == 1


def test_killed_in_mid_request(start_cloud) -> None:
    """Twenty lookups wait for a slow vault when their agent is killed: each is asked once more, of the next agent."""
    cloud = start_cloud(KWARGS)
    cloud.airlock("dev", "faults", "add", "service=keyvault", "latency=60s")
    process = python(cloud, "print(json.dumps(crowd(20, lambda backend: backend.get_variable('hello'))))")
    (agent,) = wait("lookups under way", lambda: [a for a in cloud.agents() if a["lookups"] == 20])
    cloud.airlock("dev", "faults", "clear")
    os.kill(agent["pid"], signal.SIGKILL)
    assert says(process) == ["world"] * 20
    (after,) = cloud.agents()
    assert after["pid"] != agent["pid"] and after["lookups"] == 20


def test_killed_again_and_again(start_cloud) -> None:
    """An agent dies at any moment, in the middle of an answer of 25 kB, too."""
    cloud = start_cloud(KWARGS)
    process = python(
        cloud, "print(json.dumps(crowd(4, lambda backend: until_over(lambda: len(backend.get_variable('long') or '')))))"
    )
    killed = set()
    for _ in range(5):
        (agent,) = wait("another agent", lambda: [a for a in cloud.agents() if a["lookups"] > 20 and a["pid"] not in killed])
        killed.add(agent["pid"])
        os.kill(agent["pid"], signal.SIGKILL)
    wait("the last agent", lambda: [a for a in cloud.agents() if a["pid"] not in killed])
    (cloud.folder / "over").touch()
    counts = says(process)
    assert {got for count in counts for got in count} == {"25000"}
    assert sum(n for count in counts for n in count.values()) > 100


@pytest.fixture
def own_agent(start_cloud):
    """A cloud, and an agent in front of it that somebody runs: by socket, and on loopback."""
    cloud = start_cloud(KWARGS)
    (cloud.folder / "agent.yaml").write_text(
        textwrap.dedent(
            f"""
            vaults:
            - {{url: "{KWARGS['vault_url']}", tenant_id: "{KWARGS['tenant_id']}", client_id: "{KWARGS['client_id']}", client_secret_env: E2E_SECRET}}
            policy: [{{uids: [self]}}, {{tcp: true}}]
            listen: {{socket: {cloud.runtime}/own.sock, tcp: "127.0.0.1:0", token_file: token}}
            """
        )
    )
    cloud.environ["E2E_SECRET"] = KWARGS["client_secret"]
    cloud.airlock("agent", "--detach", "--config", "agent.yaml")
    log = (cloud.runtime / "own.sock.log").read_text()
    (address,) = [line.partition(" address=")[2].split()[0] for line in log.splitlines() if "answers by TCP" in line]
    by_socket = {"agent_socket": str(cloud.runtime / "own.sock")}
    by_tcp = {"agent_url": f"http://{address}", "agent_token_file": str(cloud.folder / "token")}
    return cloud, by_socket, by_tcp


def test_socket_removed(own_agent) -> None:
    """The agent makes it again within a second; whoever comes meanwhile waits so long."""
    cloud, by_socket, _ = own_agent
    code = """
        def ask(backend):
            agent._kept.connections.clear()  # as a new process has none
            return backend.get_variable('hello')
        print(json.dumps(crowd(4, lambda backend: until_over(lambda: ask(backend)))))
        """
    process = python(cloud, code, by_socket)
    path = Path(by_socket["agent_socket"])
    more_lookups(cloud)
    for _ in range(2):
        before = path.stat().st_ino, path.stat().st_ctime_ns
        path.unlink()
        wait("the socket", lambda: path.exists() and (path.stat().st_ino, path.stat().st_ctime_ns) != before)
        more_lookups(cloud)
    (cloud.folder / "over").touch()
    assert {got for count in says(process) for got in count} == {"world"}


def test_token_rotated(own_agent) -> None:
    """Lookups by TCP go on while the token is replaced, and made anew."""
    cloud, _, by_tcp = own_agent
    process = python(
        cloud, "print(json.dumps(crowd(4, lambda backend: until_over(lambda: backend.get_variable('hello')))))", by_tcp
    )
    token, log = cloud.folder / "token", cloud.runtime / "own.sock.log"
    assert token.stat().st_mode & 0o777 == 0o600
    more_lookups(cloud)
    for n in range(3):
        if n == 1:
            token.unlink()
        else:
            other = cloud.folder / "other"
            other.touch(0o600)
            other.write_text(f"rotation-{n}-0123456789-0123456789-0123456789")
            other.rename(token)
        wait("the rotation", lambda: log.read_text().count("have to show the new token") == n + 1)
        more_lookups(cloud)
    (cloud.folder / "over").touch()
    counts = says(process)
    assert {got for count in counts for got in count} == {"world"}
    assert sum(n for count in counts for n in count.values()) > 100
    assert "rotation-" not in log.read_text()


@pytest.mark.parametrize("on_error", ["fall_through", "stop"])
def test_refusal_in_airflows_own_search(start_cloud, airflow_home: Path, on_error: str) -> None:
    """Both of Airflow's searches, its core's and the Task SDK's: what they do with the class's two ways of failing."""
    cloud = start_cloud(KWARGS)
    code = """
        import airflow.models.connection, airflow.models.variable
        from airflow.sdk.execution_time import context
        from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied

        def outcome(search):
            try:
                got = search()
            except AirflowSecretsBackendAccessDenied as err:
                return "denied: " + str(err)
            return getattr(got, "host", got)

        print(json.dumps([outcome(search) for search in (
            lambda: airflow.models.variable.Variable.get_variable_from_secrets("hello"),
            lambda: airflow.models.connection.Connection.get_connection_from_secrets("by_uri"),
            lambda: context._get_variable("hello", False),
            lambda: context._get_connection("by_uri"),
        )]))
        """
    got = says(
        python(
            cloud,
            code,
            AIRFLOW_HOME=str(airflow_home),
            AIRFLOW__LOGGING__LOGGING_LEVEL="CRITICAL",  # its standard output is for the answer
            AIRFLOW__SECRETS__BACKEND="airlock_airflow.AirlockBackend",
            AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps({**KWARGS, "client_secret": "canary-wrong", "on_error": on_error}),
            AIRFLOW_VAR_HELLO="of the environment",
            AIRFLOW_CONN_BY_URI="http://environment.example",
        )
    )
    assert "canary" not in json.dumps(got)
    if on_error == "fall_through":
        assert got == ["of the environment", "environment.example"] * 2
    else:
        assert len(got) == 4 and all(each.startswith("denied: ") and "client secret" in each for each in got), got
