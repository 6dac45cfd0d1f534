"""Starting an agent, once, however many processes want it at the same moment."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Mapping, TypeVar

from airlock_airflow import binary, place
from airlock_airflow.errors import AirlockError
from airlock_airflow.wire import Absent

Connected = TypeVar("Connected")

IDLE_EXIT = "15m"

_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
_EXIT_KINDS = {2: "usage", 4: "forbidden", 5: "unavailable"}
_MOST_STARTS = 3  # for one lookup
_LOCK_PAUSE = 0.01  # seconds between two looks while another process starts the agent
_MAX_STDERR = 1 << 16

# A start that failed is not tried again for so many seconds: a DAG with a hundred variables would otherwise pay for a
# hundred failing starts. By socket path, for the whole process, because Airflow makes a new backend for each lookup.
_PAUSE_AFTER_FAILURE = 5.0
_failures: dict[str, tuple[float, AirlockError]] = {}


class Starter:
    """Starts the agent for one configuration at its place's path.

    ``config`` goes to its standard input as JSON: it may hold a client secret, which a command line would show to
    everybody on the machine. ``agent_binary`` may be empty.
    """

    def __init__(self, *, path: str, config: Mapping[str, Any], agent_binary: str, environ: Mapping[str, str]) -> None:
        self.path = path
        self._config = config
        self._agent_binary = agent_binary
        self._environ = environ

    def start(self, connect: Callable[[], Connected], deadline: float) -> Connected:
        """Starts the agent unless another process is quicker, and returns what connect returns.

        connect raises Absent while nobody listens. Raises AirlockError with the agent's own reason.
        """
        when, failure = _failures.get(self.path, (0.0, None))
        if failure is not None and time.monotonic() < when + _PAUSE_AFTER_FAILURE:
            raise AirlockError(failure.kind, failure.message, failure.hints)
        started = 0
        while True:
            with self._lock() as locked:
                try:
                    return connect()  # whoever had the lock before may have started it
                except Absent:
                    pass
                if locked:
                    try:
                        self._run(deadline)
                    except AirlockError as err:
                        _failures[self.path] = (time.monotonic(), err)
                        raise
                    started += 1
                    try:
                        return connect()
                    except Absent:
                        if started == _MOST_STARTS:
                            raise AirlockError(
                                "unavailable", f"the agent was started and then nobody listened at {self.path}"
                            ) from None
                        continue  # somebody killed it already
            if time.monotonic() > deadline:
                raise AirlockError("unavailable", f"another process takes too long to start the agent of {self.path}")
            time.sleep(_LOCK_PAUSE)

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Tells whether this process may start the agent. It does not wait, so that the caller's deadline holds."""
        import fcntl

        name = self.path[: -len("sock")] + "start.lock"  # PATH.lock is the lock of the agent itself
        try:
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise AirlockError("unavailable", f"cannot open the lock file {name}: {err.strerror}") from None
        try:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                # Said aloud, because a process forked in the meantime shares this lock and would keep it.
                fcntl.flock(opened, fcntl.LOCK_UN)
        finally:
            os.close(opened)

    def _run(self, deadline: float) -> None:
        import subprocess
        import tempfile

        program = binary.find(self._agent_binary, self._environ)
        config = place.to_json(self._config).encode()
        command = [program, "agent", "--detach", "--config", "-", "--socket", self.path, "--idle-exit", IDLE_EXIT]
        # A file and not a pipe: if the agent kept its standard error, a pipe would never come to its end.
        with tempfile.TemporaryFile() as stderr:
            try:
                done = subprocess.run(
                    command,
                    input=config,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    env=agent_environment(self._environ),
                    start_new_session=True,  # an interrupt at the terminal is not for the agent
                    timeout=max(deadline - time.monotonic(), 0.001),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                code = None
            except OSError as err:
                raise AirlockError("unavailable", f"cannot run {program}: {err.strerror}") from None
            else:
                code = done.returncode
            stderr.seek(0)
            said = stderr.read(_MAX_STDERR).decode("utf-8", "replace")
        if code is None:
            raise AirlockError(
                "unavailable",
                f"{program} did not start an agent in time",
                ["allow more seconds with AIRLOCK_TIMEOUT"],
            )
        if code != 0:
            raise _explained(said, code, program)


def agent_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the agent inherits: what it depends on, and what any program needs. Not Airflow's own settings."""
    kept = place.relevant(environ)
    for name, value in environ.items():
        if name in _INHERITED or name.startswith("LC_"):
            kept[name] = value
    return kept


def _explained(said: str, code: int, program: str) -> AirlockError:
    """The agent's own error and hints; anything else on its standard error (a panic, say) is not passed on."""
    messages, hints = [], []
    for line in said.splitlines():
        if line.startswith("airlock: error: "):
            messages.append(line[len("airlock: error: ") :])
        elif line.startswith("airlock: hint: "):
            hints.append(line[len("airlock: hint: ") :])
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    message = "; ".join(messages) or f"{program} ended with {how}"
    return AirlockError(_EXIT_KINDS.get(code, "internal"), f"the agent did not start: {message}", hints)
