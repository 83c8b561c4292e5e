"""Every option of every command with values that no one should give: one line, nothing written."""

from pathlib import Path
from typing import Final

import click
import pytest

from gpt2edge.cli.app import cli
from gpt2edge.cli.names import COMMANDS
from gpt2edge.model_dir import ModelDir
from tests.cli.running import invoke
from tests.conftest import ROOT

VALUES: Final = (
    "-1",
    "-9223372036854775809",
    "99999999999999999999999",
    "1e999",
    "nan",
    "",
    "\x00",
    "½",
    "../../etc/passwd",
    "{}",
    "\ud800",
)
RUNS_A_MODEL: Final = ("generate", "solve", "score", "perplexity", "tokenize", "branch")


def _arguments(command: str, model: Path, folder: Path) -> list[object]:
    """Arguments with which the command would succeed; a command not listed gets none."""
    text = ROOT / "LICENSE"
    arguments: dict[str, list[object]] = {
        "generate": ["hi", "-n", 2],
        "solve": ["1 2 3 4", "-n", 2, "--max-new-tokens", 2],
        "score": ["a", "b"],
        "perplexity": ["--text", text],
        "tokenize": ["hi"],
        "inspect": [],
        "export": [ROOT / "tests" / "data" / "tiny", folder / "out"],
        "quantize": [model, folder / "out"],
        "evaluate": [model, model, "--text", text, "--no-speed"],
        "doctor": [],
    }
    return arguments.get(command, [])


def _options() -> list[tuple[str, str]]:
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                found.append((name, max(option.opts, key=len)))
    return found


@pytest.mark.parametrize(("command", "option"), _options())
def test_is_one_line_and_leaves_nothing(
    command: str,
    option: str,
    tiny_model: ModelDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, value in enumerate(VALUES):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)  # where an option that names a file would write it
        arguments = _arguments(command, tiny_model.path, folder)
        if command in RUNS_A_MODEL and option != "--model":
            arguments += ["-m", tiny_model.path]
        result = invoke(command, *arguments, f"{option}={value}", stdin="x")
        assert result.exit_code in (0, 1, 2), (value, result.output)
        if result.exit_code:
            errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
            assert len(errors) == 1, (value, result.stderr)
            assert list(folder.iterdir()) == [], value
