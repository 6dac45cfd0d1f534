"""The ``airlock`` command of a virtual environment: the wheel's program, in place of this process."""

from __future__ import annotations

import os
import sys

from airlock_airflow import binary
from airlock_airflow.errors import AirlockError


def main() -> int:
    """Runs the wheel's program with this command's arguments; returns only when it cannot."""
    try:
        # Only the wheel's own: what PATH calls airlock is most likely this very script.
        program = binary.usable(binary.PACKAGED, "the package carries it")
    except AirlockError as err:
        print(f"airlock: error: {err.message}", file=sys.stderr)
        for hint in err.hints or ("install the airlock-airflow wheel for this platform",):
            print(f"airlock: hint: {hint}", file=sys.stderr)
        return 1
    sys.stdout.flush()
    os.execv(program, ["airlock", *sys.argv[1:]])
    return 1  # not reached: execv returns only by an exception
