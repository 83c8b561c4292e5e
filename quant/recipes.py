"""QuantRecipe: the options of quantization, and the named recipes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gpt2edge._checks import check_bool, check_int, check_list, check_one_of, check_text, check_type
from gpt2edge.errors import QuantizationError

Scheme = Literal["dynamic", "weight_only"]
Rounding = Literal["nearest", "search", "compensate"]
CacheType = Literal["float32", "int8"]

_BLOCK_SIZES: Final = (16, 32, 64, 128, 256)
FLOAT_BITS: Final = 32
"""Bits of a part that is not quantized."""
_END_BITS: Final = (4, 8, FLOAT_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantRecipe:
    """The storage and arithmetic of each part of a quantized model.

    ``scheme`` "weight_only" stores weights in blocks of ``block_size`` that share a block scale
    (MatMulNBits); a block size that does not divide a weight's inputs is halved, down to 32.
    "dynamic" stores int8 columns, multiplied by int8 activations (DynamicQuantizeMatMul). In the
    products that ``by_row`` names, and in those where calibration finds outlier rows, each row of
    activations has its own scale.

    ``bits`` applies to the products inside the model, ``lm_head`` and ``embedding`` to its ends,
    where 32 means float32; if these two are equal and the model ties them, one tensor serves both.
    Weights named by ``wide`` have 8 bits in blocks, whatever ``bits`` is, of ``wide_block_size`` if
    given. Weights named by ``exclude`` stay float32. In these three tuples, a string names every
    weight whose name contains it.

    If a tied head has fewer bits than the embedding, its ``refine`` largest logits are recomputed
    from the embedding's rows; the others keep their error.

    ``accuracy_level`` 4 multiplies blocks in int8, 0 in float32. ``rounding`` of blocks is
    "nearest", "search" (the scales of least error) or "compensate" (GPTQ: later weights compensate
    for the errors of earlier ones; needs a calibration text). ``equalize`` moves activation
    outliers into weights where that is exact. ``portable`` int8 columns are exact on every CPU;
    others saturate on x86 without VNNI.

    ``kv_cache`` "int8" stores keys and values in a quarter of the memory, each channel with a scale
    from the weights and the calibration text: decode is faster after long prompts, prefill slower.
    It needs onnxruntime 1.28.
    """

    name: str
    bits: int
    scheme: Scheme = "weight_only"
    block_size: int = 32
    wide_block_size: int | None = None
    accuracy_level: int = 4
    lm_head: int = 8
    embedding: int = 8
    refine: int = 0
    rounding: Rounding = "nearest"
    equalize: bool = True
    portable: bool = True
    by_row: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    kv_cache: CacheType = "float32"

    def __post_init__(self) -> None:
        check_text("name", self.name, empty=False)
        for name in ("equalize", "portable"):
            check_bool(name, getattr(self, name))
        for name in ("by_row", "wide", "exclude"):
            for part in check_list(name, getattr(self, name), "a tuple of texts"):
                check_text(name, part, part="a text in ")
        check_one_of("scheme", self.scheme, ("dynamic", "weight_only"))
        check_one_of("bits", self.bits, (8,) if self.scheme == "dynamic" else (4, 8))
        check_one_of("block_size", self.block_size, _BLOCK_SIZES)
        check_one_of("wide_block_size", self.wide_block_size, (None, *_BLOCK_SIZES))
        check_one_of("accuracy_level", self.accuracy_level, (0, 1, 4))
        check_one_of("lm_head", self.lm_head, _END_BITS)
        check_one_of("embedding", self.embedding, _END_BITS)
        check_int("refine", self.refine, 0, 2**31)
        check_one_of("rounding", self.rounding, ("nearest", "search", "compensate"))
        check_one_of("kv_cache", self.kv_cache, ("float32", "int8"))

    def block_size_of(self, weight: str) -> int:
        """Return the block size for the weight of that name, before it is fitted to its inputs."""
        wide_size = self.wide_block_size if names_any(self.wide, weight) else None
        return wide_size or self.block_size

    @property
    def variant(self) -> str:
        """Return the precision's name in the manifest: "int8" or "int4"."""
        return f"int{self.bits}"


# All later blocks amplify the errors of the first: in every model measured it needs the most bits.

INT8: Final = QuantRecipe(
    name="int8",
    bits=8,
    scheme="dynamic",
    block_size=128,
    wide_block_size=32,
    rounding="compensate",
    by_row=("c_proj",),
    wide=("h.0.attn.",),
)
"""For long prompts and batches: int8 products, the fastest prefill, exact on every CPU."""

INT8_BLOCK: Final = QuantRecipe(name="int8-block", bits=8, rounding="compensate")
"""For accuracy: 8-bit weights in blocks of 32, less loss than ``INT8``, slower prefill."""

INT8_DECODE: Final = QuantRecipe(name="int8-decode", bits=8, block_size=256, rounding="compensate")
"""For single-stream decoding in 8 bits: blocks of 256, as accurate as ``INT8``, slower prefill."""

INT4: Final = QuantRecipe(
    name="int4", bits=4, block_size=256, rounding="compensate", wide=("h.0.attn.",)
)
"""For size and decoding: 4-bit weights in blocks of 256, 8-bit embedding and head."""

INT4_DECODE: Final = QuantRecipe(
    name="int4-decode",
    bits=4,
    block_size=256,
    lm_head=4,
    refine=64,
    rounding="compensate",
    wide=INT4.wide,
)
"""For single-stream decoding: ``INT4`` with a 4-bit head, whose 64 largest logits take 8 bits."""

RECIPES: Final[Mapping[str, QuantRecipe]] = {
    recipe.name: recipe for recipe in (INT8, INT8_BLOCK, INT8_DECODE, INT4, INT4_DECODE)
}
"""The named recipes."""

MIXED: Final = "int4-mixed"
"""The recipe that ``mixed_recipe`` makes for a model from ``INT4``."""

AUTO: Final = "auto"
"""The name that selects ``quantize_auto``."""


def named_recipe(name: str) -> QuantRecipe:
    """Return the recipe of this name. Raises QuantizationError that lists the names."""
    check_text("name", name)
    if name not in RECIPES:
        known = ", ".join([*RECIPES, MIXED, AUTO])
        raise QuantizationError(f"no recipe {name!r}; there are {known}")
    return RECIPES[name]


def recipe_of(recipe: QuantRecipe | str) -> QuantRecipe:
    """Return a recipe, looked up if it is given by name."""
    if isinstance(recipe, str):
        return named_recipe(recipe)
    check_type("recipe", recipe, QuantRecipe, "a QuantRecipe, or the name of one")
    return recipe


def names_any(texts: tuple[str, ...], weight: str) -> bool:
    """Return whether ``weight`` contains one of ``texts``."""
    return any(text in weight for text in texts)
