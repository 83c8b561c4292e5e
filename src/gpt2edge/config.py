"""ModelConfig: the keys of a ``config.json`` that change what the model computes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpt2edge._checks import check_int

ACTIVATIONS: Final = (
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_python_tanh",
    "gelu_pytorch_tanh",
    "hardswish",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "sqrtsoftplus",
    "swish",
    "tanh",
)
"""Activation names that transformers accepts for GPT-2 and that have no weights of their own."""

_SIZES: Final = ("n_layer", "n_head", "n_embd", "n_inner", "n_positions", "vocab_size")
_OTHER_NAMES: Final = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings",
}
"""The ``attribute_map`` of transformers' ``GPT2Config``."""
_LARGEST: Final = 2**24
_UPSTREAM_END: Final = 50256


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model's shape and arithmetic, under the names of transformers' ``GPT2Config``.

    ``architecture`` is the ``model_type`` of config.json: "gpt2", or one of its relatives.
    ``kv_heads`` is the number of heads of keys and values, None for one of each head of queries.
    ``windows`` has for each layer how many tokens a token sees, itself included; 0, and an empty
    tuple, stand for all before it.
    """

    architecture: str = "gpt2"
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    n_inner: int = 3072
    n_positions: int = 1024
    vocab_size: int = 50257
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    kv_heads: int | None = None
    windows: tuple[int, ...] = ()

    @property
    def n_kv_head(self) -> int:
        """Return the number of heads of keys and values, which are those of the cache."""
        return self.kv_heads or self.n_head

    @property
    def norms_after(self) -> bool:
        """Return whether each norm follows the sum before it, as in GPT-1, with none at the end."""
        return self.architecture == "openai-gpt"

    @property
    def head_dim(self) -> int:
        """Return the width of one attention head."""
        return self.n_embd // self.n_head

    def window(self, layer: int) -> int:
        """Return how many tokens a token sees in block ``layer``, itself included; 0 for all."""
        return self.windows[layer] if self.windows else 0

    def attention_scale(self, layer: int) -> float:
        """Return the factor on query-key products in block ``layer``."""
        scale = self.head_dim**-0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any]) -> "ModelConfig":
        """Read the keys of a ``config.json``; absent ones take the defaults of transformers.

        ``model_type`` names the architecture, by default "gpt2", whose sizes may have the names
        that all models of transformers share, such as ``hidden_size``. Raises ValueError with the
        key, its value and the allowed values.
        """
        architecture = keys.get("model_type", "gpt2")
        if architecture != "gpt2":
            from gpt2edge._families import in_gpt2_keys  # rarely needed

            keys = in_gpt2_keys(keys)
        keys = with_own_names(keys)
        if keys.get("add_cross_attention"):
            raise ValueError("add_cross_attention is true; decoder-only models are supported")
        if keys.get("per_layer_config"):
            raise ValueError("per_layer_config is given; all layers must be of one size")
        sizes = {name: _size(keys, name) for name in _SIZES if keys.get(name) is not None}
        sizes.setdefault("n_inner", 4 * sizes.get("n_embd", _GPT2.n_embd))
        vocab_size = sizes.get("vocab_size", _GPT2.vocab_size)
        config = cls(
            **sizes,
            architecture=architecture,
            kv_heads=keys.get("kv_heads") if architecture != "gpt2" else None,
            windows=keys.get("windows", ()) if architecture != "gpt2" else (),
            activation_function=_activation(keys),
            layer_norm_epsilon=_epsilon(keys),
            scale_attn_weights=_flag(keys, "scale_attn_weights", True),
            scale_attn_by_inverse_layer_idx=_flag(keys, "scale_attn_by_inverse_layer_idx", False),
            tie_word_embeddings=_flag(keys, "tie_word_embeddings", True),
            bos_token_id=next(iter(token_ids(keys, "bos_token_id", vocab_size)), None),
            eos_token_ids=token_ids(keys, "eos_token_id", vocab_size),
        )
        if config.n_embd % config.n_head:
            raise ValueError(f"n_embd {config.n_embd} is not a multiple of n_head {config.n_head}")
        return config


_GPT2: Final = ModelConfig()


def with_own_names(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``keys`` with the sizes under GPT-2's own names only; null counts as absent.

    Raises ValueError if two names of one size disagree.
    """
    result = dict(keys)
    for name, other in _OTHER_NAMES.items():
        value = result.pop(other, None)
        if value is None:
            continue
        if result.get(name) not in (None, value):
            raise ValueError(
                f"{name} is {result[name]!r} and {other}, its other name, is {value!r}: remove the "
                "one that is wrong"
            )
        result[name] = value
    return result


def _size(keys: Mapping[str, Any], name: str) -> int:
    return check_int(name, keys[name], 1, _LARGEST)


def _flag(keys: Mapping[str, Any], name: str, default: bool) -> bool:
    value = keys.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be true or false")
    return value


def _activation(keys: Mapping[str, Any]) -> str:
    value = keys.get("activation_function", "gelu_new")
    if value not in ACTIVATIONS:
        raise ValueError(
            f"activation_function is {value!r}; it must be one of {', '.join(ACTIVATIONS)}"
        )
    return str(value)


def _epsilon(keys: Mapping[str, Any]) -> float:
    value = keys.get("layer_norm_epsilon", 1e-5)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value < 1:
        raise ValueError(f"layer_norm_epsilon is {value!r}; it must be a number in [0, 1)")
    return float(value)


def token_ids(keys: Mapping[str, Any], name: str, vocab_size: int) -> tuple[int, ...]:
    """Return the id or list of ids under ``name``, without ids outside the vocabulary.

    A configuration with a smaller vocabulary often keeps upstream's default of 50256.
    """
    value = keys.get(name, _UPSTREAM_END)
    listed = value if isinstance(value, list) else [value]
    ids = [check_int(name, item, -(2**63), 2**63) for item in listed if item is not None]
    return tuple(token_id for token_id in ids if 0 <= token_id < vocab_size)
