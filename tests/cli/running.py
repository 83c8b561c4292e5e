"""Running commands: inside the process, and as a person does."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

from click.testing import CliRunner, Result

from gpt2edge.cli.app import cli


def invoke(*args: object, stdin: str | bytes | None = None) -> Result:
    """Run a command inside this process; stdin is a pipe, never a terminal."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin, prog_name="gpt2edge")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def output(*args: object, stdin: str | bytes | None = None) -> str:
    """Its stdout; the command must succeed."""
    result = invoke(*args, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def output_json(*args: object, stdin: str | bytes | None = None) -> dict[str, Any]:
    """Its one JSON object."""
    (line,) = output(*args, "--json", stdin=stdin).splitlines()
    value: dict[str, Any] = json.loads(line)
    return value


def error(*args: object, stdin: str | bytes | None = None, code: int = 1) -> str:
    """The one line on stderr of a command that fails; nothing may be on stdout."""
    result = invoke(*args, stdin=stdin)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert code == 2 or len(result.stderr.splitlines()) == 1
    return last


def start(
    args: Sequence[object], *, stdin: int | IO[bytes] = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """A true process, with pipes for stdout and stderr."""
    command = [sys.executable, "-m", "gpt2edge", *map(str, args)]
    return subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
