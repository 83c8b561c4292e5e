"""A quantization recipe by the name that the benchmarks' tables show."""

from dataclasses import replace
from typing import Final

from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, MIXED, RECIPES, QuantRecipe, mixed_recipe

INT8_CACHE: Final = "+int8-cache"


def chosen_recipe(fp32: ModelDir, name: str) -> QuantRecipe:
    """A recipe by its name, which may end in ``+int8-cache``."""
    plain = name.removesuffix(INT8_CACHE)
    recipe = mixed_recipe(fp32, INT4, mean_bits=5) if plain == MIXED else RECIPES[plain]
    return replace(recipe, kv_cache="int8") if name.endswith(INT8_CACHE) else recipe
