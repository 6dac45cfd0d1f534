"""The whole page: from an empty project to a Deployment that reads its secrets, for each way to sign in and each backend."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import PATIENCE, await_dev, program

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[3]
AZ = ROOT / "packaging" / "testtools" / "az"  # the stand-in for the Azure CLI

VAULT_URL = "https://airlock-dev.vault.azure.net/"
SECRET = "canary~fresh"  # the stand-in makes it
PASSWORD = "canary~password"
CLASSES = {
    "airlock": "airlock_airflow.AirlockBackend",
    "azure": "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend",
}

# What `astro dev init` lays out, with a DAG, and with what the team had in its local Airflow.
LAYOUT = {
    ".astro/config.yaml": "project:\n    name: road\n",
    ".dockerignore": "astro\n.git\n.env\nairflow_settings.yaml\nlogs/\n.venv\n",
    ".env": "",
    ".gitignore": ".git\n.env\n.DS_Store\nairflow_settings.yaml\n__pycache__/\nastro\n.venv\nairflow-webserver.pid\n",
    "Dockerfile": "FROM astrocrpublic.azurecr.io/runtime:3.1-1\n",
    "README.md": "Overview\n========\n",
    "airflow_settings.yaml": f"""# This file allows you to configure Airflow Connections, Pools, and Variables in a single place for local development only.
airflow:
  connections:
    - conn_id: my_db
      conn_type: postgres
      conn_host: db.example
      conn_schema: dwh
      conn_login: etl
      conn_password: {PASSWORD}
      conn_port: 5432
      conn_extra:
  pools:
    - pool_name:
      pool_slot:
      pool_description:
  variables:
    - variable_name: hello
      variable_value: world
""",
    "include/.gitkeep": "",
    "packages.txt": "",
    "plugins/.gitkeep": "",
    "requirements.txt": "# Astro Runtime includes the following pre-installed providers packages: https://www.astronomer.io/docs/astro/runtime-image-architecture\n",
}


@dataclass
class Road:
    """A project on somebody's desk, and the local cloud in the place of the Internet."""

    folder: Path
    desk: dict[str, str]  # the environment of a shell on a desk whose user did az login
    bare: dict[str, str]  # what makes it a machine on which nobody signed in
    host: dict[str, str]  # what makes it a machine on Azure, whose metadata service answers

    def run(self, *command: str, ends: int = 0, typed: str = "", **more: str) -> str:
        """Runs a command that must end so, with more of an environment; types on a terminal if there is something to type."""
        master, terminal = pty.openpty()
        try:
            if typed:
                os.write(master, typed.encode())
            done = subprocess.run(
                command, cwd=self.folder, env={**self.desk, **more}, text=True, timeout=120,
                stdin=terminal if typed else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        finally:
            os.close(master)
            os.close(terminal)
        assert done.returncode == ends, f"{command} ended with {done.returncode}:\n{done.stdout}"
        for secret in (SECRET, PASSWORD):
            assert secret not in done.stdout, f"{command} shows a secret"
        return done.stdout

    def doctor(self, *flags: str, ends: int = 0, **more: str) -> dict[str, dict]:
        """The checks by their names."""
        said = self.run("airlock", "doctor", "--json", *flags, ends=ends, **more)
        return {check["check"]: check for check in json.loads(said)["checks"]}

    def dotenv(self) -> dict[str, str]:
        """The variables of .env as `docker --env-file` reads them."""
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def deployed(self) -> dict[str, dict]:
        """The variables of the Deployment, by the API."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"https": self.desk["HTTPS_PROXY"]}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.desk["SSL_CERT_FILE"])),
        )
        request = urllib.request.Request(
            "https://api.astronomer.io/v1/organizations/cairlockdevorganization00/deployments/cairlockdevdeployment0002",
            headers={"Authorization": "Bearer " + self.desk["ASTRO_API_TOKEN"]},
        )
        with opener.open(request, timeout=PATIENCE) as answer:
            return {v["key"]: v for v in json.load(answer)["environmentVariables"]}


@pytest.fixture
def road(tmp_path: Path):
    folder = tmp_path / "project"
    for name, text in LAYOUT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copytree(ROOT / "examples" / "astro-project" / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    runtime = Path(tempfile.mkdtemp(prefix="airlock"))  # short, for the sockets
    desk = {
        "HOME": str(tmp_path),
        "PATH": f"{AZ}:{Path(program()).parent}:/usr/bin:/bin",
        "AZ_DEV": str(folder),
        "AIRLOCK_RUNTIME_DIR": str(runtime),
        "TMPDIR": str(runtime),
        "HTTP_PROXY": "http://127.0.0.1:9",  # off Azure there is no metadata service; nobody listens there
    }
    dev = subprocess.Popen(
        [program(), "dev", "--ephemeral", "--hermetic", "--github", "acme/dags"],
        cwd=folder, env=desk, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    await_dev(dev, folder)
    said = subprocess.run(
        [program(), "dev", "env", "--format", "json", "--tokens"], cwd=folder, env=desk, check=True, capture_output=True, timeout=PATIENCE
    )
    given = json.loads(said.stdout)
    # The way to the cloud and the tokens, as everybody has them; no backend and no login.
    for name in ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "ASTRO_API_TOKEN", "GITHUB_TOKEN"):
        desk[name] = given[name]
    yield Road(folder, desk, {"PATH": f"{Path(program()).parent}:/usr/bin:/bin"}, {"HTTP_PROXY": given["HTTP_PROXY"]})
    status = subprocess.run([program(), "status", "--json"], env=desk, text=True, capture_output=True, timeout=PATIENCE)
    for agent in json.loads(status.stdout) if status.returncode == 0 else []:
        if agent["pid"] != dev.pid:
            os.kill(agent["pid"], signal.SIGTERM)
    dev.send_signal(signal.SIGINT)
    assert dev.wait(PATIENCE) == 0
    shutil.rmtree(runtime)


@pytest.mark.parametrize("backend", CLASSES)
@pytest.mark.parametrize("auth", ["client-secret", "managed-identity"])
def test_road(auth: str, backend: str, road: Road, airflow_home: Path) -> None:
    by_secret = auth == "client-secret"
    airflow = {} if by_secret else road.host  # where the project's Airflow can sign in: everywhere, or on Azure
    road.run("git", "init", "--quiet")

    # The sign-in and its permission. The script ends with airlock init, which asks where there is no secret to be piped.
    script = road.run("airlock", "azure", "--vault-url", VAULT_URL, "--auth", auth)
    (road.folder / "setup.sh").write_text(script)
    road.run("sh", "setup.sh", typed="y\n")
    (road.folder / "setup.sh").unlink()
    road.run("airlock", "init", "--backend", backend, "--yes")
    assert "nothing to change" in road.run("airlock", "init", "--backend", backend)
    assert road.dotenv()["AIRFLOW__SECRETS__BACKEND"] == CLASSES[backend]
    package = {"airlock": "airlock-airflow", "azure": "apache-airflow-providers-microsoft-azure"}[backend]
    assert package in (road.folder / "requirements.txt").read_text().splitlines()
    road.run("git", "add", ".")
    assert ".env" not in road.run("git", "ls-files").splitlines()

    # Connections and variables into the vault, by whoever did az login; Airflow's own login may not write.
    road.run("airlock", "import", "--yes", "airflow_settings.yaml", ends=4, **airflow)
    assert "2 of 2 done" in road.run("airlock", "import", "--az-login", "--yes", "airflow_settings.yaml")

    # Every link holds.
    checks = road.doctor("--python", sys.executable, **airflow)
    assert {name: c["state"] for name, c in checks.items() if c["state"] not in ("ok", "skipped")} == {}
    for name in ("import", "token", "get", "list", "rights", "secrets", "ids"):
        assert checks[name]["state"] == "ok", checks[name]
    if not by_secret:
        checks = road.doctor(ends=7, **road.bare)
        assert checks["token"]["found"].startswith("nothing signs in on this machine: the managed identity 33333333-")

    # A DAG reads them.
    said = road.run(
        str(BIN / "airflow"), "dags", "test", "read_secrets",
        **airflow, **road.dotenv(), AIRFLOW_HOME=str(airflow_home), AIRFLOW__CORE__DAGS_FOLDER=str(road.folder / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
    )  # fmt: skip
    assert "read variable hello: 5 characters" in said
    assert f"read connection my_db: type postgres, password of {len(PASSWORD)} characters" in said

    # The Deployment gets the configuration, with the kwargs secret from the start.
    assert "as planned" in road.run("airlock", "push", "production", typed="y\n")
    variables = road.deployed()
    assert variables["AIRFLOW__SECRETS__BACKEND"]["value"] == CLASSES[backend]
    assert variables["AIRFLOW__SECRETS__BACKEND_KWARGS"]["isSecret"]
    assert not variables["AIRFLOW__SECRETS__BACKEND_KWARGS"].get("value")

    # So does the Remote Execution Agent, by a file that holds no secret.
    (road.folder / "values.yaml").write_text("resourceNamePrefix: agent  # ours\ncommonEnv: []\n")
    road.run("airlock", "values", "values.yaml", "--namespace", "airflow", "--yes")
    values = yaml.safe_load((road.folder / "values.yaml").read_text())
    assert values["secretBackend"] == CLASSES[backend]
    assert "resourceNamePrefix: agent  # ours\n" in (road.folder / "values.yaml").read_text()

    # The credentials go to the repository's Actions secrets, and are nowhere in the project any more.
    before = road.dotenv()
    road.run("airlock", "seal", "--github", "acme/dags", "--workflow", "--deployment-id", "cairlockdevdeployment0002", "--yes")
    for path in road.folder.rglob("*"):
        if path.is_file() and ".airlock" not in path.parts and path.name != "airflow_settings.yaml":
            assert SECRET.encode() not in path.read_bytes(), path
    workflow = (road.folder / ".github/workflows/deploy-to-astro.yml").read_text()
    assert yaml.safe_load(workflow)["env"]["DEPLOYMENT_ID"] == "cairlockdevdeployment0002"
    assert ("secrets.AIRFLOW__SECRETS__BACKEND_KWARGS" in workflow) == by_secret
    assert (road.dotenv() == before) != by_secret

    # The doctor knows what is meant: a machine without a login is none of the Deployment, which has one.
    checks = road.doctor("--deployment", "production", "--values", "values.yaml", **road.bare)
    assert {name: c["state"] for name, c in checks.items() if c["state"] not in ("ok", "skipped")} == {}, checks
    assert checks["token"]["state"] == "skipped"
    assert checks["deployment"]["state"] == "ok"
    assert checks["values"]["state"] == "ok"
    notes = " ".join(checks["deployment"].get("notes", []))
    assert ("the login is in the Deployment and not here" in notes) == by_secret
    found = road.doctor(ends=7, **road.bare)["token"]["found"]
    assert re.match("nothing signs in on this machine: (the settings name no login|the managed identity)", found)

    # Who did az login goes on working here.
    checks = road.doctor()
    assert checks["token"]["found"].startswith("AzureCLICredential gives one for")
    assert road.run("airlock", "get", "variable", "hello") == "world\n"

    # And another push does not take the Deployment's login away.
    if by_secret:
        assert "may hold it: nothing was written" in road.run("airlock", "push", "production", "--yes", ends=2)
    else:
        road.run("airlock", "push", "production", "--yes")
