#!/usr/bin/env python3
"""Records the walk-through: real commands in a real terminal against the local cloud. `make walkthrough` runs it.

It writes walkthrough.cast (asciicast v2, for asciinema) and walkthrough.svg beside itself, and with --check compares instead.
What differs from run to run (ports, folders) is replaced, and the times are made up, so that two recordings are equal.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import html
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLUMNS, ROWS = 110, 32
UNBROKEN = 1000  # columns of the terminal that commands see: where they broke lines would depend on what differs from run to run
PATIENCE = 60  # seconds, for a command

TENANT = "11111111-1111-1111-1111-111111111111"
APP = "22222222-2222-2222-2222-222222222222"
PERSON = "44444444-4444-4444-4444-444444444444"
SECRET = "T7_8Q~walkthrough"
VAULT = "https://contoso.vault.azure.net/"

# A line is said, or typed at the shell with the answers to what the command asks: (the question's end, what is typed).
SCENES: list[tuple[str, list[tuple[str, str]]]] = [
    ("# A new Astro project, a vault, and an app that may read it (airlock azure prints the az commands for that).", []),
    ("# 1. The project: requirements.txt and .env. The secret is typed, and not shown.", []),
    ("airlock init", [
        ("NAME.vault.azure.net/: ", VAULT),
        ("client-secret or managed-identity: ", "client-secret"),
        ("Tenant id: ", TENANT),
        ("Client id: ", APP),
        ("(not shown): ", SECRET),
        ("[y/N]: ", "y"),
    ]),
    ("# 2. Does all of it work?", []),
    ("airlock doctor", []),
    ("# 3. What the local Airflow had goes into the vault, as whoever did az login.", []),
    ("airlock import --az-login airflow_settings.yaml", [("[y/N]: ", "y")]),
    ("airlock get variable hello", []),
    ("# 4. The Deployment gets the configuration, secret from its first write.", []),
    ("airlock push production", [("[y/N]: ", "y")]),
    ("# 5. No credential stays behind: it moves to the repository's Actions secrets.", []),
    ("airlock seal --github acme/dags", [("[y/N]: ", "y")]),
    ("cat .env", []),
]  # fmt: skip

LAYOUT = {
    ".astro/config.yaml": "project:\n    name: walkthrough\n",
    ".dockerignore": "astro\n.git\n.env\nairflow_settings.yaml\nlogs/\n.venv\n",
    ".gitignore": ".git\n.env\nairflow_settings.yaml\n__pycache__/\nastro\n.venv\n",
    "Dockerfile": "FROM astrocrpublic.azurecr.io/runtime:3.1-1\n",
    "requirements.txt": "# Astro Runtime includes Airflow\n",
    "airflow_settings.yaml": """airflow:
  connections:
    - conn_id: my_db
      conn_type: postgres
      conn_host: db.example
      conn_login: etl
      conn_password: not-a-real-password
  variables:
    - variable_name: hello
      variable_value: world
""",
}

PROVISION = f"""
apps: [{{tenantId: {TENANT}, clientId: {APP}, clientSecret: {SECRET}}}]
vaults:
  - url: {VAULT}
    tenantId: {TENANT}
    permissions:
      roles:
        - {{principal: {APP}, role: Key Vault Secrets User}}
        - {{principal: {PERSON}, role: Key Vault Secrets Officer}}
"""


class Stage:
    """A project on a desk, and the local cloud in the place of the Internet."""

    def __init__(self, airlock: Path) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="airlock"))  # short, for the sockets
        self.folder = self.place / "project"
        for name, text in LAYOUT.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        self.env = {
            "HOME": str(self.place), "TMPDIR": str(self.place), "AIRLOCK_RUNTIME_DIR": str(self.place), "TERM": "xterm-256color",
            "LANG": "C.UTF-8", "AZ_DEV": str(self.folder), "HTTP_PROXY": "http://127.0.0.1:9",
            "PATH": f"{ROOT}/packaging/testtools/az:{airlock.parent}:{self.place}/bin:/usr/bin:/bin",
        }  # fmt: skip
        (self.place / "bin").mkdir()
        (self.place / "bin" / "python3").symlink_to(Path(sys.executable).resolve())  # one without Airflow, wherever this runs
        subprocess.run(["git", "init", "--quiet"], cwd=self.folder, env=self.env, check=True)
        # dev's own login is the person's who sits here; .env is empty again before anything is shown.
        env_file = self.folder / ".env"
        env_file.write_text(f"AZURE_TENANT_ID={TENANT}\nAZURE_CLIENT_ID={PERSON}\nAZURE_CLIENT_SECRET=person\n")
        (self.place / "provision.yaml").write_text(PROVISION)
        self.dev = subprocess.Popen(
            [airlock, "dev", "--ephemeral", "--hermetic", "--github", "acme/dags", "--provision", self.place / "provision.yaml"],
            cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / ".airlock" / "dev.json").exists():
            if self.dev.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("airlock dev does not start")
            time.sleep(0.01)
        said = subprocess.run(
            [airlock, "dev", "env", "--format", "json", "--tokens"], cwd=self.folder, env=self.env, check=True, capture_output=True
        )
        env_file.write_text("")
        given = json.loads(said.stdout)
        for name in ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "ASTRO_API_TOKEN", "GITHUB_TOKEN"):
            self.env[name] = given[name]

    def close(self) -> None:
        self.dev.send_signal(signal.SIGINT)
        self.dev.wait(PATIENCE)
        shutil.rmtree(self.place)

    def run(self, command: str, answers: list[tuple[str, str]]) -> list[str]:
        """What the terminal showed, cut where somebody had to type. The command must succeed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("sh", ["sh", "-c", command], self.env)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, UNBROKEN, 0, 0))
        decode = codecs.getincrementaldecoder("utf-8")().decode
        parts, open_answers, deadline = [""], list(answers), time.monotonic() + PATIENCE
        while select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            try:
                read = os.read(terminal, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            parts[-1] += decode(read)
            if open_answers and parts[-1].endswith(open_answers[0][0]):
                os.write(terminal, open_answers.pop(0)[1].encode() + b"\n")
                parts.append("")
        else:
            os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != 0 or open_answers:
            raise RuntimeError(f"$ {command}\nended with {code}, with {len(open_answers)} answers to give:\n" + "".join(parts))
        return [self.same(part) for part in parts]

    def same(self, text: str) -> str:
        """The text without what differs from run to run."""
        if SECRET in text or "not-a-real-password" in text:
            raise RuntimeError("a secret is shown")
        text = still(text).replace(str(self.place), "~")
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8443", text)
        text = re.sub(r"(development CA) [0-9a-f]{8}, until [0-9-]{10}", r"\1 0a1b2c3d, until 2027-01-01", text)
        text = re.sub(r"good for another \d+ minutes", "good for another 60 minutes", text)
        return re.sub(r"~/airlock-local-cloud-\d+", "~/airlock-local-cloud", text)


def still(text: str) -> str:
    """What stays on the screen: a line that is written over, as progress is, keeps its last writing only."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        written = [part for part in re.split(r"\r(?:\x1b\[\d*K)?", line) if part.strip()]
        lines.append(written[-1] if written else "")
    return "\n".join(lines)


def record(airlock: Path) -> list[tuple[float, str]]:
    """The events of a cast: seconds from the beginning, and what is written then."""
    stage = Stage(airlock)
    events: list[tuple[float, str]] = []
    now = 0.5

    def write(text: str, pause: float) -> None:
        nonlocal now
        events.append((round(now, 2), text))
        now += pause

    try:
        for line, answers in SCENES:
            write("\x1b[1m$\x1b[0m ", 0.4)
            if line.startswith("#"):
                write(f"\x1b[36m{line}\x1b[0m\r\n", 1.2)
                continue
            for letter in line:
                write(letter, 0.04)
            write("\r\n", 0.3)
            for part in stage.run(line, answers):
                for shown in part.splitlines(keepends=True):
                    write(shown.replace("\n", "\r\n"), 0.06)
                now += 0.8
            now += 1.2
        write("\x1b[1m$\x1b[0m ", 4)
        events.append((round(now, 2), ""))
    finally:
        stage.close()
    return events


def as_cast(events: list[tuple[float, str]]) -> str:
    """https://docs.asciinema.org/manual/asciicast/v2/"""
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "From an empty Astro project to a Deployment, with Airlock"}
    return "".join(json.dumps(line) + "\n" for line in [head, *([at, "o", text] for at, text in events)])


COLOURS = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}  # of a terminal (ECMA-48), and of the style below
STYLE = """
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre }
.b { font-weight: bold } .d { fill: #8a93a5 } .r { fill: #ff6b6b } .g { fill: #7bd88f } .y { fill: #ffd866 } .c { fill: #78dce8 }
"""
BACKGROUND = "#1b2028"
LETTER, LINE, MARGIN = 7.83, 18, 14  # pixels


def rows_of(events: list[tuple[float, str]]) -> tuple[list[list[tuple[str, str]]], list[tuple[float, int]]]:
    """The rows of the screen as (style, text), and from when on how many of them are there."""
    rows: list[list[tuple[str, str]]] = [[]]
    moments: list[tuple[float, int]] = []
    style, width = "", 0
    for at, text in events:
        for piece in re.split(r"(\x1b\[[\d;]*m|\r\n)", text):
            if code := re.fullmatch(r"\x1b\[([\d;]*)m", piece):
                style = COLOURS.get(code[1], "")
            elif piece == "\r\n":
                rows.append([])
                width = 0
            while piece and piece[0] not in "\x1b\r":
                fits, piece = piece[: COLUMNS - width], piece[COLUMNS - width :]
                rows[-1].append((style, fits))
                width += len(fits)
                if piece:
                    rows.append([])
                    width = 0
        if not moments or moments[-1][1] != len(rows):
            moments.append((at, len(rows)))
    return rows, moments


def as_svg(events: list[tuple[float, str]]) -> str:
    """A window of ROWS rows, through which the rows move up as they come; who wants no motion sees the end."""
    rows, moments = rows_of(events)
    width, height = round(COLUMNS * LETTER + 2 * MARGIN), ROWS * LINE + 2 * MARGIN
    length = events[-1][0]
    moments[0] = (0, moments[0][1])

    def up(count: int) -> int:  # how far the rows have moved, when there are so many
        return -LINE * max(0, count - ROWS)

    def frames(shift: Callable[[int], int]) -> str:
        return "".join(f"{100 * at / length:.2f}%{{transform:translateY({shift(n)}px)}}" for at, n in moments)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        "<title>From an empty Astro project to a Deployment, with Airlock</title>",
        f"<style>{STYLE}@keyframes up {{{frames(up)}}}\n@keyframes down {{{frames(lambda count: count * LINE)}}}",
        f"@media (prefers-reduced-motion: no-preference) {{ .all {{ animation: up {length}s step-end infinite }}",
        f"  .cover {{ animation: down {length}s step-end infinite }} }}",
        f".all {{ transform: translateY({up(len(rows))}px) }} .cover {{ transform: translateY({len(rows) * LINE}px) }}</style>",
        f'<clipPath id="window"><rect x="0" y="{MARGIN - 4}" width="{width}" height="{ROWS * LINE + 8}"/></clipPath>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<g clip-path="url(#window)"><g transform="translate({MARGIN} {MARGIN})"><g class="all">',
    ]
    for i, row in enumerate(rows):
        spans = "".join(
            f'<tspan class="{style}">{html.escape(text)}</tspan>' if style else html.escape(text) for style, text in joined(row)
        )
        if spans.strip():
            out.append(f'<text y="{i * LINE + 13}">{spans}</text>')
    # What is not there yet lies behind a cover, which moves down.
    out.append(f'<rect class="cover" width="{width}" height="{len(rows) * LINE}" fill="{BACKGROUND}"/>')
    return "\n".join([*out, "</g></g></g></svg>", ""])


def joined(row: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one style become one."""
    out: list[tuple[str, str]] = []
    for style, text in row:
        if out and out[-1][0] == style:
            out[-1] = (style, out[-1][1] + text)
        else:
            out.append((style, text))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airlock", type=Path, default=ROOT / "bin" / "airlock", help="the program; by default what `make build` built")
    parser.add_argument("--check", action="store_true", help="compare with the files that are there, and write nothing")
    options = parser.parse_args()
    events = record(options.airlock.resolve())
    differs = 0
    for name, text in (("walkthrough.cast", as_cast(events)), ("walkthrough.svg", as_svg(events))):
        path = HERE / name
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{name} is not what the commands say today; write it anew with: make walkthrough", file=sys.stderr)
            differs = 1
    return differs


if __name__ == "__main__":
    sys.exit(main())
