"""Real Airflow looks ids up: each line of standard input is a JSON list of lookups by one backend, each line of output one
of answers.

A line is {"backend": NAME, "kwargs": {...}, "lookups": [{"kind": ..., "id": ..., "team": ...}, ...]}.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from airflow.providers.microsoft.azure.secrets.key_vault import AzureKeyVaultBackend
from airflow.sdk.definitions.connection import Connection

from airlock_airflow import AirlockBackend

BACKENDS = {"official": AzureKeyVaultBackend, "airlock": AirlockBackend}
FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def attempt(function: Any) -> dict[str, Any]:
    """What the function gives, or the class of its error: the text may hold the secret."""
    try:
        return {"value": function()}
    except Exception as err:
        return {"error": type(err).__name__}


def fields(connection: Connection | None) -> str | None:
    return None if connection is None else repr([getattr(connection, field) for field in FIELDS])


def look_up(backend: Any, lookup: dict[str, Any]) -> dict[str, Any]:
    name, team = lookup["id"], lookup["team"]
    if lookup["kind"] == "config":
        return attempt(lambda: backend.get_config(name))
    if lookup["kind"] == "variable":
        return attempt(lambda: backend.get_variable(name, team_name=team))
    return {
        **attempt(lambda: backend.get_conn_value(name, team_name=team)),
        "connection": attempt(lambda: fields(backend.get_connection(conn_id=name, team_name=team))),
    }


def answer(line: dict[str, Any]) -> dict[str, Any]:
    try:
        backend = BACKENDS[line["backend"]](**line["kwargs"])
    except Exception as err:
        return {"refused": type(err).__name__}
    backend._set_connection_class(Connection)
    return {"answers": [look_up(backend, lookup) for lookup in line["lookups"]]}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Airflow prints is no answer
    for text in sys.stdin:
        print(json.dumps(answer(json.loads(text))), file=out, flush=True)
