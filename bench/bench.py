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
import socket
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


def run(*command: str | Path, environ: dict[str, str], text: str = "", cwd: Path | None = None) -> str:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, env=environ, input=text, capture_output=True, text=True, cwd=cwd)
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


STORM = 500  # processes
EACH = 10  # secrets that each reads; ten_lookups.py does
HELD = 2000  # secrets
REST = 8  # seconds; an agent without lookups gives memory back after five or six


def start_agent(environ: dict[str, str], socket_path: Path, *more: str) -> tuple[subprocess.Popen, float]:
    """An agent, and the seconds from the start of its process to its first answer."""
    begun = time.perf_counter()
    agent = subprocess.Popen([AIRLOCK, "agent", "--socket", socket_path, *more], env=environ, stderr=subprocess.DEVNULL)
    while time.perf_counter() - begun < 60:
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(socket_path))
                s.sendall(b"GET /v1/health HTTP/1.1\r\nHost: airlock\r\n\r\n")
                if s.recv(12) == b"HTTP/1.1 200":
                    return agent, time.perf_counter() - begun
            except OSError:
                time.sleep(0.0005)
    sys.exit("the agent does not answer")


def resident(pid: int) -> float:
    """MiB; 0 where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def storm(folder: Path, environ: dict[str, str], socket_path: Path) -> dict:
    """Many processes at once, before a vault that answers in 20 ms and has Key Vault's own limits; then many secrets."""
    run(AIRLOCK, "dev", "faults", "set", "--throttle", "keyvault", environ=environ, cwd=folder)
    run(AIRLOCK, "dev", "faults", "add", "service=keyvault", "latency=20ms", environ=environ, cwd=folder)
    starts = []
    for _ in range(5):
        agent, took = start_agent(environ, socket_path)
        starts.append(took)
        if len(starts) < 5:
            agent.terminate()
            agent.wait()
    run(AIRLOCK, "dev", "requests", "--clear", environ=environ, cwd=folder)
    begun = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, str(ROOT / "bench" / "ten_lookups.py"), str(socket_path)], env=environ)
        for _ in range(STORM)
    ]
    failed = sum(process.wait() != 0 for process in processes)
    took = time.perf_counter() - begun
    requests = json.loads(run(AIRLOCK, "dev", "requests", "--json", environ=environ, cwd=folder))
    reads = [r for r in requests if r["service"] == "keyvault" and r["path"].startswith("/secrets/") and r["status"] != 401]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(socket_path))
        for i in range(HELD):
            s.sendall(f"GET /v1/variables/name_{i} HTTP/1.1\r\nHost: airlock\r\n\r\n".encode())
            if not s.recv(4096).startswith(b"HTTP/1.1 200"):
                sys.exit("a lookup failed")
    busy = resident(agent.pid)
    time.sleep(REST)
    memory = resident(agent.pid)
    agent.terminate()
    agent.wait()
    return {
        "starts": starts,
        "failed": failed,
        "took": took,
        "reads": len(reads),
        "refused": sum(r["status"] == 429 for r in requests),
        "memory": memory,
        "busy": busy,
        "processes": STORM,
        "each": EACH,
        "held": HELD,
    }


def audited(folder: Path, environ: dict[str, str], socket_path: Path) -> dict[str, list[float]]:
    """The load on an agent that writes each lookup down, and on one that does not, each beside the bare handler."""
    vault = (
        f"vaults: [{{url: '{environ['AIRLOCK_VAULT_URL']}', tenant_id: '{environ['AZURE_TENANT_ID']}', "
        f"client_id: '{environ['AZURE_CLIENT_ID']}', client_secret_env: AZURE_CLIENT_SECRET}}]\n"
    )
    share = {}
    for name, audit in (("off", ""), ("on", f"audit: {{file: '{folder / 'audit.jsonl'}'}}\n")):
        config = folder / "agent.yaml"
        config.write_text(vault + audit)
        agent, _ = start_agent(environ, socket_path, "--config", str(config))
        load = json.loads(run(ROOT / "build" / "load", "-agent", socket_path, "-rounds", "16", environ=environ))
        agent.terminate()
        agent.wait()
        share[name] = [a / b for a, b in zip(load["agent"], load["bare"])]
    return share


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.2f} ms ({min(seconds) * 1e3:.2f} to {max(seconds) * 1e3:.2f})"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(folder: Path, runtime: Path) -> dict:
    seed = {"hello": "world", **{f"name_{i}": "x" * 100 for i in range(HELD)}}
    (folder / "seed.json").write_text(json.dumps(seed))
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
        audit = audited(folder, environ, runtime / "audit.sock")
        progress("the storm")
        storm_ = storm(folder, {**environ, "AIRFLOW__SECRETS__BACKEND_KWARGS": kwargs}, runtime / "storm.sock")
    finally:
        dev.send_signal(signal.SIGINT)
        dev.wait()
    progress("the local cloud")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "AIRLOCK_", "AZURE_"))}
    cloud = json.loads(run(ROOT / "build" / "cloud", "-airlock", AIRLOCK, environ=plain))
    progress("")
    return {
        "first": {"official": first[OFFICIAL], "airlock": first[OURS]},
        "warm": warm, "load": load, "audit": audit, "cloud": cloud, "storm": storm_,
    }  # fmt: skip


def report(m: dict) -> str:
    first, warm, load, cloud, storm_ = {OFFICIAL: m["first"]["official"], OURS: m["first"]["airlock"]}, m["warm"], m["load"], m["cloud"], m["storm"]
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
        (
            f"{STORM} processes at once, 10 secrets each; vault at 20 ms, Key Vault's limits",
            f"{storm_['took']:.1f} s",
            "-",
            f"{storm_['reads']} reads of the vault, {storm_['refused']} refused (429), {storm_['failed']} processes with a failed lookup",
            "10 reads, none refused, none failed",
        ),
        (
            f"agent at rest, resident with {HELD:,} secrets",
            f"{storm_['memory']:.1f} MiB",
            "-",
            f"{storm_['busy']:.1f} MiB when it has just read them",
            "20 MB",
        ),
        ("agent, from the start of the process to its first answer", milliseconds(storm_["starts"]), "-", "-", "50 ms"),
        ("local cloud, from its start to the first secret read", milliseconds(cloud[0]["first_read"]), "-", "-", "100 ms"),
        ("local cloud, resident", f"{cloud[0]['resident']:.1f} MiB", "-", "-", "30 MB"),
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
        "![A lookup takes a fraction of the official backend's time; 500 processes cost the vault 10 reads; memory](benchmarks.svg)",
        "",
        "| what | Airlock | peer | ratio | aim |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"The first row is {PAIRS} fresh processes of each backend in turn, and the median of the ratios pair by pair: from the",
        "import of the class to the first value, with an agent that holds the value. The second is one process, in turn. The third is",
        "one client with 8 kept connections against either server, 40 rounds of a quarter of a second each in turn. The storm's processes are",
        "Python with the package's client, without Airflow, whose start would take most of the time.",
        "",
        f"There is no audit file in the table. With one, each lookup waits until the kernel has its line: the agent does "
        f"{statistics.median(m['audit']['on']):.0%}",
        f"of the bare handler's requests a second then, and {statistics.median(m['audit']['off']):.0%} without, in a comparison of 16 rounds each.",
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
        measured = measure(folder, runtime)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(runtime)
    (ROOT / "build" / "bench.json").write_text(json.dumps(measured, indent=1))
    plot = [ROOT / "build" / "bench" / "bin" / "python", ROOT / "bench" / "plot.py"]
    run(*plot, ROOT / "build" / "bench.json", ROOT / "docs" / "benchmarks.svg", environ=dict(os.environ))
    page = report(measured)
    (ROOT / "docs" / "benchmarks.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
