"""docs/cli.md is what --help says, and every command's help is whole."""

import os
import subprocess
import sys
from typing import Final

import click
import pytest

from gpt2edge.cli.app import cli
from gpt2edge.cli.names import COMMANDS
from gpt2edge.cli.reference import render
from tests.cli.running import output
from tests.conftest import ROOT

_LIMIT: Final = 40


def test_reference_is_fresh() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == render(), "run: make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    text = output(name, "-h")
    assert text == output(name, "--help")
    assert "Example" in text
    assert f"  gpt2edge {name} " in text or f"  gpt2edge {name}\n" in text
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    unexplained = [
        param.name for param in command.params if isinstance(param, click.Option) and not param.help
    ]
    assert not unexplained


def test_version() -> None:
    from gpt2edge import __version__

    assert output("--version") == f"gpt2edge, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_printed_as_documented(shell: str) -> None:
    variable = {"_GPT2EDGE_COMPLETE": f"{shell}_source"}
    assert f"_GPT2EDGE_COMPLETE={shell}_source gpt2edge" in render()
    program = "import sys; from gpt2edge.cli.main import main; sys.argv = ['gpt2edge']; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **variable},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_GPT2EDGE_COMPLETE" in done.stdout


def test_colour_follows_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    def doctor() -> str:
        return CliRunner().invoke(cli, ["doctor"], color=True).stdout

    assert "\x1b[1m" in doctor()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in doctor()
