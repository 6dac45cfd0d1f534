"""Measures, against a peer in the same run, and writes docs/benchmarks.md. `make bench` runs it.

The vault is the local cloud on loopback, so that no network is in any figure: the official backend is seen at its best.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AIRLOCK = ROOT / "bin" / "airlock"
OFFICIAL = "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend"
OURS = "airlock_airflow.AirlockBackend"
PAIRS = 15  # fresh processes of each backend


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(*command: str | Path, environ: dict[str, str], text: str = "") -> str:
    done = subprocess.run([str(part) for part in command], env=environ, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def last_line(output: str) -> str:
    """What a script printed last: Airflow may have logged to the same stream before."""
    return output.splitlines()[-1]


def first_lookups(kwargs: str, environ: dict[str, str]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {OFFICIAL: [], OURS: []}
    run(sys.executable, ROOT / "bench" / "first_lookup.py", OURS, environ=environ, text=kwargs)  # the agent is up from now on
    for pair in range(PAIRS):
        for backend, all_ in times.items():
            progress(f"first lookup, pair {pair + 1} of {PAIRS}")
            said = run(sys.executable, ROOT / "bench" / "first_lookup.py", backend, environ=environ, text=kwargs)
            all_.append(float(last_line(said)))
    return times


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.2f} ms ({min(seconds) * 1e3:.2f} to {max(seconds) * 1e3:.2f})"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(folder: Path, runtime: Path) -> str:
    (folder / "seed.json").write_text('{"hello": "world"}')
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "AIRLOCK_", "AZURE_"))}
    environ["AIRLOCK_RUNTIME_DIR"] = str(runtime)
    environ["AIRFLOW_HOME"] = str(folder / "airflow")
    dev = subprocess.Popen(
        [AIRLOCK, "dev", "--ephemeral", "--seed", "seed.json"], cwd=folder, env=environ, stdout=subprocess.DEVNULL
    )
    try:
        while not (folder / ".airlock" / "dev.json").exists():
            if dev.poll() is not None:
                sys.exit("airlock dev does not start")
            time.sleep(0.01)
        given = json.loads(subprocess.check_output([AIRLOCK, "dev", "env", "--format", "json"], cwd=folder, env=environ))
        kwargs = given.pop("AIRFLOW__SECRETS__BACKEND_KWARGS")
        for name in ("AIRLOCK_AGENT_SOCKET", "AIRFLOW__SECRETS__BACKEND"):
            del given[name]
        environ.update(given)

        first = first_lookups(kwargs, environ)
        agents = json.loads(run(AIRLOCK, "status", "--json", environ=environ))
        (agent,) = [a for a in agents if not Path(a["socket"]).name.startswith("dev-")]
        progress("warm lookups")
        said = run(sys.executable, ROOT / "bench" / "warm_lookup.py", agent["socket"], environ=environ, text=kwargs)
        warm = json.loads(last_line(said))
        progress("the agent under load")
        load = json.loads(run(ROOT / "build" / "load", "-agent", agent["socket"], environ=environ))
        os.kill(agent["pid"], signal.SIGTERM)
    finally:
        dev.send_signal(signal.SIGINT)
        dev.wait()
    progress("the local cloud")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "AIRLOCK_", "AZURE_"))}
    cloud = json.loads(run(ROOT / "build" / "cloud", "-airlock", AIRLOCK, environ=plain))
    progress("")
    return report(first, warm, load, cloud)


def report(first: dict[str, list[float]], warm: dict[str, float], load: dict[str, list[float]], cloud: list[dict]) -> str:
    ratio = statistics.median(a / b for a, b in zip(first[OFFICIAL], first[OURS]))
    share = statistics.median(a / b for a, b in zip(load["agent"], load["bare"]))
    rows = [
        (
            "first lookup in a fresh Python process that has Airflow loaded",
            milliseconds(first[OURS]),
            f"official backend: {milliseconds(first[OFFICIAL])}",
            f"{ratio:.0f} times faster",
            "50 times, and under 5 ms",
        ),
        (
            "warm lookup from Python",
            f"{warm['airlock'] * 1e6:.0f} us",
            f"bare exchange on a kept socket: {warm['bare'] * 1e6:.0f} us; official backend: {warm['official'] * 1e6:.0f} us",
            f"{warm['airlock'] / warm['bare']:.2f} times the bare exchange; {warm['official'] / warm['airlock']:.0f} times faster than official",
            "1.5 times the bare exchange",
        ),
        (
            "agent, requests a second, 8 connections",
            f"{statistics.median(load['agent']):,.0f}",
            f"bare net/http handler: {statistics.median(load['bare']):,.0f}",
            f"{share:.0%} of the bare handler",
            "90 %",
        ),
    ]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("apache-airflow", "apache-airflow-providers-microsoft-azure", "azure-identity", "azure-keyvault-secrets")
    )
    go = subprocess.check_output(["go", "env", "GOVERSION"], text=True, cwd=ROOT).strip()
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each row compares two things in one run, in turn; read the ratios, not the absolute figures.",
        "The vault is the local cloud on loopback, so no network is in any figure, and the official backend is seen at its best:",
        "each of its lookups would wait for the round trip to Azure on top. Medians; in brackets minimum and maximum.",
        "",
        f"Measured on {datetime.date.today().isoformat()}: {processor()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, {go}; {versions}.",
        "",
        "| what | Airlock | peer | ratio | aim |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"The first row is {PAIRS} fresh processes of each backend in turn, and the median of the ratios pair by pair: from the",
        "import of the class to the first value, with an agent that holds the value. The second is one process, in turn. The third is",
        "one client with 8 kept connections against either server, 5 rounds of 2 seconds each in turn.",
        "",
        "## The local cloud",
        "",
        "`airlock dev` with its database on disk. The start is from the start of the process to the first secret read over TLS",
        "with a token of its Entra ID, login included; it aims at 100 ms and 30 MiB. Requests come from one client with 8 kept",
        "TLS connections through the proxy on the same machine, whose work is in the figures; a set is on disk when it is",
        "answered. Memory is resident: after the first read, and after the load, when pages of the database's file are mapped.",
        "",
        "| secrets | start to first read | gets a second | sets a second | memory | memory under load |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row['secrets']:,} | {milliseconds(row['first_read'])} | {row['gets']:,.0f} | {row['sets']:,.0f} "
            f"| {row['resident']:.0f} MiB | {row['loaded']:.0f} MiB |"
            for row in cloud
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    runtime = Path(tempfile.mkdtemp(prefix="airlock"))  # short, for the sockets
    folder = Path(tempfile.mkdtemp(prefix="airlock-bench"))
    try:
        page = measure(folder, runtime)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(runtime)
    (ROOT / "docs" / "benchmarks.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
