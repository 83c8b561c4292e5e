"""Families: the tensors of GPT-2's relatives under GPT-2's names and in its layout.

GPT-2 stores the matrix of a product as [in, out], queries, keys and values side by side in
``attn.c_attn``. The names on the left are those of transformers' modules:

    openai-gpt    tokens_embed, positions_embed; the rest is GPT-2's
    gpt_neo       h.N.attn.attention.{q,k,v,out}_proj, [out, in]; no bias for q, k and v
    gpt_bigcode   GPT-2's names, [out, in]; with multi_query one head of keys and values, else
                  the rows of c_attn lie head by head
    opt, biogpt   layers.N.{self_attn.{q,k,v,out}_proj, fc1, fc2, ...}, [out, in]; two positions
                  before the first; biogpt's embeddings are times the root of their width
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError
from gpt2edge.export.sources.tensors import (
    Joined,
    Readable,
    Reordered,
    Rows,
    Scaled,
    Transposed,
    Zeros,
)
from gpt2edge.graph import names
from gpt2edge.graph.names import Block

Tensors: TypeAlias = Mapping[str, Readable]

_WTE, _WPE = names.weight(names.WTE), names.weight(names.WPE)
_PRODUCTS: Final = (names.C_ATTN, names.ATTN_C_PROJ, names.C_FC, names.MLP_C_PROJ)
_QKV: Final = ("q", "k", "v")
_UNUSED_POSITIONS: Final = 2  # before the first; transformers' own offset
_PREFIXES: Final = re.compile(r"(?:model\.)?(?:decoder|biogpt)\.")
_BUFFERS: Final = re.compile(r"h\.\d+\.attn\.attention\.(?:bias|masked_bias)")


def gpt2_names(
    keys: Mapping[str, Any], config: ModelConfig, tensors: Tensors
) -> dict[str, Readable]:
    """Return the tensors of a model by GPT-2's names; nothing is read.

    ``keys`` are those of config.json. Names that are of no part of the transformer stay as they
    are. Raises ExportError where one of three parts that are joined is missing.
    """
    rename = _RENAMES.get(config.architecture)
    return dict(tensors) if rename is None else dict(rename(keys, config, tensors))


def _openai_gpt(
    _keys: Mapping[str, Any], _config: ModelConfig, tensors: Tensors
) -> Iterator[tuple[str, Readable]]:
    own = {"tokens_embed.weight": _WTE, "positions_embed.weight": _WPE}
    yield from ((own.get(name, name), tensor) for name, tensor in tensors.items())


def _gpt_neo(
    _keys: Mapping[str, Any], config: ModelConfig, tensors: Tensors
) -> Iterator[tuple[str, Readable]]:
    joined = set[str]()
    for block in map(Block, _layers(tensors, "h")):
        base = f"{block}.attn.attention"
        yield names.weight(block.part(names.C_ATTN)), _joined(tensors, base, "weight")
        first = names.bias(f"{base}.q_proj")
        yield names.bias(block.part(names.C_ATTN)), Zeros(first, (3 * config.n_embd,))
        joined |= {f"{base}.{part}_proj.weight" for part in _QKV}
    for name, tensor in tensors.items():
        if name not in joined and not _BUFFERS.fullmatch(name):
            yield _in_layout(name.replace("attn.attention.out_proj", names.ATTN_C_PROJ), tensor)


def _gpt_bigcode(
    _keys: Mapping[str, Any], config: ModelConfig, tensors: Tensors
) -> Iterator[tuple[str, Readable]]:
    # rows lie [head, (q, k, v), head_dim]; GPT-2's lie [(q, k, v), head, head_dim]
    n_head, d = config.n_head, config.head_dim
    order = tuple(
        (head * 3 + part) * d + i for part in range(3) for head in range(n_head) for i in range(d)
    )
    for name, tensor in tensors.items():
        by_head = config.kv_heads is None and f".{names.C_ATTN}." in name
        whole = tensor.shape[:1] == (len(order),)  # other shapes are told of later
        yield _in_layout(name, Reordered(tensor, order) if by_head and whole else tensor)


def _opt(
    _keys: Mapping[str, Any], _config: ModelConfig, tensors: Tensors
) -> Iterator[tuple[str, Readable]]:
    yield from _decoder(tensors, last_norm="final_layer_norm")


def _biogpt(
    keys: Mapping[str, Any], config: ModelConfig, tensors: Tensors
) -> Iterator[tuple[str, Readable]]:
    scale = math.sqrt(config.n_embd) if keys.get("scale_embedding", True) else 1.0
    renamed = dict(_decoder(tensors, last_norm="layer_norm"))
    head = renamed.pop("output_projection.weight", None)
    wte = renamed.get(_WTE, head)
    if wte is not None and scale != 1.0:
        renamed |= {_WTE: Scaled(wte, scale), names.weight(names.LM_HEAD): head or wte}
    yield from renamed.items()


def _decoder(tensors: Tensors, *, last_norm: str) -> Iterator[tuple[str, Readable]]:
    """Rename the layers that OPT and BioGPT share."""
    stored = {_PREFIXES.sub("", name, count=1): tensor for name, tensor in tensors.items()}
    top = {
        "embed_tokens.weight": _WTE,
        **{f"{last_norm}.{part}": f"{names.LN_F}.{part}" for part in ("weight", "bias")},
    }
    joined = set[str]()
    for layer in _layers(stored, "layers"):
        base = f"layers.{layer}.self_attn"
        for part in ("weight", "bias"):
            if f"{base}.q_proj.{part}" in stored:
                yield f"{Block(layer).part(names.C_ATTN)}.{part}", _joined(stored, base, part)
                joined |= {f"{base}.{each}_proj.{part}" for each in _QKV}
    for name, tensor in stored.items():
        if name == "embed_positions.weight":
            yield _WPE, Rows(tensor, _UNUSED_POSITIONS, tensor.shape[0])
        elif name not in joined:
            yield _in_layout(top.get(name, _LAYER.sub(_own_part, name)), tensor)


_PARTS: Final = {
    "self_attn_layer_norm": names.LN_1,
    "self_attn.out_proj": names.ATTN_C_PROJ,
    "final_layer_norm": names.LN_2,
    "fc1": names.C_FC,
    "fc2": names.MLP_C_PROJ,
}
_LAYER: Final = re.compile(rf"layers\.(\d+)\.({'|'.join(map(re.escape, _PARTS))})(?=\.)")


def _own_part(match: re.Match[str]) -> str:
    return Block(int(match[1])).part(_PARTS[match[2]])


def _layers(tensors: Tensors, prefix: str) -> list[int]:
    """Return the numbers of the layers that have tensors."""
    numbered = re.compile(rf"{prefix}\.(\d{{1,6}})\.")
    return sorted({int(match[1]) for match in map(numbered.match, tensors) if match})


def _joined(tensors: Tensors, base: str, part: str) -> Readable:
    """Return queries, keys and values as one tensor, weights as [in, out]."""
    stored = []
    for each in _QKV:
        name = f"{base}.{each}_proj.{part}"
        if name not in tensors:
            raise ExportError(f"tensor {name!r} is missing")
        stored.append(tensors[name])
    if len({tensor.shape for tensor in stored}) > 1 or len(stored[0].shape) not in (1, 2):
        raise ExportError(f"tensors {base}.{{q,k,v}}_proj.{part} are not of one shape")
    if len(stored[0].shape) == 1:
        return Joined(tuple(stored), axis=0)
    return Joined(tuple(map(Transposed, stored)), axis=1)


def _in_layout(name: str, tensor: Readable) -> tuple[str, Readable]:
    """Return a name with its tensor, the matrix of a product transposed to [in, out]."""
    is_product = names.in_block(name) and name.endswith(tuple(f".{p}.weight" for p in _PRODUCTS))
    return name, Transposed(tensor) if is_product and len(tensor.shape) == 2 else tensor


_RENAMES: Final[Mapping[str, Callable[..., Iterator[tuple[str, Readable]]]]] = {
    "openai-gpt": _openai_gpt,
    "gpt_neo": _gpt_neo,
    "gpt_bigcode": _gpt_bigcode,
    "opt": _opt,
    "biogpt": _biogpt,
}
