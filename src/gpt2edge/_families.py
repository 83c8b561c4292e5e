"""Families: the ``config.json`` of GPT-2's relatives, in GPT-2's own keys.

Each function takes the keys of one ``model_type``, with transformers' defaults for those that are
absent, and returns what ``ModelConfig.from_dict`` reads. A size is checked under the name that the
file gives it. Source: the configuration classes of transformers 5.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from gpt2edge._checks import check_int, shown

Keys: TypeAlias = Mapping[str, Any]

_LARGEST: Final = 2**24
_SHARED: Final = (
    "layer_norm_epsilon",
    "tie_word_embeddings",
    "add_cross_attention",
    "per_layer_config",
)
"""Keys that mean the same in every family."""
_SMALLEST_EPSILON: Final = 1e-5  # of torch's LayerNorm, where a family does not set its own


def _openai_gpt(keys: Keys) -> dict[str, Any]:
    """Read GPT-1: norms after the sums; its "gelu" is the approximation by tanh."""
    activations = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}
    kind = keys.get("afn", "gelu")
    if kind not in tuple(activations):
        raise ValueError(f"afn is {kind!r}; it must be one of {', '.join(activations)}")
    sizes = _sizes(keys, n_positions=("n_positions", 512), vocab_size=("vocab_size", 40478))
    sizes |= _sizes(keys, n_layer=("n_layer", 12), n_head=("n_head", 12), n_embd=("n_embd", 768))
    return {**sizes, "activation_function": activations[kind], **_ends(keys, None, None)}


def _gpt_neo(keys: Keys) -> dict[str, Any]:
    """Read GPT-Neo: scores without a scale, and layers that look back over a window only."""
    sizes = _sizes(keys, n_layer=("num_layers", 24), n_head=("num_heads", 16))
    sizes |= _sizes(keys, n_embd=("hidden_size", 2048), vocab_size=("vocab_size", 50257))
    sizes |= _sizes(keys, n_positions=("max_position_embeddings", 2048))
    if keys.get("intermediate_size") is not None:
        sizes |= _sizes(keys, n_inner=("intermediate_size", 0))
    return {
        **sizes,
        **_ends(keys, 50256, 50256),
        "activation_function": keys.get("activation_function", "gelu_new"),
        "scale_attn_weights": False,
        "windows": _windows(keys, sizes["n_layer"]),
    }


def _windows(keys: Keys, n_layer: int) -> tuple[int, ...]:
    """Return how many tokens each layer sees, itself included; 0 for all of them."""
    window = check_int("window_size", keys.get("window_size", 256), 1, _LARGEST)
    kinds = keys.get("attention_layers")
    if kinds is None:
        repeats = keys.get("attention_types") or [[["global", "local"], 12]]
        try:
            kinds = [
                kind
                for period, count in repeats
                for _ in range(check_int("attention_types", count, 1, n_layer))
                for kind in period
            ]
        except TypeError:
            raise ValueError(f"attention_types is {repeats!r}; it must be pairs") from None
    named = (
        [kind for kind in kinds if kind in ("global", "local")] if isinstance(kinds, list) else []
    )
    if len(named) != n_layer or named != kinds:
        raise ValueError(
            f"attention_layers is {shown(kinds)}; it must name global or local for each of the "
            f"{n_layer} layers"
        )
    return tuple(window if kind == "local" else 0 for kind in kinds)


def _gpt_bigcode(keys: Keys) -> dict[str, Any]:
    """Read GPT-BigCode: one head of keys and values for all heads of queries (multi_query)."""
    sizes = _sizes(keys, n_layer=("n_layer", 12), n_head=("n_head", 12), n_embd=("n_embd", 768))
    sizes |= _sizes(keys, n_positions=("n_positions", 1024), vocab_size=("vocab_size", 50257))
    if keys.get("n_inner") is not None:
        sizes |= _sizes(keys, n_inner=("n_inner", 0))
    return {
        **sizes,
        **_ends(keys, 50256, 50256),
        "activation_function": keys.get("activation_function", "gelu_pytorch_tanh"),
        "scale_attn_weights": keys.get("scale_attn_weights", True),
        "kv_heads": 1 if _flag(keys, "multi_query", True) else None,
    }


def _opt(keys: Keys) -> dict[str, Any]:
    """Read OPT: GPT-2's own arithmetic, with relu."""
    sizes = _sizes(keys, n_layer=("num_hidden_layers", 12), n_head=("num_attention_heads", 12))
    sizes |= _sizes(keys, n_embd=("hidden_size", 768), n_inner=("ffn_dim", 3072))
    sizes |= _sizes(keys, n_positions=("max_position_embeddings", 2048))
    sizes |= _sizes(keys, vocab_size=("vocab_size", 50272))
    width = keys.get("word_embed_proj_dim")
    if width not in (None, sizes["n_embd"]):
        raise ValueError(
            f"word_embed_proj_dim is {width!r} and hidden_size is {sizes['n_embd']}: embeddings "
            "that are projected, as OPT-350m's, are not supported"
        )
    for key, needed in (
        ("do_layer_norm_before", True),
        ("layer_norm_elementwise_affine", True),
        ("_remove_final_layer_norm", False),
    ):
        if _flag(keys, key, needed) is not needed:
            raise ValueError(f"{key} is {str(not needed).lower()}, which is not supported")
    kind = keys.get("activation_function", "relu")
    return {**sizes, **_ends(keys, 2, 2), "activation_function": kind}


def _biogpt(keys: Keys) -> dict[str, Any]:
    """Read BioGPT: OPT with embeddings times the root of their width, which unties the head."""
    sizes = _sizes(keys, n_layer=("num_hidden_layers", 24), n_head=("num_attention_heads", 16))
    sizes |= _sizes(keys, n_embd=("hidden_size", 1024), n_inner=("intermediate_size", 4096))
    sizes |= _sizes(keys, n_positions=("max_position_embeddings", 1024))
    sizes |= _sizes(keys, vocab_size=("vocab_size", 42384))
    return {
        **sizes,
        **_ends(keys, 0, 2),
        "activation_function": keys.get("hidden_act", "gelu"),
        "layer_norm_epsilon": _SMALLEST_EPSILON,  # layer_norm_eps is in no norm of its layers
        "tie_word_embeddings": not _flag(keys, "scale_embedding", True)
        and keys.get("tie_word_embeddings", True),
    }


_READERS: Final[Mapping[str, Callable[[Keys], dict[str, Any]]]] = {
    "openai-gpt": _openai_gpt,
    "gpt_neo": _gpt_neo,
    "gpt_bigcode": _gpt_bigcode,
    "opt": _opt,
    "biogpt": _biogpt,
}
RELATIVES: Final = tuple(_READERS)
"""The ``model_type`` of each relative."""
HEADS: Final[Mapping[str, str]] = {
    "gpt2": "n_head",
    "openai-gpt": "n_head",
    "gpt_bigcode": "n_head",
    "gpt_neo": "num_heads",
    "opt": "num_attention_heads",
    "biogpt": "num_attention_heads",
}
"""The key that holds the number of heads."""


def in_gpt2_keys(keys: Keys) -> dict[str, Any]:
    """Return the ``keys`` of a relative in GPT-2's own, with ``model_type`` as it is.

    Raises ValueError that names the key at fault and what it must be.
    """
    kind = keys["model_type"]
    if kind not in RELATIVES:
        allowed = ", ".join(map(repr, ("gpt2", *RELATIVES)))
        raise ValueError(f"model_type is {kind!r}; it must be one of {allowed}")
    kept = {name: keys[name] for name in _SHARED if name in keys}
    return {**kept, **_READERS[kind](keys), "model_type": kind}


def _sizes(keys: Keys, **wanted: tuple[str, int]) -> dict[str, int]:
    """Return sizes by GPT-2's names, from a family's names and their defaults."""
    found = {}
    for own, (name, default) in wanted.items():
        value = keys.get(name)
        found[own] = default if value is None else check_int(name, value, 1, _LARGEST)
    return found


def _ends(keys: Keys, begin: int | None, end: int | None) -> dict[str, Any]:
    defaults = {"bos_token_id": begin, "eos_token_id": end}
    return {name: keys.get(name, default) for name, default in defaults.items()}


def _flag(keys: Keys, name: str, default: bool) -> bool:
    value = keys.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be true or false")
    return value
