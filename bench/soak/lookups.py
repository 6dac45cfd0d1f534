"""Lookups through the package's own client for some seconds; prints how many were answered, as JSON.

usage: lookups.py SOCKET SECRETS SECONDS; ends with a traceback when a lookup fails.
"""

import json
import random
import sys
import time

from airlock_airflow.agent import Agent

end = time.monotonic() + float(sys.argv[3])
agent = Agent(sys.argv[1], 60.0)
found = 0
while time.monotonic() < end:
    i = random.randrange(int(sys.argv[2]))
    value = agent.get("variables", f"name_{i}", None)
    if value is None or f" of {i} " not in value:
        sys.exit(f"name_{i} is missing or another's")
    found += 1
    time.sleep(0.005)
print(json.dumps({"found": found}))
