"""What an agent on loopback wants to be shown."""

from __future__ import annotations

import os
import stat

from airlock_airflow.errors import AirlockError
from airlock_airflow.wire import Absent

_MAX = 4096  # bytes; a token has far fewer


def read(path: str) -> tuple[str, float]:
    """The token in the file, and when the file was changed, in seconds since the epoch.

    Raises Absent while there is no file: the agent makes it when it starts. Raises AirlockError for a file that other
    users can read, or that holds no token; its text never holds what the file does.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Absent from None
    except OSError as err:
        raise AirlockError("usage", f"the token file {path} cannot be read: {err.strerror}") from None
    try:
        found = os.fstat(opened)
        content = os.read(opened, _MAX) if stat.S_ISREG(found.st_mode) else b""
    finally:
        os.close(opened)
    # A group may read it where this process is in it: so is a file in a volume of Kubernetes with an fsGroup.
    own_group = found.st_gid == os.getegid() or found.st_gid in os.getgroups()
    if found.st_mode & (0o004 if own_group else 0o044):
        mode = stat.S_IMODE(found.st_mode)
        raise AirlockError(
            "usage", f"the token file {path} can be read by other users (mode {mode:04o})", [f"make it private: chmod 600 {path}"]
        )
    text = content.rstrip(b"\r\n")
    if not text or any(not 0x21 <= byte <= 0x7E for byte in text):
        raise AirlockError("usage", f"the token file {path} holds no token", ["name the agent's listen.token_file"])
    return text.decode("ascii"), found.st_ctime


def missing(path: str) -> AirlockError:
    """The error for a token file that does not come into being."""
    return AirlockError(
        "unavailable",
        f"the token file {path} is not there",
        ["the agent makes it when it starts: see listen.token_file in its configuration, and correct agent_token_file"],
    )
