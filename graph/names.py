"""Names of the inputs, outputs, nodes and weights in a graph of gpt2edge.

``export`` writes them; ``quant`` and ``runtime`` find the nodes to change by them. They are part of
the file format: after a change, ``quant`` and ``runtime`` no longer edit older folders.

A node has the name of its first output. A weight has upstream's name, ``h.0.attn.c_attn.weight``;
the node that multiplies by it has that name with slashes, ``h.0/attn/c_attn``.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
POSITION_IDS: Final = "position_ids"
LOGITS_TO_KEEP: Final = "logits_to_keep"
LOGITS: Final = "logits"
HIDDEN_STATES: Final = "hidden_states"
"""The optional output of what the head reads: the last norm's output at the kept positions."""

_PAST: Final = "past_key_values"
_PRESENT: Final = "present"
KEY: Final = "key"
VALUE: Final = "value"
CACHE_PARTS: Final = (KEY, VALUE)
Layer: TypeAlias = int | str
"""A layer's number, or its placeholder in a pattern, such as ``%d``."""

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
KV_CACHE: Final = "kv_cache"
BLOCK_TABLE: Final = "block_table"
"""The pool of blocks of a paged cache, and the blocks of each row: inputs of a graph as loaded."""
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
HEAD_INPUTS: Final = (LN_F, KEPT)
"""The value that the head reads: the first of these that the graph has; GPT-1 has no last norm."""
POSITION_CHOICE: Final[Mapping[str, str]] = {KEPT_SIZE: "Size", KEPT_FED: "Cast", KEPT: "If"}
"""The nodes that test whether ``logits_to_keep`` is fed, and their operators.

The ``then_branch`` of the last one selects the positions. The engine always feeds the input.
"""

C_ATTN: Final = "attn.c_attn"
ATTN_C_PROJ: Final = "attn.c_proj"
C_FC: Final = "mlp.c_fc"
MLP_C_PROJ: Final = "mlp.c_proj"
LN_1: Final = "ln_1"
LN_2: Final = "ln_2"

_QKV: Final = "/attn/qkv"
_ATTENTION_RESIDUAL: Final = "/attn/residual"
_MLP_RESIDUAL: Final = "/mlp/residual"
_ATTENTION_ROWS: Final = "/attn/2d"


class Block:
    """The names of one transformer block. A dataclass would lengthen every start of a command."""

    __slots__ = ("layer",)

    def __init__(self, layer: int) -> None:
        self.layer = layer

    def __str__(self) -> str:
        return f"h.{self.layer}"

    def part(self, name: str) -> str:
        """Return the prefix of a layer's weight and bias; ``name`` is such as ``C_ATTN``."""
        return f"{self}.{name}"

    @property
    def qkv(self) -> str:
        """Name the reshape to [batch, sequence, 3 * width] before attention."""
        return f"{self}{_QKV}"

    @property
    def attention(self) -> str:
        """Name the attention itself, without its projections."""
        return f"{self}/attn"

    @property
    def attention_rows(self) -> str:
        """Name the reshape of attention's output to [rows, width]."""
        return f"{self}{_ATTENTION_ROWS}"

    @property
    def attention_residual(self) -> str:
        """Name the sum of the block's input and its attention."""
        return f"{self}{_ATTENTION_RESIDUAL}"

    @property
    def mlp(self) -> str:
        """Return the prefix of the MLP's nodes."""
        return f"{self}/mlp"

    @property
    def activation(self) -> str:
        """Name the activation inside the MLP."""
        return f"{self}/mlp/act"

    @property
    def mlp_residual(self) -> str:
        """Name the sum after the MLP: the block's output."""
        return f"{self}{_MLP_RESIDUAL}"


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
    """Name the node that computes the logits: ``LM_HEAD`` if its weight is tied, else by weight."""
    return LM_HEAD if weight == f"{WTE}.weight" else weight.removesuffix(".weight")


def in_block(name: str) -> bool:
    """Return whether a node or weight belongs to a transformer block, not to the model's ends."""
    return name.startswith("h.")


def is_reshape_for_gemm(name: str) -> bool:
    """Return whether a node only reshapes between [rows, width] and [batch, sequence, width]."""
    return name == EMBEDDING_ROWS or name.endswith((_QKV, _ATTENTION_ROWS))


def is_residual(name: str) -> bool:
    """Return whether a node adds a block's attention or MLP to what went into it."""
    return in_block(name) and name.endswith((_ATTENTION_RESIDUAL, _MLP_RESIDUAL))


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
    """Return whether an input holds keys or values of earlier tokens."""
    return name.startswith(f"{_PAST}.")


def is_past_key(name: str) -> bool:
    """Return whether an input holds keys of earlier tokens."""
    return is_past(name) and name.endswith(f".{KEY}")


def is_present(name: str) -> bool:
    """Return whether an output holds keys or values."""
    return name.startswith(f"{_PRESENT}.")


def present_of(name: str) -> str:
    """Name the output that belongs to the input ``name``, one of ``past``."""
    return f"{_PRESENT}.{name.removeprefix(f'{_PAST}.')}"
