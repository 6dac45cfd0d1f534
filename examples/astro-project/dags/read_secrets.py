"""Reads one variable and one connection through Airflow's secrets backend, and prints facts about them.

The facts are lengths, never the values: a task's log is read by many.
"""

from __future__ import annotations

try:
    from airflow.sdk import BaseHook, Variable, dag, task
except ImportError:  # Airflow 2.10
    from airflow.decorators import dag, task
    from airflow.hooks.base import BaseHook
    from airflow.models import Variable


@dag(schedule=None, catchup=False, tags=["airlock"])
def read_secrets():
    @task
    def read_variable() -> None:
        value = Variable.get("hello")
        print(f"read variable hello: {len(value)} characters")

    @task
    def read_connection() -> None:
        connection = BaseHook.get_connection("my_db")
        password = connection.password or ""
        print(f"read connection my_db: type {connection.conn_type}, password of {len(password)} characters")

    @task
    def read_variable_again() -> None:
        value = Variable.get("hello")
        print(f"read variable hello again: {len(value)} characters")

    read_variable() >> read_connection() >> read_variable_again()


read_secrets()
