"""The DAGs of this project can be loaded."""

from pathlib import Path

import pytest

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2.10
    from airflow.models.dagbag import DagBag


def test_dags_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    dags = DagBag(Path(__file__).parents[2] / "dags")
    assert dags.import_errors == {}
    assert list(dags.dags) == ["read_secrets"]
    assert dags.dags["read_secrets"].task_ids == ["read_variable", "read_connection", "read_variable_again"]
