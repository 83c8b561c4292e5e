"""The recording of a terminal: what was printed is drawn, and its commands are ours."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from html import unescape
from pathlib import Path

import pytest

from gpt2edge.cli.names import COMMANDS

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are of Unix", allow_module_level=True)

from scripts.record_terminal import COLUMNS, PICTURE, SCENES, Style, joined, picture, pieces


def screen(svg: str) -> list[str]:
    """Return the lines that a picture shows in the end."""
    texts = [
        (float(each.get("y", 0)), float(each.get("x", 0)), each.text or "")
        for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    rows: dict[float, str] = {}
    for y, x, text in sorted(texts):
        rows[y] = rows.get(y, "").ljust(round((x - 18) / 7.83)) + text
    return [rows[y] for y in sorted(rows)]


def test_the_screen_has_what_was_printed(tmp_path: Path) -> None:
    command = "printf 'one\\r\\n\\033[1mbold\\033[0m plain\\r\\nwrong\\rright <&>\\n'"
    found = joined(pieces([command, "echo two"], tmp_path))
    assert screen(picture(found)) == [
        f"$ {command}", "one", "bold plain", "right <&>", "$ echo two", "two"
    ]  # fmt: skip
    assert next(piece for piece in found if piece.text == "bold").style == Style(bold=True)
    moments = [piece.moment for piece in found]
    assert moments[0] < moments[-1]


def test_long_lines_are_broken_at_the_last_column(tmp_path: Path) -> None:
    found = pieces([f"printf '%0{COLUMNS + 3}d'  7"], tmp_path)
    assert screen(picture(joined(found)))[-2:] == ["0" * COLUMNS, "007"]


def test_a_command_that_fails_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="false ended with 1"):
        pieces(["false"], tmp_path)


def test_the_published_recording_is_of_these_commands() -> None:
    shown = screen(PICTURE.read_text(encoding="utf-8"))
    assert [line[2:] for line in shown if line.startswith("$ ")] == list(SCENES)
    for scene in SCENES:
        assert re.match(r"gpt2edge (\w+)", unescape(scene))
        assert scene.split()[1] in COMMANDS
