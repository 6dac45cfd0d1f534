"""Where the airlock program is."""

from __future__ import annotations

import os
import shutil
from typing import Mapping

from airlock_airflow.errors import AirlockError

# Where the wheel puts the program: beside this file.
PACKAGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "airlock")


def find(agent_binary: str, environ: Mapping[str, str]) -> str:
    """The program's path: agent_binary, else AIRLOCK_BINARY, else the wheel's own, else ``airlock`` on PATH.

    A place that was named by the user and is wrong is an error, and not a reason to run another program.
    Raises AirlockError.
    """
    for setting, named in (("agent_binary", agent_binary), ("AIRLOCK_BINARY", environ.get("AIRLOCK_BINARY", ""))):
        if named:
            return usable(os.path.abspath(named), f"{setting} names it")
    if os.path.lexists(PACKAGED):
        return usable(PACKAGED, "the package carries it")
    found = shutil.which("airlock", path=environ.get("PATH"))
    if found:
        return os.path.abspath(found)
    raise AirlockError(
        "unavailable",
        "the airlock program is missing: agent_binary and AIRLOCK_BINARY are not set, "
        f"{PACKAGED} does not exist, and PATH has no airlock",
        ["install the airlock-airflow wheel for this platform, or set AIRLOCK_BINARY"],
    )


def usable(path: str, origin: str) -> str:
    """The path, when a program is there that this user may run; else raises AirlockError."""
    if not os.path.isfile(path):
        raise AirlockError("unavailable", f"the airlock program is missing: {path} does not exist ({origin})")
    if not os.access(path, os.X_OK):
        # Some installers and archive tools drop the mode of the files that they unpack.
        raise AirlockError(
            "unavailable",
            f"the airlock program cannot be run: {path} is not executable ({origin})",
            [f"chmod +x {path}"],
        )
    return path
