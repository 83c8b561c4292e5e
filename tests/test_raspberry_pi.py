"""The service of the tutorial "Your fine-tune on a Raspberry Pi" answers."""

import configparser
import re
import shutil
import socket
import socketserver
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gpt2edge import ModelDir
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "raspberry-pi.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the only block of code in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_it_answers_a_line_with_a_line(
    tiny_model: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model.path, tmp_path / "models" / "tales-int4")
    names: dict[str, Any] = {}
    exec(compile(block("python"), "teller.py", "exec"), names)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), names["Teller"]) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with socket.create_connection(("127.0.0.1", server.server_address[1])) as client:
                client.sendall(b"the king\n" + b"the king " * 300 + b"\n")
                client.shutdown(socket.SHUT_WR)
                answers = client.makefile("rb").read().decode().split("\n")
        finally:
            server.shutdown()
            thread.join()
    assert len(answers) == 3
    assert answers[0]
    assert answers[2] == ""
    assert answers[1].startswith("error: ")


def test_the_unit_has_its_sections() -> None:
    unit = configparser.ConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["ExecStart"].startswith("/home/pi/gpt2edge/bin/python ")
    assert unit["Service"]["ExecStart"].split()[1] in block("python")
