"""Finding the program and the place, and starting the agent, with a program that stands for the real one."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Iterator

import pytest
from conftest import CANARY

from airlock_airflow import AirlockBackend, AirlockError, binary, place, start

# Counts its starts, keeps what it was given, and serves the word "world" from a process of its own, as the agent does.
PROGRAM = """
import json, os, socket, sys
notes = {notes!r}
given = {{"argv": sys.argv[1:], "env": dict(os.environ), "stdin": sys.stdin.read(), "leader": os.getsid(0) == os.getpid()}}
with open(os.path.join(notes, "starts"), "a") as starts:
    starts.write(json.dumps(given) + "\\n")
plan = open(os.path.join(notes, "plan")).read()
if plan:
    exec(plan)
path = sys.argv[sys.argv.index("--socket") + 1]
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(128)
child = os.fork()
if child:
    with open(os.path.join(notes, "pids"), "a") as pids:
        pids.write(str(child) + "\\n")
    os._exit(0)
os.setsid()
body = b'{{"value": "world", "source": "vault", "age": 0}}'
reply = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(body), body)
while True:
    connection, _ = listener.accept()
    with connection:
        if connection.recv(65536):
            connection.sendall(reply)
"""


class Program:
    def __init__(self, folder: Path) -> None:
        self._notes = folder
        script = folder / "program.py"
        script.write_text(PROGRAM.format(notes=str(folder)))
        self.path = folder / "airlock"
        self.path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {script} "$@"\n')
        self.path.chmod(0o755)
        self.plan("")

    def plan(self, code: str) -> None:
        """What the program does before it serves, in Python."""
        (self._notes / "plan").write_text(textwrap.dedent(code))

    def starts(self) -> list[dict]:
        starts = self._notes / "starts"
        return [json.loads(line) for line in starts.read_text().splitlines()] if starts.exists() else []

    def kill(self) -> None:
        pids = self._notes / "pids"
        for pid in pids.read_text().split() if pids.exists() else ():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        pids.unlink(missing_ok=True)


@pytest.fixture
def program(folder: Path) -> Iterator[Program]:
    made = Program(folder)
    yield made
    made.kill()


@pytest.fixture
def backend(program: Program) -> AirlockBackend:
    return AirlockBackend(vault_url="https://v.vault.azure.net/", agent_binary=str(program.path))


def test_first_lookup_starts_the_agent(program: Program, backend: AirlockBackend, folder: Path) -> None:
    assert backend.get_variable("hello") == "world"
    assert backend.get_variable("hello") == "world"
    [given] = program.starts()
    socket_path = given["argv"][5]
    assert given["argv"] == ["agent", "--detach", "--config", "-", "--socket", socket_path, "--idle-exit", "15m"]
    assert os.path.dirname(socket_path) == str(folder / "run")
    assert len(os.path.basename(socket_path)) == 32 + len(".sock")
    assert stat.S_IMODE(os.stat(folder / "run").st_mode) == 0o700
    assert given["leader"]  # an interrupt at the terminal does not reach it


def test_program_gets_the_kwargs_as_given_and_by_standard_input(program: Program) -> None:
    backend = AirlockBackend(
        None,
        variables_prefix="",
        sep="-",
        client_secret=CANARY,
        cache_ttl=60,
        on_error="stop",
        agent_binary=str(program.path),
        retry_total=3,
        vault_ur1="typo",
    )
    assert backend.get_variable("hello") == "world"
    [given] = program.starts()
    assert json.loads(given["stdin"]) == {
        "connections_prefix": None,
        "variables_prefix": "",
        "sep": "-",
        "client_secret": CANARY,
        "cache_ttl": 60,
        "retry_total": 3,
        "vault_ur1": "typo",
    }
    assert CANARY not in json.dumps([given["argv"], given["env"]])


def test_program_gets_a_minimal_environment(program: Program, backend: AirlockBackend, monkeypatch) -> None:
    passed = {
        "AZURE_CLIENT_SECRET": "1",
        "IDENTITY_ENDPOINT": "2",
        "IMDS_ENDPOINT": "3",
        "MSI_SECRET": "4",
        "AIRLOCK_LOG": "5",
        "https_proxy": "6",
        "NO_PROXY": "7",
        "SSL_CERT_FILE": "8",
        "LC_TIME": "C",
        "TZ": "UTC",
    }
    for name, text in passed.items():
        monkeypatch.setenv(name, text)
    for name in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_DB", "PYTHONPATH", "SOMETHING"):
        monkeypatch.setenv(name, CANARY)
    assert backend.get_variable("hello") == "world"
    env = program.starts()[0]["env"]
    assert passed.items() <= env.items()
    assert env["HOME"] == os.environ["HOME"] and "PATH" in env
    assert CANARY not in env.values()


@pytest.mark.parametrize("conf", [True, False])
def test_multi_team(program: Program, backend: AirlockBackend, monkeypatch: pytest.MonkeyPatch, conf: bool) -> None:
    """The setting is Airflow's; where its configuration is not loaded yet, the environment variable must do."""
    if not conf:
        monkeypatch.setitem(sys.modules, "airflow.configuration", None)
        monkeypatch.setitem(sys.modules, "airflow.sdk.configuration", None)
    else:
        import airflow.configuration  # noqa: F401
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    assert backend.get_variable("hello") == "world"
    assert json.loads(program.starts()[0]["stdin"])["multi_team"] is True


def test_agent_that_died_is_started_again(program: Program, backend: AirlockBackend) -> None:
    assert backend.get_variable("hello") == "world"
    program.kill()  # leaves its socket behind, as a killed agent does
    assert backend.get_variable("hello") == "world"
    assert len(program.starts()) == 2


def test_a_hundred_processes_start_one_agent(program: Program, backend: AirlockBackend) -> None:
    gate_out, gate_in = os.pipe()
    children = []
    for _ in range(100):
        child = os.fork()
        if child == 0:
            os.close(gate_in)
            os.read(gate_out, 1)  # comes back for all when the parent closes its end
            os._exit(0 if backend.get_variable("hello") == "world" else 1)
        children.append(child)
    os.close(gate_out)
    os.close(gate_in)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 100
    assert len(program.starts()) == 1


def test_start_that_fails_says_why(program: Program, backend: AirlockBackend, caplog) -> None:
    program.plan(
        f"""
        print("panic: {CANARY}", file=sys.stderr)
        print("airlock: error: unknown setting vault_ur1", file=sys.stderr)
        print("airlock: hint: did you mean vault_url?", file=sys.stderr)
        sys.exit(2)
        """
    )
    for _ in range(20):
        assert backend.get_variable("x") is None
        assert (
            AirlockBackend(vault_url="https://v.vault.azure.net/", agent_binary=str(program.path)).get_variable("y")
            is None
        )
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.endswith("the agent did not start: unknown setting vault_ur1 (hint: did you mean vault_url?)")
    with pytest.raises(AirlockError) as caught:
        backend.get_config("x")
    assert caught.value.kind == "usage"
    assert CANARY not in caplog.text
    assert len(program.starts()) == 1  # a start that failed is not repeated for every lookup


def test_start_is_tried_again_after_a_pause(program: Program, backend: AirlockBackend, monkeypatch) -> None:
    program.plan("sys.exit(5)")
    with pytest.raises(AirlockError, match="ended with exit code 5") as caught:
        backend.get_config("x")
    assert caught.value.kind == "unavailable"
    program.plan("")
    monkeypatch.setattr(start, "_PAUSE_AFTER_FAILURE", 0.0)
    assert backend.get_config("x") == "world"


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("os.kill(os.getpid(), 9)", "ended with signal 9"),
        ("os._exit(0)", "then nobody listened"),
    ],
)
def test_program_that_misbehaves(program: Program, backend: AirlockBackend, plan: str, message: str) -> None:
    program.plan(plan)
    with pytest.raises(AirlockError, match=message):
        backend.get_config("x")


def test_start_that_hangs(program: Program, backend: AirlockBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLOCK_TIMEOUT", "0.5")
    program.plan("import time; time.sleep(60)")
    with pytest.raises(AirlockError, match="did not start an agent in time"):
        backend.get_config("x")


def test_starter_that_hangs_does_not_hang_the_others(
    program: Program, backend: AirlockBackend, monkeypatch, folder
) -> None:
    import fcntl

    monkeypatch.setenv("AIRLOCK_TIMEOUT", "0.1")
    path = backend._find_agent().address
    place.make_private(os.path.dirname(path))
    with open(path[:-4] + "start.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AirlockError, match="(another process takes too long|not answer in time)"):
            backend.get_config("x")
    assert program.starts() == []


def test_child_forked_during_a_start_does_not_keep_the_lock(
    program: Program, backend: AirlockBackend, monkeypatch
) -> None:
    monkeypatch.setattr(start, "_PAUSE_AFTER_FAILURE", 0.0)
    gate_out, gate_in = os.pipe()
    children = []

    def fork_and_fail(*_: object) -> None:
        child = os.fork()
        if child == 0:
            os.close(gate_in)
            os.read(gate_out, 1)
            os._exit(0)
        children.append(child)
        raise AirlockError("unavailable", "as planned")

    with monkeypatch.context() as patched:
        patched.setattr(start.Starter, "_run", fork_and_fail)
        with pytest.raises(AirlockError, match="as planned"):
            backend.get_config("x")
    monkeypatch.setenv("AIRLOCK_TIMEOUT", "5")
    try:
        assert backend.get_config("x") == "world"
    finally:
        os.close(gate_in)
        os.close(gate_out)
        assert [os.waitpid(child, 0)[1] for child in children] == [0]


# --- the program -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["agent_binary", "AIRLOCK_BINARY"])
@pytest.mark.parametrize(
    ("mode", "message"), [(None, "does not exist"), (0o644, "is not executable"), ("folder", "does not exist")]
)
def test_named_program_must_be_usable(
    program: Program, folder: Path, monkeypatch, setting: str, mode, message: str
) -> None:
    named = folder / "named"
    if mode == "folder":
        named.mkdir()
    elif mode is not None:
        named.write_text("#!/bin/sh\n")
        named.chmod(mode)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")  # where a good one lies: it must not be taken
    kwargs = {}
    if setting == "agent_binary":
        kwargs["agent_binary"] = str(named)
    else:
        monkeypatch.setenv("AIRLOCK_BINARY", str(named))
    with pytest.raises(AirlockError, match=f"{named} {message} \\({setting} names it\\)"):
        AirlockBackend(**kwargs).get_config("x")
    assert program.starts() == []


def test_program_is_searched_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for name in ("kwarg", "variable", "wheel", "path"):
        made[name] = folder / name / "airlock"
        made[name].parent.mkdir()
        made[name].write_text("#!/bin/sh\n")
        made[name].chmod(0o755)
    environ = {"AIRLOCK_BINARY": str(made["variable"]), "PATH": str(folder / "path")}
    monkeypatch.setattr(binary, "PACKAGED", str(made["wheel"]))
    assert binary.find(str(made["kwarg"]), environ) == str(made["kwarg"])
    assert binary.find("", environ) == str(made["variable"])
    del environ["AIRLOCK_BINARY"]
    assert binary.find("", environ) == str(made["wheel"])
    made["wheel"].chmod(0o644)
    with pytest.raises(AirlockError, match="is not executable") as caught:
        binary.find("", environ)
    assert caught.value.hints == (f"chmod +x {made['wheel']}",)
    made["wheel"].unlink()
    assert binary.find("", environ) == str(made["path"])
    made["path"].unlink()
    with pytest.raises(AirlockError) as caught:
        binary.find("", environ)
    for tried in ("agent_binary", "AIRLOCK_BINARY", str(made["wheel"]), "PATH"):
        assert tried in caught.value.message


# --- the place ---------------------------------------------------------------------------------------------------


def test_runtime_directory(folder: Path) -> None:
    fallback = f"/tmp/airlock-{os.getuid()}"
    assert place.runtime_directory({}) == fallback
    assert place.runtime_directory({"XDG_RUNTIME_DIR": str(folder)}) == str(folder / "airlock")
    assert place.runtime_directory({"XDG_RUNTIME_DIR": str(folder / "missing")}) == fallback
    assert place.runtime_directory({"XDG_RUNTIME_DIR": "relative"}) == fallback
    assert place.runtime_directory({"XDG_RUNTIME_DIR": str(folder), "AIRLOCK_RUNTIME_DIR": "/x/y"}) == "/x/y"
    assert place.runtime_directory({"AIRLOCK_RUNTIME_DIR": "here"}) == os.path.join(os.getcwd(), "here")


def make_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir(mode=0o700)
    path.symlink_to(path.parent / "elsewhere")


def make_wide(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def make_foreign(path: Path) -> None:
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link, "is not a real folder"),
        (lambda path: path.write_text(""), "is not a real folder"),
        (make_wide, "has mode 0755 and not 0700 .hint: chmod 700 "),
        (make_foreign, "belongs to user 12345 and not to "),
        (lambda path: path.parent.rmdir(), "cannot be made: No such file"),
    ],
)
def test_shared_directory_is_refused(program: Program, folder: Path, monkeypatch, make, reason: str) -> None:
    directory = folder / "sub" / "run"
    directory.parent.mkdir()
    if make is make_foreign and os.getuid() != 0:
        # Only root can give a folder away; for others /tmp's own parent, which is root's, is as foreign.
        directory, reason = Path("/"), "belongs to user 0 and not to "
    else:
        make(directory)
    monkeypatch.setenv("AIRLOCK_RUNTIME_DIR", str(directory))
    with pytest.raises(AirlockError, match=reason) as caught:
        AirlockBackend(agent_binary=str(program.path)).get_config("x")
    assert "AIRLOCK_RUNTIME_DIR" in caught.value.hints[-1]
    assert program.starts() == []


def test_agent_in_a_shared_directory_is_not_asked(program: Program, backend: AirlockBackend, folder: Path) -> None:
    """Also one that answers: anybody could have put it there."""
    assert backend.get_variable("hello") == "world"
    (folder / "run").chmod(0o777)
    with pytest.raises(AirlockError, match="has mode 0777"):
        backend.get_config("x")


@pytest.mark.parametrize("given", [True, False])
def test_path_that_is_too_long(folder: Path, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    long = str(folder / ("x" * 100))
    monkeypatch.setenv("AIRLOCK_RUNTIME_DIR", long)
    backend = AirlockBackend(agent_socket=long if given else "")
    with pytest.raises(AirlockError, match="a Unix socket's has at most 10[37] .hint: set AIRLOCK_RUNTIME_DIR"):
        backend.get_config("x")
    assert not os.path.exists(long)


def test_longest_path_is_a_real_sockets(folder: Path) -> None:
    import socket

    longest = str(folder) + "/" + "x" * (place._SUN_PATH - 2 - len(str(folder)))
    assert place.checked_length(longest) == longest
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(longest)
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError):
        one.bind(longest + "x")


def test_socket_is_one_configurations_own(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"AIRLOCK_RUNTIME_DIR": "/r"}
    paths = {place.socket_path({}, environ)}
    for config in ({"vault_url": "a"}, {"vault_url": "b"}, {"vault_url": "a", "multi_team": True}):
        paths.add(place.socket_path(config, environ))
    for name in (
        "AZURE_CLIENT_ID",
        "IDENTITY_HEADER",
        "IMDS_ENDPOINT",
        "MSI_ENDPOINT",
        "AIRLOCK_X",
        "HTTPS_PROXY",
        "https_proxy",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        paths.add(place.socket_path({}, {**environ, name: "1"}))
    monkeypatch.setattr(place, "VERSION", "other")
    paths.add(place.socket_path({}, environ))
    assert len(paths) == 1 + 3 + 10 + 1
    unrelated = {**environ, "AIRFLOW_HOME": "1", "AIRLOCK_AGENT_SOCKET": "1", "PATH": "1"}
    assert place.socket_path({"a": 1, "b": 2}, unrelated) == place.socket_path({"b": 2, "a": 1}, environ)


@pytest.mark.parametrize("odd", [object(), {1, 2}, float("nan")])
def test_kwargs_that_json_cannot_hold(odd: object) -> None:
    with pytest.raises(AirlockError, match="cannot be written as JSON"):
        AirlockBackend(vault_url=odd).get_config("x")


# --- the process -------------------------------------------------------------------------------------------------


def run_python(code: str, **env: str) -> subprocess.CompletedProcess:
    """Runs code in a fresh process that finds the package where this one does."""
    package = os.path.dirname(os.path.dirname(binary.__file__))
    code = f"import sys; sys.path.append({package!r})\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True)


def test_nothing_more_is_imported_than_airflow_has(program: Program) -> None:
    """The first lookup of a task must not pay for modules; not even the start of an agent needs many."""
    done = run_python(
        """
        import airflow.sdk.execution_time.task_runner, airflow.secrets
        before = set(sys.modules)
        import os
        from airlock_airflow import AirlockBackend
        assert AirlockBackend(agent_binary=os.environ["PROGRAM"]).get_variable("hello") == "world"
        print(sorted(name for name in set(sys.modules) - before if not name.startswith("airlock_airflow")))
        """,
        PROGRAM=str(program.path),
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_without_airflow() -> None:
    done = run_python(
        """
        sys.modules["airflow"] = None
        import airlock_airflow.command  # the command line needs no Airflow
        from airlock_airflow import AirlockError
        try:
            from airlock_airflow import AirlockBackend
        except ImportError as err:
            print(err)
        """
    )
    assert done.stdout.startswith("airlock_airflow.AirlockBackend needs Apache Airflow 2.10 or newer"), done.stderr


def test_command_runs_the_packages_program(folder: Path) -> None:
    program = folder / "airlock"
    program.write_text('#!/bin/sh\necho "ran $$ $@"\nexit 3\n')
    program.chmod(0o755)
    done = run_python(
        """
        import os
        from airlock_airflow import binary, command
        binary.PACKAGED = os.environ["PROGRAM"]
        sys.argv[1:] = ["get", "variable", "a b"]
        print(os.getpid(), flush=True)
        sys.exit(command.main())
        """,
        PROGRAM=str(program),
    )
    pid, ran = done.stdout.splitlines()
    assert (ran, done.returncode) == (f"ran {pid} get variable a b", 3)  # in the same process, for signals' sake


def test_command_without_its_program() -> None:
    done = run_python(
        """
        from airlock_airflow import binary, command
        binary.PACKAGED = "/nowhere/airlock"
        sys.exit(command.main())
        """
    )
    assert done.returncode == 1
    assert done.stderr.startswith("airlock: error: the airlock program is missing: /nowhere/airlock")
    assert "\nairlock: hint: install the airlock-airflow wheel" in done.stderr


def test_syntax_is_old_enough() -> None:
    import ast

    sources = list(Path(binary.__file__).parent.glob("*.py"))
    assert len(sources) > 5
    for source in sources:
        ast.parse(source.read_text(), feature_version=(3, 9))


def test_agent_that_dies_as_soon_as_it_was_started(program: Program, backend: AirlockBackend, folder: Path) -> None:
    """Two are killed before anybody could ask them; the third one answers."""
    program.plan(f"""
        if sum(1 for _ in open({str(folder / "starts")!r})) < 3:
            os._exit(0)
        """)
    assert backend.get_config("x") == "world"
    assert len(program.starts()) == 3


def test_several_agents_that_die_with_the_same_lookup(program: Program, backend: AirlockBackend, folder: Path) -> None:
    """Each reads the request and dies: a few are taken for accidents, and no more."""
    died = folder / "died"
    agent_that_dies = f"""
        path = sys.argv[sys.argv.index("--socket") + 1]
        if not os.path.exists({str(died)!r}) or len(open({str(died)!r}).read()) < LIMIT:
            if os.path.exists(path):
                os.unlink(path)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            listener.listen(8)
            if os.fork():
                os._exit(0)
            connection, _ = listener.accept()
            connection.recv(65536)
            open({str(died)!r}, "a").write("x")
            os._exit(1)
        """
    program.plan(agent_that_dies.replace("LIMIT", "4"))
    assert backend.get_config("x") == "world"
    assert died.read_text() == "xxxx"
    program.kill()
    program.plan(agent_that_dies.replace("LIMIT", "1000"))
    with pytest.raises(AirlockError, match="hangs up without an answer"):
        backend.get_config("x")
    assert 8 <= len(died.read_text()) <= 10
