"""What a person at a terminal sees of a wait; nobody else sees anything."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event

import pytest

from gpt2edge import ModelDir
from gpt2edge.cli.display import progress as module
from gpt2edge.cli.display.output import note
from gpt2edge.cli.display.progress import ProgressLine, shown, watched
from gpt2edge.quant import INT8, quantize_auto
from gpt2edge.quant.auto import Speed
from tests.cli.running import invoke

HELD = """
import gpt2edge.cli.display.progress as module
class Held(module.ProgressLine):
    def __init__(self, *args):
        super().__init__(*args)
        self._draw()
    def __call__(self, stage, done=0, total=0):
        super().__call__(stage, done, total)
        self._draw()
module.ProgressLine = Held
"""
"""Every stage is drawn, however short it is."""


class Held(ProgressLine):
    """The same in this process."""

    def __init__(self, stream: io.TextIOWrapper, stage: str) -> None:
        super().__init__(stream, stage)
        self._draw()

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        super().__call__(stage, done, total)
        self._draw()


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> None:
    """stderr is a terminal on which every stage is drawn."""
    monkeypatch.setattr(module, "is_terminal", lambda _: True)
    monkeypatch.setattr(module, "ProgressLine", Held)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("a b c d e f g h " * 40, encoding="utf-8")
    return path


def drawn(seen: str) -> list[str]:
    """Every drawing of the line, in order, without the seconds at its end."""
    parts = (part.rstrip() for part in seen.replace("\n", "\r").split("\r"))
    return [part.rpartition("  ")[0] for part in parts if part.endswith(" s")]


def left(seen: str) -> list[str]:
    """The rows that a terminal shows at the end."""
    rows, at = [""], 0
    for character in seen.replace("\r\n", "\n"):
        if character == "\n":
            rows.append("")
        elif character != "\r":
            rows[-1] = rows[-1][:at].ljust(at) + character + rows[-1][at + 1 :]
        at = 0 if character in "\r\n" else at + 1
    return [row.rstrip() for row in rows]


def on_terminal(*args: object) -> tuple[str, bytes]:
    """What a command writes to a pseudo-terminal as stderr, and to a pipe as stdout."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
    script = f"{HELD}\nfrom gpt2edge.cli.main import main\nmain()"
    master, slave = pty.openpty()
    command = [sys.executable, "-c", script, *map(str, args)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave
    ) as process:
        os.close(slave)
        seen = b"".join(_read(master))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, seen
    return seen.decode(), output


def _read(master: int) -> Iterator[bytes]:
    """What comes until the other end is closed, which Linux reports as an error."""
    with os.fdopen(master, "rb", buffering=0) as terminal:
        while True:
            try:
                data = terminal.read(1 << 16)
            except OSError:
                return
            if not data:
                return
            yield data


def moves(seen: Sequence[str], stage: str) -> bool:
    """Whether the stage has a bar that is seen at two places."""
    return len({line for line in seen if line.startswith(f"{stage}  [")}) > 1


@pytest.mark.slow
def test_quantize_moves_on_a_terminal(tiny_model: ModelDir, tmp_path: Path) -> None:
    seen, output = on_terminal("quantize", tiny_model.path, tmp_path / "out")
    assert output == b""
    assert moves(drawn(seen), "rounding weights")
    (line, rest) = left(seen)
    assert line.startswith(f"{tmp_path / 'out'} (int8): ")
    assert rest == ""


def test_generate_leaves_nothing_of_its_waits(tiny_model: ModelDir) -> None:
    seen, output = on_terminal(
        "generate", "-m", tiny_model.path, "-n", 4, "--temperature", 1, "a b c d " * 8
    )
    stages = drawn(seen)
    assert stages[0].startswith("loading ")
    assert any(stage.startswith("reading the prompt  [####") for stage in stages)
    assert left(seen) == [""]
    assert output


@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize(
    ("command", "moving", "said"),
    [
        ("export {checkpoint} {out}", ["writing tensors", "computing the reference"], "hashing"),
        ("quantize {model} {out} --recipe int4-mixed", ["rounding each weight alone"], "hashing"),
        ("quantize {model} {out} --rounding compensate", ["measuring inputs"], "having the model"),
        ("quantize {model} {out} --calibrate {text}", ["reading the text"], "writing the other"),
        ("quantize {model} {out} --text {text}", ["predicting the text"], "completing prompts"),
        (
            "evaluate {model} {model} --text {text} --context 32",
            ["predicting the text"],
            "loading the models",
        ),
        ("perplexity -m {model} --text {text} --context 32", ["scoring"], "loading"),
        ("bench {model} -p 8 -n 2 -r 2", ["measuring"], "loading"),
        ("generate -m {model} --json -n 4 hi", [], "writing, 3 tokens so far"),
        ("generate -m {model} --samples 2 -n 4 --temperature 1 hi", [], "writing, "),
        ("score -m {model} hi ho", [], "scoring"),
        ("solve -m {model} --samples 2 -n 4 hi", [], "searching"),
        ("branch -m {model} -n 2 hi", [], "growing the tree"),
        ("inspect {model}", [], "hashing every file"),
    ],
)
def test_every_wait_says_what_it_is(
    command: str,
    moving: list[str],
    said: str,
    tiny_checkpoint: Path,
    tiny_model: ModelDir,
    text: Path,
    tmp_path: Path,
) -> None:
    places = {"checkpoint": tiny_checkpoint, "model": tiny_model.path, "text": text}
    words = [word.format(**places, out=tmp_path / "out") for word in command.split()]
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr
    stages = drawn(result.stderr)
    assert any(stage.startswith(said) for stage in stages), stages
    for stage in moving:
        assert moves(stages, stage), stages
    assert not any(row.endswith(" s") for row in left(result.stderr))


@pytest.mark.slow
def test_auto_tells_whose_stage_it_is(tiny_model: ModelDir, tmp_path: Path) -> None:
    seen: list[str] = []
    quantize_auto(
        tiny_model,
        tmp_path / "out",
        candidates=[INT8],
        stopwatch=lambda _: Speed(1.0, 1.0),
        progress=lambda stage, *_: seen.append(stage),
    )
    told = ["int8: rounding weights", "int8: measuring its speed", "int8: measuring its loss"]
    assert [stage for stage in dict.fromkeys(seen) if stage in told] == told


def test_a_pipe_gets_no_line(tiny_model: ModelDir, tmp_path: Path) -> None:
    result = invoke("quantize", tiny_model.path, tmp_path / "out")
    assert result.stderr.startswith(f"{tmp_path / 'out'} (int8): ")
    assert result.stderr.count("\n") == 1


class Screen(io.StringIO):
    """A terminal that says when something was drawn on it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        self.drawn.set()
        return written


def test_the_line_moves_by_itself_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(module, "SHOWN_AFTER", 0.0)
    monkeypatch.setattr(sys, "stderr", screen)
    with watched("a long operation"):
        assert screen.drawn.wait(60)
        with watched("a part of it") as progress:
            assert progress is not None
            progress("counting", 1, 2)
        note("a note")
    assert drawn(screen.getvalue())[0] == "a long operation ..."
    assert "a note" in left(screen.getvalue())
    assert left(screen.getvalue())[-1] == ""


def test_a_short_wait_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(module, "SHOWN_AFTER", 3600.0)
    monkeypatch.setattr(sys, "stderr", screen)
    with watched("a short one"):
        pass
    assert screen.getvalue() == ""


def test_what_the_line_shows() -> None:
    assert shown("loading m", 0, 0, 12.4) == "loading m ...  12 s"
    bar = "#" * 12 + "-" * 12
    assert shown("rounding", 1_000, 2_000, 3) == f"rounding  [{bar}]  1,000 of 2,000  3 s"
    assert shown("x" * 99, 0, 0, 5, width=20) == "x" * 8 + "... ...  5 s"
    assert len(shown("x" * 99, 1, 2, 5, width=60)) == 60
