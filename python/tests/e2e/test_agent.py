"""The backend class and the real agent, in processes that come, fork and go, and agents that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

from conftest import LOGINS, PATIENCE, SECRETS, VAULT, Cloud

KWARGS = {**VAULT, **LOGINS["client-secret"]}


def python(cloud: Cloud, code: str, kwargs: dict = KWARGS) -> subprocess.Popen:
    """A process that has `backend`, an AirlockBackend, and runs the code."""
    head = "import json, os, sys\nfrom airlock_airflow import AirlockBackend\nbackend = AirlockBackend(**json.loads(sys.argv[1]))\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code), json.dumps(kwargs)],
        env=cloud.environ,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def says(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out.strip()


def test_many_processes_start_one_agent(start_cloud) -> None:
    cloud = start_cloud(KWARGS)
    processes = [python(cloud, "print(backend.get_variable('hello'))") for _ in range(12)]
    assert [says(p) for p in processes] == ["world"] * 12
    (agent,) = cloud.agents()
    assert agent["lookups"] == 12
    assert agent["vault_requests"] == 1


def test_other_configuration_other_agent(start_cloud) -> None:
    cloud = start_cloud(KWARGS)
    read = "print(repr(backend.get_variable('hello')))"
    assert says(python(cloud, read)) == "'world'"
    assert says(python(cloud, read, {**KWARGS, "variables_prefix": "elsewhere"})) == "None"
    assert len(cloud.agents()) == 2


def test_death_of_the_agent_is_not_seen(start_cloud) -> None:
    cloud = start_cloud(KWARGS)
    process = python(
        cloud,
        """
        import signal
        first = backend.get_variable("hello")
        os.kill(int(input()), signal.SIGKILL)
        print(first, backend.get_variable("hello"), backend.get_variable("json"))
        """,
    )
    # The process asks first, and tells by waiting for a line that it has.
    deadline = time.monotonic() + PATIENCE
    while not (agents := [a for a in cloud.agents() if a["lookups"]]):
        assert time.monotonic() < deadline and process.poll() is None
    out, err = process.communicate(f"{agents[0]['pid']}\n", timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out.split() == ["world", "world", *SECRETS["json"].split()]
    (after,) = cloud.agents()
    assert after["pid"] != agents[0]["pid"]


def test_fork_after_a_lookup(start_cloud) -> None:
    cloud = start_cloud(KWARGS)
    out = says(
        python(
            cloud,
            """
            assert backend.get_variable("hello") == "world"
            children = []
            for _ in range(8):
                pid = os.fork()
                if pid == 0:
                    good = all(backend.get_variable("hello") == "world" and backend.get_variable("json")[0] == "{" for _ in range(50))
                    os._exit(0 if good else 1)
                children.append(pid)
            good = all(backend.get_variable("hello") == "world" for _ in range(50))
            print(good, {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children})
            """,
        )
    )
    assert out == "True {0}"


def test_reasons_reach_the_log(start_cloud) -> None:
    """One warning for a cause, however many lookups meet it, with what to do, and without what must not be said."""
    cloud = start_cloud(KWARGS)
    code = """
        for _ in range(3):
            assert backend.get_variable("hello") is None
            assert backend.get_conn_value("by_uri") is None
        """

    def warnings(kwargs: dict) -> str:
        out, err = (process := python(cloud, code, kwargs)).communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert "canary" not in out + err
        (line,) = [line for line in (out + err).splitlines() if "airlock: " in line]
        return line

    wrong = warnings({**KWARGS, "client_secret": "canary-wrong"})
    assert "client secret" in wrong and "az ad app credential reset" in wrong
    typo = warnings({**KWARGS, "conections_prefix": "canary"})
    assert 'unknown key "conections_prefix"' in typo and 'did you mean "connections_prefix"?' in typo


def test_no_orphans(start_cloud) -> None:
    """An agent that nobody asks any more ends by itself; one that is stopped leaves no socket."""
    cloud = start_cloud(KWARGS)
    assert says(python(cloud, "print(backend.get_variable('hello'))")) == "world"
    (agent,) = cloud.agents()
    os.kill(agent["pid"], signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while os.path.exists(agent["socket"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert cloud.agents() == []
