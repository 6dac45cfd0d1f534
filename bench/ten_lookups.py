"""One task among many: ten lookups through the package's own client, without Airflow around it.

usage: ten_lookups.py SOCKET; ends non-zero when a lookup fails.
"""

import sys

from airlock_airflow.agent import Agent

agent = Agent(sys.argv[1], 30.0)
for i in range(10):
    if agent.get("variables", f"name_{i}", None) != "x" * 100:
        sys.exit(1)
