"""Reads through Airflow's search of secrets backends whatever the tests look at, and writes it to the file of PROBE_FACTS."""

from __future__ import annotations

import json
import os

from airflow.sdk import BaseHook, Connection, Variable, dag, task


def connection_facts(conn_id: str) -> dict:
    c = BaseHook.get_connection(conn_id)
    facts = {name: getattr(c, name) for name in ("conn_type", "host", "login", "password", "schema", "port")}
    return {**facts, "extra": c.extra_dejson}


@dag(schedule=None, catchup=False)
def probe():
    @task
    def read() -> None:
        facts = {
            "hello": Variable.get("hello"),
            "with_underscores": Variable.get("with_underscores"),
            "empty": Variable.get("empty"),
            "json": Variable.get("json", deserialize_json=True),
            "long": Variable.get("long"),
            "default": Variable.get("is_nowhere", default="the default"),
            "from_environment": Variable.get("only_in_environment"),
            "uri": connection_facts("by_uri"),
            "object": connection_facts("by_json"),
            "by_class": Connection.get("by_uri").login,
            "connection_from_environment": connection_facts("only_in_environment"),
            "no_name_for_a_vault": Variable.get("dots.are.not.for.vaults", default="the default"),
        }
        try:
            BaseHook.get_connection("is_nowhere")
        except Exception as err:
            facts["missing_connection"] = type(err).__name__
        with open(os.environ["PROBE_FACTS"], "w", encoding="utf-8") as file:
            json.dump(facts, file)

    read()


probe()
