"""Real Airflow runs a DAG against the local cloud, with the official backend and with ours, and gets the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CONNECTIONS, LOGINS, SECRETS, VAULT, Cloud

BACKENDS = {
    "official": "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend",
    "airlock": "airlock_airflow.AirlockBackend",
}

EXPECTED = {
    "hello": "world",
    "with_underscores": SECRETS["with_underscores"],
    "empty": "",
    "json": {"a": [1, 2.5, None]},
    "long": "x" * 25_000,
    "default": "the default",
    "from_environment": "said by the environment",
    "uri": {
        "conn_type": "postgres",
        "host": "db.example",
        "login": "et@l",
        "password": "p/a+ss",
        "schema": "dwh",
        "port": 5432,
        "extra": {"sslmode": "require"},
    },
    "object": {
        "conn_type": "http",
        "host": "h",
        "login": None,
        "password": CONNECTIONS["by_json"]["password"],
        "schema": None,
        "port": 8080,
        "extra": {"k": {"n": 1}},
    },
    "by_class": "et@l",
    "connection_from_environment": {
        "conn_type": "mysql",
        "host": "env.example",
        "login": None,
        "password": None,
        "schema": "",
        "port": None,
        "extra": {},
    },
    "no_name_for_a_vault": "the default",
    "missing_connection": "AirflowNotFoundException",
}


def run_dag(cloud: Cloud, home: Path, backend: str) -> tuple[dict, str]:
    """The facts that the DAG found, and all that Airflow said."""
    facts = cloud.folder / f"{backend}.json"
    environ = {
        **cloud.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__SECRETS__BACKEND": BACKENDS[backend],
        "AIRFLOW_VAR_ONLY_IN_ENVIRONMENT": "said by the environment",
        "AIRFLOW_CONN_ONLY_IN_ENVIRONMENT": "mysql://env.example",
        "PROBE_FACTS": str(facts),
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow"), "dags", "test", "probe"],
        cwd=cloud.folder,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    assert done.returncode == 0 and facts.exists(), done.stdout
    return json.loads(facts.read_text(encoding="utf-8")), done.stdout


@pytest.mark.parametrize("login", LOGINS)
def test_same_answers(login: str, start_cloud, airflow_home: Path) -> None:
    kwargs = {**VAULT, **LOGINS[login]}
    cloud = start_cloud(kwargs)
    got = {}
    for backend in BACKENDS:
        got[backend], said = run_dag(cloud, airflow_home, backend)
        for secret in ("p/a+ss", CONNECTIONS["by_json"]["password"], kwargs.get("client_secret", "p/a+ss")):
            assert secret not in said, "a password is in what Airflow said"
    assert got["official"] == EXPECTED
    assert got["airlock"] == EXPECTED

    # Ours came through one agent, which the wheel's own program made, logged in as it was told to.
    (agent,) = cloud.agents()
    assert agent["vault_url"] == VAULT["vault_url"]
    assert {"client-secret": "client secret", "managed-identity": "managed identity"}[login] in agent["credential"]
    entries = {(e["kind"], e["id"]): e for e in agent["entries"]}
    assert entries["variable", "hello"]["vault_requests"] == 1
    assert entries["connection", "by_uri"]["lookups"] >= 2
    assert entries["connection", "by_uri"]["vault_requests"] == 1
    assert entries["variable", "only_in_environment"]["outcome"] == "not_found"

    # A second run asks the vault for nothing that it said before.
    run_dag(cloud, airflow_home, "airlock")
    (after,) = cloud.agents()
    assert after["pid"] == agent["pid"]
    assert after["lookups"] > agent["lookups"]
    assert after["vault_requests"] == agent["vault_requests"]
