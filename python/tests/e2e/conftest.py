"""A local cloud in a folder of its own, and real Airflow and real agents in front of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE = 60  # seconds, for what another process does

TENANT = "11111111-1111-1111-1111-111111111111"
APP = "22222222-2222-2222-2222-222222222222"
IDENTITY = "33333333-3333-3333-3333-333333333333"

VAULT = {
    "connections_prefix": "airflow-connections",
    "variables_prefix": "airflow-variables",
    "vault_url": "https://contoso-e2e.vault.azure.net/",
}
LOGINS = {
    "client-secret": {"tenant_id": TENANT, "client_id": APP, "client_secret": "e2e~secret"},
    "managed-identity": {"managed_identity_client_id": IDENTITY, "workload_identity_tenant_id": TENANT},
}

SECRETS = {
    "hello": "world",
    "with_underscores": "one\ntwo  <&> ü \N{ROCKET}",
    "empty": "",
    "json": '{"a": [1, 2.5, null]}',
    "long": "x" * 25_000,
}
CONNECTIONS = {
    "by_uri": "postgres://et%40l:p%2Fa+ss@Db.Example:5432/dwh?sslmode=require",
    "by_json": {"conn_type": "http", "host": "h", "password": 'q"%{}\\', "port": 8080, "extra": {"k": {"n": 1}}},
}


def program() -> str:
    """The airlock program that `make test` built."""
    path = os.environ.get("AIRLOCK_TEST_BINARY", "")
    assert os.access(path, os.X_OK), "AIRLOCK_TEST_BINARY names the airlock program; `make test-python` sets it"
    return path


def await_dev(dev: subprocess.Popen, folder: Path) -> None:
    """Waits until a dev that was started in a folder is ready."""
    state = folder / ".airlock" / "dev.json"
    deadline = time.monotonic() + PATIENCE
    while not state.exists():
        assert dev.poll() is None and time.monotonic() < deadline, "airlock dev does not start"
        time.sleep(0.01)


@dataclass
class Cloud:
    """A running `airlock dev`."""

    folder: Path
    runtime: Path
    environ: dict[str, str] = field(default_factory=dict)

    def airlock(self, *arguments: str, **kwargs) -> str:
        """What the command prints."""
        done = subprocess.run(
            [program(), *arguments], cwd=self.folder, env=self.environ, text=True, capture_output=True, timeout=PATIENCE, **kwargs
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def agents(self) -> list[dict]:
        """The agents that the backend started: all but dev's own."""
        done = subprocess.run(
            [program(), "status", "--json"], env=self.environ, text=True, capture_output=True, timeout=PATIENCE
        )
        found = json.loads(done.stdout) if done.returncode == 0 else []
        return [agent for agent in found if not Path(agent["socket"]).name.startswith("dev-")]


@pytest.fixture
def start_cloud(tmp_path: Path):
    """Starts a cloud that the kwargs are provisioned in, as a project's .env would have them."""
    runtime = Path(tempfile.mkdtemp(prefix="airlock"))  # short, for the sockets
    clouds: list[tuple[Cloud, subprocess.Popen]] = []

    def start(kwargs: dict) -> Cloud:
        folder = tmp_path / f"project{len(clouds)}"
        folder.mkdir()
        (folder / ".env").write_text(f"AIRFLOW__SECRETS__BACKEND_KWARGS={json.dumps(kwargs)}\n")
        (folder / "variables.json").write_text(json.dumps(SECRETS))
        (folder / "connections.json").write_text(json.dumps(CONNECTIONS))
        cloud = Cloud(folder, runtime)
        clean = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        clean["PATH"] = "/usr/bin:/bin"  # no airlock but the wheel's
        cloud.environ = {**clean, "AIRLOCK_RUNTIME_DIR": str(runtime)}
        seeds = ["--seed", "variables.json", "--seed", "connections.json"]
        dev = subprocess.Popen(
            [program(), "dev", "--ephemeral", "--hermetic", *seeds],
            cwd=folder,
            env=cloud.environ,
            stdout=subprocess.DEVNULL,
        )
        clouds.append((cloud, dev))
        await_dev(dev, folder)
        given = json.loads(cloud.airlock("dev", "env", "--format", "json"))
        del given["AIRLOCK_AGENT_SOCKET"]  # the backend finds, or starts, an agent of its own
        cloud.environ.update(given)
        return cloud

    yield start

    for cloud, dev in clouds:
        for agent in cloud.agents():
            os.kill(agent["pid"], signal.SIGTERM)
        dev.send_signal(signal.SIGINT)
        assert dev.wait(PATIENCE) == 0
    shutil.rmtree(runtime)


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AIRFLOW_HOME with a migrated database, kept from run to run by Airflow's version."""
    version = importlib.metadata.version("apache-airflow")
    kept = Path(os.environ["AIRFLOW_HOME"]).parent / f"airflow-{version}-e2e"
    if not (kept / "migrated").exists():
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        subprocess.run(
            [str(Path(sys.executable).parent / "airflow"), "db", "migrate"],
            env={**os.environ, "AIRFLOW_HOME": str(kept)},
            check=True,
            capture_output=True,
            timeout=600,
        )
        (kept / "migrated").touch()
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(kept, home, dirs_exist_ok=True)
    return home
