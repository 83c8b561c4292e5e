"""The first ten minutes of two people, in a clean environment, compared by structure.

``GPT2EDGE_JOURNEY_PYTHON`` names another Python, such as one with the wheel alone.
"""

import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
PYTHON: Final = os.environ.get("GPT2EDGE_JOURNEY_PYTHON", sys.executable)
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_PATTERNS: Final = {r"\.\.\.": "(?s:.*)", "<n>": r"[\d,.]+"}
_LONGEST: Final = 60.0
"""Seconds for one command: a hang, not a measure."""


@dataclass
class Step:
    """A command, the lines typed into it, the screen it should show, and its exit code."""

    command: str
    typed: list[str] = field(default_factory=list)
    screen: list[str] = field(default_factory=list)
    code: int = 0


def steps(text: str) -> Iterator[Step]:
    """Read a journey."""
    for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *lines = block.rstrip("\n").split("\n")
        step = Step(command)
        while lines and lines[0].startswith("> "):
            step.typed.append(lines.pop(0)[2:])
        if lines and lines[-1].startswith("exit "):
            step.code = int(lines.pop()[5:])
        step.screen = lines
        yield step


def pattern(screen: list[str]) -> re.Pattern[str]:
    """Return what matches the screen: "..." any text, "<n>" a number, blanks at ends ignored."""
    text = re.escape("\n".join(line.rstrip() for line in screen).strip())
    for mark, expression in _PATTERNS.items():
        text = text.replace(re.escape(mark) if mark == "<n>" else mark, expression)
    return re.compile(text)


def shown(command: str, typed: list[str], home: Path) -> tuple[str, int]:
    """Run a command on a pseudo-terminal; return what a person sees, and the exit code."""
    import pty

    words = command.replace("gpt2edge", f"{PYTHON} -m gpt2edge", 1)
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execve("/bin/sh", ["sh", "-c", f"stty cols 200 -onlcr; exec {words}"], environment)
    seen, left = b"", list(typed)
    while select.select([terminal], [], [], _LONGEST)[0]:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if left and seen.endswith(b"> "):
            os.write(terminal, f"{left.pop(0)}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    lines = _ESCAPES.sub("", seen.decode()).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip(), os.waitstatus_to_exitcode(status)


TERMINAL: Final = list(steps((HERE / "terminal.session").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """An empty home, with a checkpoint of the person's own."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(tiny_checkpoint, folder / "checkpoint")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_at_a_terminal(home: Path) -> None:
    """One test, in order: later steps use what earlier ones wrote."""
    assert TERMINAL
    for step in TERMINAL:
        screen, code = shown(step.command, step.typed, home)
        assert pattern(step.screen).fullmatch(screen), (step.command, screen)
        assert code == step.code, step.command


def test_a_screen_of_another_structure_is_no_match() -> None:
    found = pattern(["The wolf...", "seed  <n>"])
    assert found.fullmatch("The wolf went\nhome.\nseed  1,024.5")
    assert not found.fullmatch("The wolf\nseed  none")
    assert not found.fullmatch("A wolf\nseed  1")
    assert [step.code for step in steps("$ a\nx\nexit 2\n\n$ b\n> y\nz\n")] == [2, 0]


@pytest.mark.slow
def test_inside_a_program(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [PYTHON, "-m", "doctest", "-o", "ELLIPSIS", str(HERE / "embedding.doctest")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
