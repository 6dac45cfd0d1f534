"""Where an agent's socket lies: a private folder, and a name that is one configuration's own."""

from __future__ import annotations

import os
import stat
import sys
from typing import Any, Mapping

from airlock_airflow.errors import AirlockError

try:
    from airlock_airflow._version import VERSION
except ImportError:  # a source tree: the wheel's build writes this module
    VERSION = "source"

# Variables that decide which identity the agent has and how it reaches the vault. Two processes that differ in one of
# them must not share an agent.
_PREFIXES = ("AZURE_", "IDENTITY_", "MSI_", "AIRLOCK_")
_NAMES = frozenset(
    name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (proxy, proxy.lower())
) | {"IMDS_ENDPOINT", "SSL_CERT_FILE", "SSL_CERT_DIR"}

# The length of a Unix socket's path with its closing NUL: sun_path of unix(7) on Linux, of unix(4) on macOS.
_SUN_PATH = 104 if sys.platform == "darwin" else 108


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment that an agent depends on."""
    return {
        name: value
        for name, value in environ.items()
        if name != "AIRLOCK_AGENT_SOCKET" and (name in _NAMES or name.startswith(_PREFIXES))
    }


def socket_path(config: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The socket of the agent that serves exactly this configuration in exactly this environment.

    Raises AirlockError when config holds something that JSON cannot, or when the path would be too long.
    """
    import hashlib

    canonical = to_json({"env": relevant(environ), "kwargs": config, "version": VERSION})
    key = hashlib.sha256(canonical.encode()).hexdigest()[:32]
    return checked_length(os.path.join(runtime_directory(environ), key + ".sock"))


def to_json(config: Mapping[str, Any]) -> str:
    """config as JSON, in one form only. Raises AirlockError for what JSON cannot hold."""
    import json

    try:
        return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as err:
        problem = type(err).__name__
    raise AirlockError(
        "usage", f"a keyword argument of AirlockBackend cannot be written as JSON ({problem})", ["use plain values"]
    )


def checked_length(path: str) -> str:
    """The path, when a Unix socket can have it; else raises AirlockError."""
    length, limit = len(os.fsencode(path)), _SUN_PATH - 1
    if length > limit:
        raise AirlockError(
            "usage",
            f"the socket path {path} has {length} bytes and a Unix socket's has at most {limit}",
            ["set AIRLOCK_RUNTIME_DIR to a folder with a shorter path"],
        )
    return path


def runtime_directory(environ: Mapping[str, str]) -> str:
    """The sockets' folder: AIRLOCK_RUNTIME_DIR, else XDG_RUNTIME_DIR/airlock where writable, else /tmp/airlock-UID."""
    chosen = environ.get("AIRLOCK_RUNTIME_DIR")
    if chosen:
        return os.path.abspath(chosen)
    session = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session) and os.access(session, os.W_OK | os.X_OK):
        return os.path.join(session, "airlock")
    return f"/tmp/airlock-{os.geteuid()}"


def make_private(directory: str) -> None:
    """Makes the folder, or sees that the one there is a real folder of this user's that nobody else can enter.

    Whoever can write there could put a socket of their own in an agent's place. Raises AirlockError.
    """
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    except OSError as err:
        raise _refused(directory, f"cannot be made: {err.strerror}") from None
    try:
        found = os.lstat(directory)
    except OSError as err:
        raise _refused(directory, f"cannot be looked at: {err.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(directory, "is not a real folder")
    if found.st_uid != os.geteuid():
        raise _refused(directory, f"belongs to user {found.st_uid} and not to {os.geteuid()}, who runs this process")
    if stat.S_IMODE(found.st_mode) != 0o700:
        raise _refused(directory, f"has mode {stat.S_IMODE(found.st_mode):04o} and not 0700", f"chmod 700 {directory}")


def _refused(directory: str, why: str, *hints: str) -> AirlockError:
    return AirlockError(
        "unavailable",
        f"the folder for the agent's socket, {directory}, {why}",
        [*hints, "set AIRLOCK_RUNTIME_DIR to a folder that only this user can enter"],
    )
