"""Record commands in a terminal as an animated SVG: ``python -m scripts.record_terminal``.

Each command of ``SCENES`` runs in a pseudo-terminal, in an empty folder beside a checkpoint. What
it prints, with its colours and the moments at which it came, becomes a picture. Waits are
shortened to ``LONGEST_PAUSE``; nothing else is changed.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from time import perf_counter
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "images" / "terminal.svg"
CHECKPOINT: Final = ROOT / "training" / "models" / "storyteller"
SCENES: Final = (
    'gpt2edge generate --echo --seed 7 -n 60 "The wolf"',
    "gpt2edge export my-finetune models/tales",
    "gpt2edge quantize models/tales models/tales-int4 --recipe int4-decode",
    "gpt2edge evaluate models/tales models/tales-int4 --text held-out.txt",
)
COLUMNS: Final = 92
LONGEST_PAUSE: Final = 0.8

_TYPING, _BETWEEN = 0.02, 0.9
_CHAR, _LINE, _PAD, _BAR = 7.83, 18, 18, 34
"""Pixels: width of a character at 13 px, height of a line, around the text, the window's title."""
_INK, _PAPER, _PALE, _PROMPT = "#e6edf3", "#0d1117", "#8b949e", "#7ee787"
_COLORS: Final = {31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff"} | {
    36: "#76e3ea"
}
_ESCAPE: Final = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])")


@dataclass(frozen=True, slots=True)
class Style:
    """How a piece of text looks."""

    bold: bool = False
    dim: bool = False
    color: str = _INK

    def changed(self, codes: str) -> "Style":
        """Apply the codes of a sequence that sets the style."""
        style = self
        for code in map(int, filter(None, codes.split(";") if codes else ["0"])):
            if code == 0:
                style = Style()
            elif code in (1, 2):
                style = replace(style, bold=code == 1, dim=code == 2)
            elif code in _COLORS:
                style = replace(style, color=_COLORS[code])
        return style


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that appeared at ``moment`` in seconds, in a line and a column."""

    moment: float
    line: int
    column: int
    text: str
    style: Style


def run(command: str, folder: Path) -> Iterator[tuple[float, str]]:
    """Run a command in a pseudo-terminal; yield seconds since its start, and what it printed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    began = perf_counter()
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
    )
    os.close(slave)
    left = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not data:
            break
        left += data
        text = left.decode("utf-8", errors="ignore")
        left = b"" if text.encode() == left else left[len(text.encode()) :]
        yield perf_counter() - began, text
    os.close(master)
    if process.wait():
        raise SystemExit(f"{command} ended with {process.returncode}")


def pieces(scenes: Sequence[str], folder: Path) -> list[Piece]:
    """Run all commands; return what stands on the screen in the end, and since when."""
    found: list[Piece] = []
    now, line = 0.4, 0
    for command in scenes:
        found.append(Piece(now, line, 0, "$", Style(color=_PROMPT)))
        for column, letter in enumerate(command):
            now += _TYPING
            found.append(Piece(now, line, 2 + column, letter, Style(bold=True)))
        line, column, last, style = line + 1, 0, 0.0, Style()
        now += 0.2
        for moment, text in run(command, folder):
            now += min(moment - last, LONGEST_PAUSE)
            last = moment
            at = 0
            for match in [*_ESCAPE.finditer(text), None]:
                end = match.start() if match else len(text)
                for part in re.findall(r"\r\n|[\r\n]|[^\r\n]+", text[at:end]):
                    if part in ("\r\n", "\n"):
                        line, column = line + 1, 0
                    elif part == "\r":
                        column = 0
                    else:
                        column, line = _placed(found, now, line, column, part, style)
                if match:
                    at = match.end()
                    style = style.changed(match[1]) if match[2] == "m" else style
        line, now = line + 1 + (column > 0), now + _BETWEEN
    return [piece for piece in found if piece.text.strip()]


def _placed(
    found: list[Piece], now: float, line: int, column: int, text: str, style: Style
) -> tuple[int, int]:
    """Add a text, broken at the last column; it replaces what stood in its place."""
    while text:
        head, text = text[: COLUMNS - column], text[COLUMNS - column :]
        end = column + len(head)
        found[:] = [
            piece
            for piece in found
            if piece.line != line or piece.column >= end or piece.column + len(piece.text) <= column
        ]
        found.append(Piece(now, line, column, head, style))
        column, line = (end, line) if end < COLUMNS else (0, line + 1)
    return column, line


def picture(found: Sequence[Piece]) -> str:
    """Draw a window with every piece, which appears at its moment where animations are shown."""
    lines = 1 + max(piece.line for piece in found)
    width, height = 2 * _PAD + _CHAR * COLUMNS, _BAR + 2 * _PAD + _LINE * lines
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, '
        'DejaVu Sans Mono, monospace" font-size="13">',
        "<title>gpt2edge in a terminal: generate, export, quantize, evaluate</title>",
        "<style>@keyframes s{from{opacity:0}}text{white-space:pre;animation:s 1ms both}"
        "@media(prefers-reduced-motion:reduce){text{animation:none!important}}</style>",
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="{_PAPER}"/>',
    ]
    parts += [
        f'<circle cx="{22 + 18 * at}" cy="18" r="5.5" fill="{color}"/>'
        for at, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    ]
    parts += [_drawn(piece) for piece in found]
    return "\n".join([*parts, "</svg>", ""])


def _drawn(piece: Piece) -> str:
    x, y = _PAD + _CHAR * piece.column, _BAR + _PAD + _LINE * piece.line + 9
    weight = ' font-weight="bold"' if piece.style.bold else ""
    color = _PALE if piece.style.dim else piece.style.color
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{color}"{weight} '
        f'textLength="{_CHAR * len(piece.text):.1f}" '
        f'style="animation-delay:{piece.moment:.2f}s">{escape(piece.text)}</text>'
    )


def joined(found: Sequence[Piece]) -> list[Piece]:
    """Join neighbours that appeared together, as the letters of a word in one moment."""
    result: list[Piece] = []
    for piece in sorted(found, key=lambda each: (each.line, each.column)):
        last = result[-1] if result else None
        if (
            last is not None
            and (last.line, last.column + len(last.text)) == (piece.line, piece.column)
            and last.style == piece.style
            and abs(last.moment - piece.moment) < 0.03
        ):
            result[-1] = replace(last, text=last.text + piece.text)
        else:
            result.append(piece)
    return result


def main() -> None:
    """Record, with the held-out text given as the only argument."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m scripts.record_terminal HELD_OUT.txt")
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "my-finetune").symlink_to(CHECKPOINT)
        (folder / "held-out.txt").write_text(text, encoding="utf-8")
        PICTURE.write_text(picture(joined(pieces(SCENES, folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
