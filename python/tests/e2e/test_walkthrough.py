"""The recording in docs/walkthrough is what the commands say today: they are played again, and nothing differs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import program

RECORD = Path(__file__).parents[3] / "docs" / "walkthrough" / "record.py"


def test_recording() -> None:
    done = subprocess.run(
        [sys.executable, str(RECORD), "--airlock", program(), "--check"], text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
