"""Play a journey, the first ten minutes of somebody: ``python -m tests.journeys.play [NAME]...``.

A journey is a file of commands, each after ``$ ``, and of what the terminal shows after it: numbers
are ``#``, blanks are one blank, and ``...`` stands for any text, or any lines if alone in a line.
The commands run in a pseudo-terminal, in an empty folder and home but for a checkpoint,
``my-finetune``; gpt2edge is that of this Python's environment. ``--write`` fills in what is seen.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.record_terminal import CHECKPOINT, pieces

HERE: Final = Path(__file__).resolve().parent
_NUMBER: Final = re.compile(r"(?<![\w.])[+-]?\d+(,\d{3})*(\.\d+)*(e[+-]?\d+)?")
ANY: Final = "..."


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the lines that it should show."""

    command: str
    shown: tuple[str, ...]


def read(path: Path) -> list[Step]:
    """Read a journey; lines that begin with ``# `` before the first command are remarks."""
    steps: list[Step] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], ()))
        elif steps and line.strip():
            steps[-1] = Step(steps[-1].command, (*steps[-1].shown, line))
    return steps


def played(commands: Sequence[str]) -> Iterator[list[str]]:
    """Run the commands one after the other in one folder; yield what each shows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "my-finetune").symlink_to(CHECKPOINT)
        for command in commands:
            rows: dict[int, str] = {}
            for piece in sorted(
                pieces([f"{command} || true"], folder), key=lambda each: (each.line, each.column)
            ):
                rows[piece.line] = rows.get(piece.line, "").ljust(piece.column) + piece.text
            del rows[0]  # the command itself
            yield [plain(rows[line]) for line in sorted(rows) if plain(rows[line])]


def plain(line: str) -> str:
    """Return the structure of a line: no figures, no columns."""
    return re.sub(r"\s+", " ", _NUMBER.sub("#", line)).strip()


def agrees(expected: Sequence[str], seen: Sequence[str]) -> bool:
    """Tell whether what was seen has the structure that was expected."""
    parts = [
        r"(?:[^\n]*\n)*" if line == ANY else _pattern(line) + r"\n" for line in map(plain, expected)
    ]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in seen)) is not None


def _pattern(line: str) -> str:
    return r"[^\n]*".join(map(re.escape, line.split(ANY)))


def differences(path: Path) -> Iterator[str]:
    """Play a journey; yield a report for each command that shows something else."""
    steps = read(path)
    for step, seen in zip(steps, played([step.command for step in steps]), strict=True):
        if not agrees(step.shown, seen):
            expected, found = "\n    ".join(step.shown), "\n    ".join(seen)
            yield f"$ {step.command}\n  expected\n    {expected}\n  seen\n    {found}"


def write(path: Path) -> None:
    """Replace what a journey expects by what is seen."""
    head = path.read_text(encoding="utf-8").split("$ ", 1)[0]
    steps = read(path)
    parts = [
        "\n".join([f"$ {step.command}", *seen])
        for step, seen in zip(steps, played([step.command for step in steps]), strict=True)
    ]
    path.write_text(head + "\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    """Play the journeys named, or all; exit with 1 if one differs."""
    names = sys.argv[1:]
    if names[:1] == ["--write"]:
        for name in names[1:]:
            write(HERE / f"{name}.txt")
        return
    failed = False
    for path in [HERE / f"{name}.txt" for name in names] or sorted(HERE.glob("*.txt")):
        print(f"{path.stem}: {len(read(path))} commands")
        for report in differences(path):
            print(report)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
