"""One HTML page of a prompt: tokens with attention, lens, attribution, neurons, importance, heads.

A single file that loads nothing: its script is inline, and the page's policy names its SHA-256.
Attention is one byte a weight. The lens and the importance are there without the script, too.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np

from gpt2edge.graph import names
from gpt2edge.inside.lens import LensResult
from gpt2edge.inside.pictures import layer_label
from gpt2edge.inside.report import Look
from gpt2edge.inside.words import visible
from gpt2edge.runtime.arrays import FloatArray

LONGEST: Final = 256
"""Tokens of a page; attention grows with their square."""
_PARTS: Final = 12
"""Parts and neurons that are shown of each position."""
_NEXT: Final = 5
_DARK: Final = 0.8
_FOLDER: Final = Path(__file__).parent
_FOOTER: Final = (
    "Written by gpt2edge look. Nothing here is fetched or sent. Small models show little: the "
    "bundled one has no head that copies from earlier text, and its first rows of the lens are "
    "noise."
)


def page(look: Look, *, title: str = "Inside the model") -> str:
    """Return the page. Raises ValueError for more than 256 tokens."""
    data = page_data(look)
    lens = look.lens(top=1)
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    important = look.importance()
    config, manifest = look.scope.config, look.scope.model.manifest
    facts = (
        f"{manifest.recipe_name}, {config.n_layer} blocks of {config.n_head} heads, "
        f"{len(look.token_ids)} tokens"
    )
    template = Template((_FOLDER / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=escape(title),
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        facts=escape(facts),
        said=escape(_said(data)),
        tokens="".join(f'<span class="token">{escape(each)}</span>' for each in data["tokens"]),
        lens=_lens_table(look, lens),
        target=f"<b>{escape(visible(important.target))}</b>",
        importance=_bars(list(zip(data["tokens"], important.nats, strict=True))),
        footer=escape(_FOOTER),
        data=_embedded(data),
        script=script,
    )


def page_data(look: Look) -> dict[str, Any]:
    """Return what the page's script reads: plain values, attention as base64.

    Raises ValueError for more than 256 tokens.
    """
    tokens, config = len(look.token_ids), look.scope.config
    if tokens > LONGEST:
        raise ValueError(
            f"the prompt has {tokens} tokens and a page holds {LONGEST}: give a shorter prompt"
        )
    layer, head = _liveliest(look)
    parts, neurons = _contributions(look)
    return {
        "tokens": [visible(token) for token in look.cache.tokens],
        "layers": config.n_layer,
        "heads": config.n_head,
        "layer": layer,
        "head": head,
        "attention": _attention(look),
        "next": _next(look),
        "attribution": parts,
        "neurons": neurons,
    }


def _attention(look: Look) -> str:
    """Return the lower triangles of all heads, one byte a weight."""
    rows, columns = np.tril_indices(len(look.token_ids))
    pieces = [
        np.rint(255 * look.cache["pattern", layer][:, rows, columns]).astype(np.uint8).tobytes()
        for layer in range(look.scope.config.n_layer)
    ]
    return base64.b64encode(b"".join(pieces)).decode()


def _liveliest(look: Look) -> tuple[int, int]:
    """Return the head that looks back most, which is the one to begin with."""
    back = [
        1 - np.trace(look.cache["pattern", layer], axis1=1, axis2=2) / len(look.token_ids)
        for layer in range(look.scope.config.n_layer)
    ]
    at = int(np.argmax(np.stack(back)))
    return at // look.scope.config.n_head, at % look.scope.config.n_head


def _next(look: Look) -> list[list[tuple[str, float]]]:
    """Return the likeliest tokens after each position, and their probabilities."""
    last = look.report(top=_NEXT).cells[-1]
    return [
        [
            (visible(token), round(prob, 4))
            for token, prob in zip(cell.tokens, cell.probs, strict=True)
        ]
        for cell in last
    ]


def _contributions(look: Look) -> tuple[list[Any], list[Any]]:
    """Return the parts and the neurons that added most to each position's likeliest token."""
    cache, tensors, config = look.cache, look.scope.tensors, look.scope.config
    rows = tensors.unembedding(look.logits.argmax(axis=1))  # [pos, d_model]
    direction = rows * tensors.read(names.weight(names.LN_F))
    direction = (direction - direction.mean(axis=1, keepdims=True)) / cache["ln_final.hook_scale"]
    labels, values = ["embed", "pos_embed"], [_along(cache["embed"], direction)]
    values.append(_along(cache["pos_embed"], direction))
    best: list[list[tuple[str, float]]] = [[] for _ in look.token_ids]
    for layer in range(config.n_layer):
        results = cache["result", layer]  # [pos, head, d_model]
        labels += [f"L{layer}H{head}" for head in range(config.n_head)] + [f"{layer}_mlp_out"]
        values += [_along(results[:, head], direction) for head in range(config.n_head)]
        values.append(_along(cache["mlp_out", layer], direction))
        weight = tensors.read(names.weight(f"h.{layer}.{names.MLP_C_PROJ}"))
        added = cache["post", layer] * (direction @ weight.T)  # [pos, d_mlp]
        for at, row in enumerate(added):
            best[at] += _top(row, [f"L{layer}N{n}" for n in _largest(row)])
    table = np.stack(values, axis=1)  # [pos, part]
    parts = [_top(row, [labels[at] for at in _largest(row)]) for row in table]
    neurons = [sorted(found, key=lambda each: -abs(each[1]))[:_PARTS] for found in best]
    return parts, neurons


def _along(vectors: FloatArray, direction: FloatArray) -> FloatArray:
    return np.asarray((vectors * direction).sum(axis=1), np.float32)


def _largest(row: FloatArray) -> list[int]:
    found: list[int] = np.argsort(-np.abs(row), kind="stable")[:_PARTS].tolist()
    return found


def _top(row: FloatArray, labels: Sequence[str]) -> list[tuple[str, float]]:
    values = (round(float(row[at]), 3) for at in _largest(row))
    return list(zip(labels, values, strict=True))


def _lens_table(look: Look, lens: LensResult) -> str:
    """Return the lens as a table of HTML, the newest layer on top."""
    tokens = "".join(
        f'<th scope="col" data-at="{at}">{escape(visible(token))}</th>'
        for at, token in enumerate(look.cache.tokens)
    )
    rows = []
    for row in reversed(range(len(lens.labels))):
        cells = []
        for at, (ids, values) in enumerate(zip(lens.top_ids[row], lens.values[row], strict=True)):
            prob = float(np.exp(values[0]))
            word = escape(visible(look.scope.token(int(ids[0]))))
            dark = ' class="dark"' if prob > _DARK else ""
            cells.append(
                f'<td data-at="{at}"{dark} title="{prob:.3f}" '
                f'style="background:rgba(var(--shade),{prob:.3f})">{word}</td>'
            )
        label = escape(layer_label(lens.labels[row]))
        rows.append(f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>')
    head = f'<thead><tr><th scope="col">block</th>{tokens}</tr></thead>'
    return f'<table id="lens">{head}<tbody>{"".join(rows)}</tbody></table>'


def _bars(pairs: Sequence[tuple[str, float]]) -> str:
    """Return items with a bar each, as the script draws them."""
    top = max((abs(value) for _, value in pairs), default=0) or 1.0
    return "".join(
        f'<li style="background:linear-gradient(90deg,rgba(var({_colour(value)}),.4) '
        f'{100 * abs(value) / top:.1f}%,transparent 0)"><span>{escape(name)}</span>'
        f"<span>{value:+.2f}</span></li>"
        for name, value in pairs
    )


def _colour(value: float) -> str:
    return "--minus" if value < 0 else "--shade"


def _said(data: dict[str, Any]) -> str:
    words = ", ".join(f"{word} {prob:.3f}" for word, prob in data["next"][-1])
    return f"After {data['tokens'][-1]}: {words}"


def _embedded(data: dict[str, Any]) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
