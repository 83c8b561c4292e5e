"""Pictures as SVG text: the logit lens, attention, patching. No plotting library is needed.

Words are text; a heat map is a small PNG in the SVG, each of its pixels a cell. Pictures have a
white ground of their own, so that they are as legible on a dark page.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int
from gpt2edge.inside.cache import ActivationCache
from gpt2edge.inside.lens import LensResult
from gpt2edge.inside.scope import Inside
from gpt2edge.inside.words import visible

_INK: Final = np.array([228.0, 147.0, 87.0])
"""What white loses where a cell is full: #1b6ca8 remains."""
_CELL_HEIGHT: Final = 20
_CHARACTER: Final = 7.2
_DARK: Final = 0.55
"""From here on words are white."""


def lens(scope: Inside, result: LensResult) -> str:
    """Draw the likeliest token of each layer, shaded by its probability; a row a layer.

    ``result`` must have log-probabilities of the ``top_k`` likeliest. The value is its title.
    """
    tokens = [visible(scope.token(result.token_ids[at])) for at in result.positions]
    words = [[visible(scope.token(int(ids[0]))) for ids in row] for row in result.top_ids]
    probs = np.exp(result.values[..., 0].astype(np.float64))
    left, widths = 64.0, _widths([tokens, *words])
    body = _header(tokens, left, widths)
    for row in range(len(words)):
        y = (len(words) - row) * _CELL_HEIGHT + 4
        body.append(_text(left - 6, y + 14, layer_label(result.labels[row]), "end"))
        x = left
        for word, prob, width in zip(words[row], probs[row], widths, strict=True):
            body.append(_cell(x, y, width, word, float(prob)))
            x += width
    height = (len(words) + 1) * _CELL_HEIGHT + 10
    return _svg(left + sum(widths) + 6, height, body, "Logit lens: the likeliest token by layer")


def attention(cache: ActivationCache, layer: int | None = None, head: int | None = None) -> str:
    """Draw attention, a row a query and a column a key: of one head, or of all as a grid.

    Raises ValueError for a layer or head that does not exist.
    """
    if layer is None or head is None:
        return _all_heads(cache)
    check_int("layer", layer, 0, cache.config.n_layer - 1)
    check_int("head", head, 0, cache.config.n_head - 1)
    pattern = cache["pattern", layer][head]
    words = [visible(token) for token in cache.tokens]
    rows = [words[at] for at in cache.positions]
    return heat_map(pattern, rows, words, title=f"Attention of layer {layer}, head {head}")


def heat_map(
    values: NDArray[Any], rows: Sequence[str], columns: Sequence[str], *, title: str
) -> str:
    """Draw values from 0 to 1, [rows, columns], with words on both sides."""
    side, left = 18.0, 10 + _CHARACTER * max(map(len, rows), default=0)
    top = 10 + _CHARACTER * max(map(len, columns), default=0)
    width, height = side * len(columns), side * len(rows)
    body = [_image(values, left, top, width, height)]
    body += [_text(left - 5, top + (at + 0.7) * side, word, "end") for at, word in enumerate(rows)]
    for at, word in enumerate(columns):
        x = left + (at + 0.7) * side
        turn = f' transform="rotate(-90 {x:.1f} {top - 5:.1f})"'
        body.append(f'<text x="{x:.1f}" y="{top - 5:.1f}"{turn}>{escape(word)}</text>')
    for at, row in enumerate(values):
        best = int(np.argmax(row))
        said = f"{rows[at]}: most on {columns[best]}, {float(row[best]):.2f}"
        body.append(
            f'<rect x="{left}" y="{top + at * side:.1f}" width="{width}" height="{side}" '
            f'fill="none"><title>{escape(said)}</title></rect>'
        )
    return _svg(left + width + 10, top + height + 10, body, title)


def _all_heads(cache: ActivationCache) -> str:
    """Draw one small picture a head, a row a layer."""
    side, left, top = 72, 40, 24
    n_layer, n_head = cache.config.n_layer, cache.config.n_head
    body = [_text(left + (h + 0.5) * (side + 4), 16, f"head {h}", "middle") for h in range(n_head)]
    for layer in range(n_layer):
        y = top + layer * (side + 4)
        body.append(_text(left - 5, y + side / 2, str(layer), "end"))
        for head, pattern in enumerate(cache["pattern", layer]):
            x = left + head * (side + 4)
            body.append(f"<g><title>layer {layer}, head {head}</title>")
            body.append(_image(pattern, x, y, side, side))
            body.append(f'<rect x="{x}" y="{y}" width="{side}" height="{side}" class="edge"/></g>')
    width, height = left + n_head * (side + 4) + 6, top + n_layer * (side + 4) + 6
    return _svg(width, height, body, "Attention of every head, a row a layer")


def layer_label(label: str) -> str:
    """Name a row of the lens by the block before it: "0_pre" is "embed", "3_pre" is "2"."""
    if label == "final_post":
        return "last"
    layer, _, kind = label.partition("_")
    if kind == "mid":
        return f"{layer} mid"
    return "embed" if layer == "0" else str(int(layer) - 1)


def png(values: NDArray[Any]) -> bytes:
    """Return a PNG of values from 0 to 1, [height, width]: white to blue."""
    shade = 255 - np.clip(np.asarray(values, np.float64), 0, 1)[..., None] * _INK
    pixels = np.rint(shade).astype(np.uint8)  # [height, width, 3]
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def _image(values: NDArray[Any], x: float, y: float, width: float, height: float) -> str:
    data = base64.b64encode(png(values)).decode()
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{data}"/>'
    )


def _widths(rows: Sequence[Sequence[str]]) -> list[float]:
    """Return the width of each column: that of its longest word."""
    return [12 + _CHARACTER * max(map(len, column)) for column in zip(*rows, strict=True)]


def _header(tokens: Sequence[str], left: float, widths: Sequence[float]) -> list[str]:
    found, x = [], left
    for token, width in zip(tokens, widths, strict=True):
        found.append(f'<text x="{x + 4:.1f}" y="17" font-weight="bold">{escape(token)}</text>')
        x += width
    return found


def _cell(x: float, y: float, width: float, word: str, value: float) -> str:
    red, green, blue = (int(part) for part in np.rint(255 - value * _INK))
    ink = ' fill="#fff"' if value >= _DARK else ""
    return (
        f"<g><title>{escape(word)} {value:.3f}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_CELL_HEIGHT}" '
        f'fill="rgb({red},{green},{blue})"/>'
        f'<text x="{x + 4:.1f}" y="{y + 14}"{ink}>{escape(word)}</text></g>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, body: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.1f} {height:.1f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(title)}" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12" fill="#1b1b1b">\n'
        f"<title>{escape(title)}</title>\n"
        "<style>.edge { fill: none; stroke: #9aa4ad; stroke-width: .5; }</style>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )
