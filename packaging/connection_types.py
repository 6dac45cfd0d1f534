"""Writes internal/airflow/conntypes.txt anew: the connection types that Airflow's community providers bring.

usage: build/venv/bin/python packaging/connection_types.py [PAGE.html]...

What is in the list stays. Added are the types of every provider that is installed beside this Python, as each tells them
itself (entry points of the group apache_airflow_provider), and those of saved copies of
https://airflow.apache.org/docs/apache-airflow-providers/core-extensions/connections.html.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

LIST = Path(__file__).parent.parent / "internal" / "airflow" / "conntypes.txt"


def main(pages: list[str]) -> None:
    lines = LIST.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    types = {line for line in lines if line and not line.startswith("#")}
    for entry in entry_points(group="apache_airflow_provider"):
        types |= {kind["connection-type"] for kind in entry.load()().get("connection-types", [])}
    for page in pages:
        types |= set(re.findall(r"<cite>([^<]+)</cite>:", Path(page).read_text()))
    LIST.write_text("\n".join([*head, *sorted(types)]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
