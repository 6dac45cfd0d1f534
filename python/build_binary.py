"""Puts the airlock program into the wheel, and the program's platform into the wheel's name.

AIRLOCK_TARGET chooses the platform as GOOS/GOARCH; without it the wheel is for the machine that builds it. Two builds
of the same source with the same Go are the same, byte for byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The program is static and needs no C library: manylinux stands for any Linux that Go runs on. The release of macOS is
# the oldest that programs of Go 1.25 and newer run on; the linker writes the same into them (minos).
PLATFORMS = {
    "linux/amd64": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "linux/arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "darwin/amd64": "macosx_12_0_x86_64",
    "darwin/arm64": "macosx_12_0_arm64",
}


class BinaryHook(BuildHookInterface):
    """Called by hatchling around the build of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            raise SystemExit("build a wheel: an editable install has no place for the airlock program")
        repository = os.path.dirname(self.root)
        target = os.environ.get("AIRLOCK_TARGET") or "/".join(_go(repository, "env", "GOOS", "GOARCH").split())
        if target not in PLATFORMS:
            raise SystemExit(f"AIRLOCK_TARGET is {target!r}; it can be one of: {', '.join(PLATFORMS)}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{PLATFORMS[target]}"

        self._made = tempfile.mkdtemp(prefix="airlock-wheel-")
        program = os.path.join(self._made, "airlock")
        system, architecture = target.split("/")
        # No cgo: static. No paths, no state of the repository, no build id: nothing of this machine and moment.
        _go(
            repository,
            *("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, "./cmd/airlock"),
            CGO_ENABLED="0",
            GOOS=system,
            GOARCH=architecture,
            GOFLAGS="",
        )
        os.chmod(program, 0o755)
        build_data["force_include"][program] = "airlock_airflow/bin/airlock"

        # The socket's name depends on the version, and reading the package's metadata at run time would cost more than
        # the lookup.
        stamp = os.path.join(self._made, "_version.py")
        with open(stamp, "w", encoding="ascii") as file:
            file.write(f'VERSION = "{self.metadata.version}"\n')
        build_data["force_include"][stamp] = "airlock_airflow/_version.py"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self._made)


def _go(directory: str, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        ["go", *arguments], cwd=directory, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"go {arguments[0]} failed")
    return done.stdout
