"""Warm lookups in one process: the official backend, ours, and a bare exchange on a kept socket, in turn.

usage: warm_lookup.py AGENT_SOCKET < KWARGS_JSON; prints the median seconds of each, as JSON.
"""

import json
import socket
import statistics
import sys
import time

kwargs = json.load(sys.stdin)
from airflow.providers.microsoft.azure.secrets.key_vault import AzureKeyVaultBackend  # noqa: E402

from airlock_airflow import AirlockBackend  # noqa: E402

kept = socket.socket(socket.AF_UNIX)
kept.connect(sys.argv[1])


def bare(key: str) -> str:
    """The least that an exchange can be: no retry, no timeout, no check."""
    kept.sendall(b"GET /v1/variables/" + key.encode() + b" HTTP/1.1\r\nHost: airlock\r\n\r\n")
    answer = kept.recv(65536)
    return json.loads(answer[answer.index(b"\r\n\r\n") + 4 :])["value"]


ways = {"bare": bare, "airlock": AirlockBackend(**kwargs).get_variable, "official": AzureKeyVaultBackend(**kwargs).get_variable}
times: dict[str, list[float]] = {name: [] for name in ways}
for round_ in range(60):
    for name, get in ways.items():
        for _ in range(3 if name == "official" else 50):
            begun = time.perf_counter()
            value = get("hello")
            took = time.perf_counter() - begun
            assert value == "world"
            if round_ >= 10:  # the first rounds warm up
                times[name].append(took)
print(json.dumps({name: statistics.median(all_) for name, all_ in times.items()}))
