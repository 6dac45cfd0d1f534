"""The first lookup of a fresh process that has Airflow loaded, as a task has: import, construction, and one value.

usage: first_lookup.py CLASS_PATH < KWARGS_JSON; prints seconds.
"""

import importlib
import json
import sys
import time

kwargs = json.load(sys.stdin)
import airflow.secrets  # noqa: E402, F401
import airflow.utils.log.logging_mixin  # noqa: E402, F401

begun = time.perf_counter()
module, name = sys.argv[1].rsplit(".", 1)
value = getattr(importlib.import_module(module), name)(**kwargs).get_variable("hello")
took = time.perf_counter() - begun
if value != "world":
    sys.exit(f"got {value!r}")
print(took)
