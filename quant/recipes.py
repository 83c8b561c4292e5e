"""QuantRecipe: how a model is quantized, and the recipes that have a name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gpt2edge.errors import QuantizationError

Scheme = Literal["dynamic", "weight_only"]

_BLOCK_SIZES: Final = (16, 32, 64, 128, 256)
_BITS: Final = (4, 8)
FLOAT_BITS: Final = 32
"""Bits of a part that is left as it is."""
_END_BITS: Final = (4, 8, FLOAT_BITS)


def _check_one_of(name: str, value: int, allowed: tuple[int, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantRecipe:
    """How each part of a model is stored and multiplied.

    ``scheme`` "weight_only" stores blocks of ``block_size`` weights that share a scale
    (MatMulNBits); ``bits`` are those of the products inside the blocks of the model, ``lm_head``
    and ``embedding`` those at its ends, where 32 means left as it is. Where the last two agree and
    the model ties them, one tensor serves both. ``accuracy_level`` 4 multiplies in int8, 0 in
    float32. Weights whose name contains a string of ``exclude`` stay float32.
    """

    name: str
    bits: int
    scheme: Scheme = "weight_only"
    block_size: int = 32
    accuracy_level: int = 4
    lm_head: int = 8
    embedding: int = 8
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_one_of("bits", self.bits, _BITS)
        _check_one_of("block_size", self.block_size, _BLOCK_SIZES)
        _check_one_of("accuracy_level", self.accuracy_level, (0, 1, 4))
        _check_one_of("lm_head", self.lm_head, _END_BITS)
        _check_one_of("embedding", self.embedding, _END_BITS)

    @property
    def variant(self) -> str:
        """What the manifest calls the precision: "int8" or "int4"."""
        return f"int{self.bits}"


INT8: Final = QuantRecipe(name="int8", bits=8)
"""8-bit weights: indistinguishable from float32 in quality, a quarter of its size."""

INT8_BLOCK: Final = QuantRecipe(name="int8-block", bits=8)
"""8-bit weights in blocks of 32: the most faithful."""

INT4: Final = QuantRecipe(name="int4", bits=4)
"""4-bit weights in blocks of 32, 8-bit embedding and head: the smallest, the fastest to decode."""

RECIPES: Final[Mapping[str, QuantRecipe]] = {
    recipe.name: recipe for recipe in (INT8, INT8_BLOCK, INT4)
}
"""The named recipes."""


def named_recipe(name: str) -> QuantRecipe:
    """The recipe of this name. Raises QuantizationError that lists the names."""
    if name not in RECIPES:
        raise QuantizationError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
