"""What airlock exports, Airflow's own import commands read; what Airflow exports, airlock reads; and it is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import CONNECTIONS, LOGINS, SECRETS, VAULT, Cloud, program

BIN = Path(sys.executable).parent

# Beside conftest's: what breaks when somebody quotes, escapes or guesses.
MORE_CONNECTIONS = {
    "with-dash": {"conn_type": "http", "host": "https://h", "schema": "p", "description": "two\nlines: 'a' \"b\" # c"},
    "Capital": {"conn_type": "google_cloud_platform", "extra": {"project": "p", "num_retries": 5, "keys": {"a": [1.5, None, "ü"]}}},
    "ugly": {"conn_type": "mysql", "login": "a@b", "password": "p:/@#%?&=+ '\"\\{}[] \N{ROCKET}\t", "host": "::1", "port": 1},
    "only_type": {"conn_type": "aws"},
    "typed_port": {"conn_type": "ftp", "port": "21", "host": "h"},
}
MORE_VARIABLES = {
    "With-Dash": "x",
    "number": "5",
    "float": "1.50",
    "null": "null",
    "yes": "yes",
    "date": "2020-01-01",
    "compact": '{"a":1}',
    "value": '{"value": 1}',
    "quoted": '"text"',
    "spaces": "  a: b # c  ",
    "equals": "a=b=c",
    "unicode": "ü\N{ROCKET}\x85\u2028",
}

# Airflow's own commands, several in one process: what `airflow connections import` runs.
DRIVER = """
import sys
from airflow.cli.cli_parser import get_parser
from airflow.models import Connection, Variable
from airflow.utils.session import create_session

for form in ("env", "yaml", "json"):
    with create_session() as session:
        session.query(Connection).delete()
        session.query(Variable).delete()
    for line in (
        ("connections", "import", f"connections.{form}"),
        ("variables", "import", f"variables.{form}"),
        ("connections", "export", f"back-{form}-connections.json"),
        ("connections", "export", f"back-{form}-connections.yaml"),
        ("variables", "export", f"back-{form}-variables.json"),
    ):
        args = get_parser().parse_args(line)
        args.func(args)
"""


def test_both_ways(start_cloud, airflow_home: Path) -> None:
    cloud: Cloud = start_cloud({**VAULT, **LOGINS["client-secret"]})
    (cloud.folder / "more-connections.json").write_text(json.dumps(MORE_CONNECTIONS))
    (cloud.folder / "more-variables.json").write_text(json.dumps(MORE_VARIABLES))
    for more in ("more-connections.json", "more-variables.json"):
        cloud.airlock("import", "--yes", more)
    for form in ("json", "yaml"):
        cloud.airlock("export", "connections", f"connections.{form}")
        cloud.airlock("export", "variables", f"variables.{form}")
    # A line of an ENV file holds neither a line break nor a description; what it cannot hold is left out.
    cloud.airlock("export", "connections", "connections.env", "--skip-unusable")
    cloud.airlock("export", "variables", "variables.env", "--skip-unusable")

    environ = {
        **cloud.environ,
        "PATH": f"{BIN}:{cloud.environ['PATH']}",
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    del environ["AIRFLOW__SECRETS__BACKEND"]
    airflow = subprocess.run(
        [sys.executable, "-c", DRIVER], cwd=cloud.folder, env=environ, text=True, capture_output=True, timeout=300
    )
    assert airflow.returncode == 0, airflow.stderr

    everything = set(CONNECTIONS) | set(MORE_CONNECTIONS)
    for form, left_out in (("json", set()), ("yaml", set()), ("env", {"with-dash"})):
        back = json.loads((cloud.folder / f"back-{form}-connections.json").read_text())
        assert set(back) == everything - left_out, form
        variables = json.loads((cloud.folder / f"back-{form}-variables.json").read_text())
        assert set(variables) == (set(SECRETS) | set(MORE_VARIABLES)) - (
            {"empty", "with_underscores", "unicode"} if form == "env" else set()
        ), form
        if form == "env":  # a URI does not tell None from an empty text
            exact = json.loads((cloud.folder / "back-json-connections.json").read_text())
            for conn_id, fields in back.items():
                assert {k: v or None for k, v in fields.items()} == {k: v or None for k, v in exact[conn_id].items()}, conn_id
            continue
        # airlock diff ends with an error unless there is no difference at all.
        cloud.airlock("diff", f"back-{form}-connections.json")
        cloud.airlock("diff", f"back-{form}-connections.yaml")
        cloud.airlock("diff", f"back-{form}-variables.json")

    # The metadata database holds the last of them, the JSON files.
    diff = subprocess.run([program(), "diff", "airflow:"], cwd=cloud.folder, env=environ, text=True, capture_output=True, timeout=120)
    assert diff.returncode == 0, diff.stdout + diff.stderr
    assert f"{len(everything) + len(SECRETS) + len(MORE_VARIABLES)} the same" in diff.stderr

    # And from there into the vault: what was deleted comes back.
    cloud.airlock("delete", "connection", "ugly")
    moved = subprocess.run(
        [program(), "import", "--yes", "airflow:"], cwd=cloud.folder, env=environ, text=True, capture_output=True, timeout=120
    )
    assert moved.returncode == 0, moved.stderr
    assert "1 of 1 done" in moved.stderr
    assert json.loads(cloud.airlock("get", "connection", "ugly", "--as", "json")) == MORE_CONNECTIONS["ugly"]
