"""Names in a graph of gpt2edge: of its inputs and outputs, its nodes, its weights.

``export`` writes them; ``quant`` and ``runtime`` find by them what they change. Folders on disk
hold them, so a name is part of the file format: changing one leaves older folders unedited.

A node has the name of its first output. A weight has upstream's name, ``h.0.attn.c_attn.weight``;
the node that multiplies by it has the same with slashes, ``h.0/attn/c_attn``.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
POSITION_IDS: Final = "position_ids"
LOGITS_TO_KEEP: Final = "logits_to_keep"
LOGITS: Final = "logits"

_PAST: Final = "past_key_values"
_PRESENT: Final = "present"
KEY: Final = "key"
VALUE: Final = "value"
CACHE_PARTS: Final = (KEY, VALUE)
Layer: TypeAlias = int | str
"""A layer's number, or what stands for it in a pattern."""

WTE: Final = "wte"
WPE: Final = "wpe"
LN_F: Final = "ln_f"
LM_HEAD: Final = "lm_head"
EMBEDDING: Final = "embedding"
EMBEDDING_ROWS: Final = "embedding/2d"

INPUT_SHAPE: Final = "input_ids/shape"
THREE_AXES: Final = "shape/3d"
"""[batch, sequence, -1], the shape of activations outside the products."""
BATCH: Final = "shape/batch"
LOGITS_SHAPE: Final = "logits/shape"

MASK_LENGTHS: Final = "mask/lengths"
MASK_LAST: Final = "mask/last"
MASK_SHAPE: Final = "mask/shape"
MASK_WIDTH: Final = "mask/width"
SEQLENS_K: Final = "seqlens_k"
TOTAL_SEQUENCE_LENGTH: Final = "total_sequence_length"
MASK_COUNTING: Final[Mapping[str, str]] = {
    MASK_LENGTHS: "ReduceSum",
    MASK_LAST: "Sub",
    SEQLENS_K: "Cast",
    MASK_SHAPE: "Shape",
    MASK_WIDTH: "Gather",
    TOTAL_SEQUENCE_LENGTH: "Cast",
}
"""The nodes that count ``attention_mask``, and their operators. The engine feeds both casts."""

KEPT_SIZE: Final = "kept/size"
KEPT_FED: Final = "kept/fed"
KEPT: Final = "kept"
POSITION_CHOICE: Final[Mapping[str, str]] = {KEPT_SIZE: "Size", KEPT_FED: "Cast", KEPT: "If"}
"""The nodes that ask whether ``logits_to_keep`` is fed, and their operators.

The last holds the nodes that choose its positions as ``then_branch``. The engine always chooses.
"""

C_ATTN: Final = "attn.c_attn"
ATTN_C_PROJ: Final = "attn.c_proj"
C_FC: Final = "mlp.c_fc"
MLP_C_PROJ: Final = "mlp.c_proj"
LN_1: Final = "ln_1"
LN_2: Final = "ln_2"

_QKV: Final = "/attn/qkv"
_ATTENTION_ROWS: Final = "/attn/2d"


class Block:
    """The names of one transformer block. No dataclass: every start would pay for its making."""

    __slots__ = ("layer",)

    def __init__(self, layer: int) -> None:
        self.layer = layer

    def __str__(self) -> str:
        return f"h.{self.layer}"

    def part(self, name: str) -> str:
        """Name a layer of the block, such as ``C_ATTN``, as its weight and bias begin."""
        return f"{self}.{name}"

    @property
    def qkv(self) -> str:
        """The reshape to [batch, sequence, 3 * width] that attention reads."""
        return f"{self}{_QKV}"

    @property
    def attention(self) -> str:
        """The attention itself, without its projections."""
        return f"{self}/attn"

    @property
    def attention_rows(self) -> str:
        """The reshape of attention's output to [rows, width]."""
        return f"{self}{_ATTENTION_ROWS}"

    @property
    def attention_residual(self) -> str:
        """The sum of the block's input and its attention."""
        return f"{self}/attn/residual"

    @property
    def mlp(self) -> str:
        """The MLP, as its nodes begin."""
        return f"{self}/mlp"

    @property
    def activation(self) -> str:
        """The activation inside the MLP."""
        return f"{self}/mlp/act"

    @property
    def mlp_residual(self) -> str:
        """The sum behind the MLP: the block's output."""
        return f"{self}/mlp/residual"


def weight(part: str) -> str:
    """Name the weight of a part of the model: "wte", ``LN_F``, ``Block.part``."""
    return f"{part}.weight"


def bias(part: str) -> str:
    """Name the bias of a part of the model."""
    return f"{part}.bias"


def node(part: str) -> str:
    """Name the node that computes with the weight of ``part``."""
    if not in_block(part):
        return part
    _, layer, *rest = part.split(".")
    return "/".join([f"h.{layer}", *rest])


def head(weight: str) -> str:
    """Name the node that gives the logits; it has a name of its own where its weight is tied."""
    return LM_HEAD if weight == f"{WTE}.weight" else weight.removesuffix(".weight")


def in_block(name: str) -> bool:
    """Tell whether a node or weight belongs to a transformer block, not to the model's ends."""
    return name.startswith("h.")


def is_reshape_for_gemm(name: str) -> bool:
    """Tell whether a node only changes between [rows, width] and [batch, sequence, width]."""
    return name == EMBEDDING_ROWS or name.endswith((_QKV, _ATTENTION_ROWS))


def past(layer: Layer, part: str) -> str:
    """Name the input that holds a layer's ``part``, key or value, of earlier tokens."""
    return f"{_PAST}.{layer}.{part}"


def present(layer: Layer, part: str) -> str:
    """Name the output that holds a layer's ``part`` of all tokens."""
    return f"{_PRESENT}.{layer}.{part}"


def cache(n_layer: int) -> Iterator[tuple[str, str]]:
    """Yield past and present of every layer's key and value, in the graph's order."""
    for layer in range(n_layer):
        for part in CACHE_PARTS:
            yield past(layer, part), present(layer, part)


def is_past(name: str) -> bool:
    """Tell whether an input holds keys or values of earlier tokens."""
    return name.startswith(f"{_PAST}.")


def is_past_key(name: str) -> bool:
    """Tell whether an input holds keys of earlier tokens."""
    return is_past(name) and name.endswith(f".{KEY}")


def is_present(name: str) -> bool:
    """Tell whether an output holds keys or values."""
    return name.startswith(f"{_PRESENT}.")


def present_of(name: str) -> str:
    """Name the output that belongs to the input ``name``, one of ``past``."""
    return f"{_PRESENT}.{name.removeprefix(f'{_PAST}.')}"
