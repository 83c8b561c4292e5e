"""Layouts of GPT-2's tensors that differ from upstream's and mean the same: they become upstream's.

Other programs keep products as ``torch.nn.Linear`` does, [out, in], and leave out biases that are
zero; upstream's Conv1D keeps [in, out].
"""

import re
from collections.abc import Mapping
from typing import Final

from gpt2edge.export.sources.tensor_layout import HasShape
from gpt2edge.export.sources.tensors import Readable, Transposed, Zeros
from gpt2edge.graph import names

Tensors = dict[str, Readable]

_PRODUCTS: Final = (names.C_ATTN, names.ATTN_C_PROJ, names.C_FC, names.MLP_C_PROJ)
_C_ATTN: Final = re.compile(rf"h\.\d+\.{re.escape(names.C_ATTN)}\.weight")
_PRODUCT: Final = re.compile(rf"h\.\d+\.(?:{'|'.join(map(re.escape, _PRODUCTS))})\.weight")
_BIASED: Final = re.compile(
    rf"(h\.\d+\.(?:{'|'.join(map(re.escape, (*_PRODUCTS, names.LN_1, names.LN_2)))})"
    rf"|{names.LN_F})\.weight"
)
_BIAS: Final = re.compile(rf"(h\.\d+|{names.LN_F})\..*bias")
_BUFFER: Final = re.compile(  # upstream's causal mask, and positions that count from 0
    r"h\.\d+\.attn\.(bias|masked_bias)|(.+\.)?position_ids"
)
_OTHER_NAMES: Final = {"lm_head.decoder.weight": "lm_head.weight"}
"""Names that earlier versions of upstream gave to tensors."""


def is_buffer(name: str) -> bool:
    """Return whether ``name`` is a tensor that is computed, not trained."""
    return _BUFFER.fullmatch(name) is not None


def todays_name(name: str) -> str:
    """Return upstream's present name of a tensor."""
    return _OTHER_NAMES.get(name, name)


def has_linear_layout(tensors: Mapping[str, HasShape]) -> bool:
    """Return whether the products are stored as [out, in].

    Only ``c_attn``, [n, 3 n] in upstream's layout, can tell: others may be square.
    """
    shapes = {tensor.shape for name, tensor in tensors.items() if _C_ATTN.fullmatch(name)}
    return len(shapes) == 1 and all(len(s) == 2 and s[0] == 3 * s[1] for s in shapes)


def is_product(name: str) -> bool:
    """Return whether ``name`` is a weight that upstream keeps as [in, out]."""
    return _PRODUCT.fullmatch(name) is not None


def transpose_products(tensors: Tensors) -> Tensors:
    """Return the tensors with the four products of each block transposed."""
    return {
        name: Transposed(tensor) if _PRODUCT.fullmatch(name) else tensor
        for name, tensor in tensors.items()
    }


def has_no_biases(tensors: Tensors) -> bool:
    """Return whether no bias of the transformer is stored."""
    return not any(_BIAS.fullmatch(name) for name in tensors)


def add_zero_biases(tensors: Tensors) -> Tensors:
    """Return the tensors with a bias of zeros for every product and normalization."""
    stems = {match[1]: tensors[match[0]] for match in map(_BIASED.fullmatch, tensors) if match}
    biases = {
        f"{stem}.bias": Zeros(f"{stem}.bias", weight.shape[-1:]) for stem, weight in stems.items()
    }
    return {**tensors, **biases}
