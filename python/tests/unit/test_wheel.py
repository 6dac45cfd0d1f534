"""The wheel: what is in it, that it is the one under test, and that it comes out the same twice."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from airlock_airflow import binary, place

REPOSITORY = Path(__file__).parents[3]
VERSION = re.search(r'const Version = "([^"]+)"', (REPOSITORY / "internal/cli/version.go").read_text())[1]


@pytest.fixture(scope="module")
def tools() -> str:
    """The Python that has hatchling; `make test-python` names it."""
    return os.environ["AIRLOCK_TEST_TOOLS"]


def build(tools: str, folder: Path, target: str) -> Path:
    environ = {**os.environ, "AIRLOCK_TARGET": target}
    command = [tools, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY / "python", env=environ, check=True, capture_output=True)
    [made] = folder.iterdir()
    return made


def test_the_installed_wheel_is_under_test() -> None:
    assert "site-packages" in Path(binary.__file__).parts
    assert importlib.metadata.version("airlock-airflow") == VERSION == place.VERSION
    said = subprocess.run([binary.PACKAGED, "version"], capture_output=True, text=True, check=True)
    assert VERSION in said.stdout


def test_command_of_the_environment_is_the_program() -> None:
    script = Path(sys.executable).parent / "airlock"
    said = subprocess.run([script, "version"], capture_output=True, text=True, check=True)
    assert VERSION in said.stdout


def test_wheel_comes_out_the_same_twice(tools: str, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(build(tools, tmp_path / name, "linux/amd64"))
    assert made[0].name == f"airlock_airflow-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    assert made[0].name == made[1].name
    assert hashlib.sha256(made[0].read_bytes()).digest() == hashlib.sha256(made[1].read_bytes()).digest()
    check_content(made[0], {"py3-none-manylinux_2_17_x86_64", "py3-none-manylinux2014_x86_64"})


def check_content(wheel: Path, tags: set[str]) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        info = f"airlock_airflow-{VERSION}.dist-info"
        assert {
            "airlock_airflow/__init__.py",
            "airlock_airflow/_version.py",
            "airlock_airflow/py.typed",
            f"{info}/licenses/LICENSE",
        } <= set(names)
        assert not [name for name in names if "test" in name or "__pycache__" in name]
        assert "Apache License" in opened.read(f"{info}/licenses/LICENSE").decode()
        program = opened.getinfo("airlock_airflow/bin/airlock")
        assert stat.S_IMODE(program.external_attr >> 16) == 0o755
        content = opened.read(program)
        assert content.startswith(b"\x7fELF") and b"/lib64/ld-linux" not in content  # static
        assert str(REPOSITORY).encode() not in content
        wheel_file = opened.read(f"{info}/WHEEL").decode()
        assert set(re.findall("^Tag: (.+)$", wheel_file, re.M)) == tags
        assert "Root-Is-Purelib: false" in wheel_file


def test_unknown_target_is_refused(tools: str, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build(tools, tmp_path, "plan9/amd64")
    assert b"it can be one of: linux/amd64, linux/arm64, darwin/amd64, darwin/arm64" in caught.value.stderr
