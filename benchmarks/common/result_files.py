"""Result rows as JSON lines, and what every table of them needs."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

Row: TypeAlias = dict[str, Any]
RESULTS: Final = Path(__file__).resolve().parents[1] / "results"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that ``write_rows`` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def source_line(row: Row) -> str:
    """The command, the machine and the versions behind a table."""
    machine = row["machine"]
    features = ", ".join(machine["cpu_features"])
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return (
        f"`{row['command']}` at commit {row['git_commit']}, {row['test_time']}; {machine['cpu']} "
        f"({features}), {machine['cores']} cores, {row['threads']} threads, governor "
        f"{machine['governor'] or 'not readable'}, {machine['system']}, "
        f"Python {machine['python']}; {versions}."
    )


def folder_name(folder: Path) -> str:
    """A model's folder as a command of anyone's would name it, from the repository's root.

    Quantized benchmark models are where ``--work`` has them by default.
    """
    path, root = folder.resolve(), RESULTS.parents[1]
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return f"build/bench/{path.name}" if path.parent.name == "bench" else path.name


def text_facts(text: Path) -> Row:
    """The part of a row that says which text was read: its file's name and checksum."""
    return {"text": text.name, "text_sha256": hashlib.sha256(text.read_bytes()).hexdigest()}


def line(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
