"""The forward pass of GPT-2 and its relatives in plain numpy: the oracle, independent of the graph.

It computes one sequence at a time. ``weights(name)`` reads a tensor by upstream's name; each tensor
is read when it is needed and dropped after use, so that a large checkpoint streams from disk.
Source: Radford et al. 2018 and 2019, Black et al. 2021, and transformers' modules.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.config import ModelConfig

Array = NDArray[np.floating[Any]]  # float32 or float64, as the weights are
Weights = Callable[[str], Array]
Cache = list[tuple[Array, Array]]  # per layer: keys and values [n_kv_head, n_past, head_dim]


def forward(
    config: ModelConfig, weights: Weights, token_ids: Sequence[int], cache: Cache | None = None
) -> tuple[Array, Cache]:
    """Run ``token_ids`` after the tokens in ``cache``; return hidden [n_seq, n_embd] and the cache.

    The hidden states are those after ``ln_f``, or after the last block where there is none;
    ``logits`` turns them into logits.
    """
    past = cache[0][0].shape[1] if cache else 0
    positions = np.arange(past, past + len(token_ids))
    x = weights("wte.weight")[np.asarray(token_ids)]  # [n_seq] -> [n_seq, n_embd]
    x = x + weights("wpe.weight")[positions]  # [n_seq, n_embd]
    grown: Cache = []
    for layer in range(config.n_layer):
        before = cache[layer] if cache else None
        x, after = _block(config, weights, x, layer, before)  # [n_seq, n_embd] -> the same
        grown.append(after)
    return x if _is_post_norm(config) else _layer_norm(config, weights, x, "ln_f"), grown


def logits(hidden: Array, weights: Weights, weight: str, bias: str | None = None) -> Array:
    """Compute logits, [n, n_embd] -> [n, size]; ``weight`` names a tensor [size, n_embd]."""
    product: Array = hidden @ weights(weight).T
    return product if bias is None else product + weights(bias)


def _block(
    config: ModelConfig,
    weights: Weights,
    x: Array,
    layer: int,
    past: tuple[Array, Array] | None,
) -> tuple[Array, tuple[Array, Array]]:
    block = f"h.{layer}"

    def norm(x: Array, name: str) -> Array:
        return _layer_norm(config, weights, x, f"{block}.{name}")

    def mlp(x: Array) -> Array:  # [n_seq, n_embd] -> [n_seq, n_inner] -> [n_seq, n_embd]
        inner = ACTIVATIONS[config.activation_function](_linear(weights, x, f"{block}.mlp.c_fc"))
        return _linear(weights, inner, f"{block}.mlp.c_proj")

    if _is_post_norm(config):
        mixed, cache = _attention(config, weights, x, layer, past)
        x = norm(x + mixed, "ln_1")
        return norm(x + mlp(x), "ln_2"), cache
    mixed, cache = _attention(config, weights, norm(x, "ln_1"), layer, past)
    x = x + mixed
    return x + mlp(norm(x, "ln_2")), cache


def _is_post_norm(config: ModelConfig) -> bool:
    """Return whether norms follow the sums, as in GPT-1 (Radford et al. 2018)."""
    return config.architecture == "openai-gpt"


def _attention(
    config: ModelConfig,
    weights: Weights,
    x: Array,
    layer: int,
    past: tuple[Array, Array] | None,
) -> tuple[Array, tuple[Array, Array]]:
    n_seq, d = len(x), config.n_embd // config.n_head
    qkv = _linear(weights, x, f"h.{layer}.attn.c_attn")  # [n_seq, n_embd] -> [n_seq, heads * d]
    heads = qkv.reshape(n_seq, -1, d).swapaxes(0, 1)  # [n_head + 2 * n_kv_head, n_seq, d]
    n_kv_head = (len(heads) - config.n_head) // 2
    q, k, v = np.split(heads, [config.n_head, config.n_head + n_kv_head])
    if past is not None:
        k = np.concatenate([past[0], k], axis=1)  # [n_kv_head, n_past + n_seq, d]
        v = np.concatenate([past[1], v], axis=1)
    cache, group = (k, v), config.n_head // n_kv_head
    k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)  # a head of them for each of q
    scores = q @ k.transpose(0, 2, 1) * _scale(config, layer)  # [n_head, n_seq, n_past + n_seq]
    n_total = k.shape[1]
    back = np.arange(n_total - n_seq, n_total)[:, None] - np.arange(n_total)  # [n_seq, n_total]
    hidden = back < 0
    if config.windows and config.windows[layer]:
        hidden |= back >= config.windows[layer]
    weighted = _softmax(np.where(hidden, -np.inf, scores)) @ v  # [n_head, n_seq, d]
    merged = weighted.transpose(1, 0, 2).reshape(n_seq, config.n_embd)  # heads side by side
    return _linear(weights, merged, f"h.{layer}.attn.c_proj"), cache


def _scale(config: ModelConfig, layer: int) -> float:
    """Compute the factor on query-key products, independently of ``ModelConfig.attention_scale``.

    The graph uses that method, so the reference must not.
    """
    scale = 1.0
    if config.scale_attn_weights:
        scale /= math.sqrt(config.n_embd // config.n_head)
    if config.scale_attn_by_inverse_layer_idx:
        scale /= layer + 1
    return scale


def _linear(weights: Weights, x: Array, name: str) -> Array:
    """Apply a linear layer, [n, in] -> [n, out]; upstream's Conv1D stores its weight [in, out]."""
    product: Array = x @ weights(f"{name}.weight")
    return product + weights(f"{name}.bias")


def _layer_norm(config: ModelConfig, weights: Weights, x: Array, name: str) -> Array:
    mean: Array = x.mean(axis=-1, keepdims=True)  # [n, 1]
    variance: Array = x.var(axis=-1, keepdims=True)  # [n, 1]
    deviation: Array = np.sqrt(variance + config.layer_norm_epsilon)
    return (x - mean) / deviation * weights(f"{name}.weight") + weights(f"{name}.bias")


def _softmax(x: Array) -> Array:
    powers: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    total: Array = powers.sum(axis=-1, keepdims=True)
    return powers / total


def _erf(x: Array) -> Array:
    result: Array = np.vectorize(math.erf, otypes=[x.dtype])(x)
    return result


def _gelu(x: Array) -> Array:
    return x * (1 + _erf(x / math.sqrt(2))) / 2


def _gelu_tanh(x: Array) -> Array:
    bent: Array = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    return x * (1 + bent) / 2


def _sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2  # unlike 1 / (1 + exp(-x)), it does not overflow


def _silu(x: Array) -> Array:
    return x * _sigmoid(x)


ACTIVATIONS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "gelu": _gelu,
    "gelu_10": lambda x: np.clip(_gelu(x), -10, 10),
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_python": _gelu,
    "gelu_python_tanh": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "laplace": lambda x: (1 + _erf((x - 0.707107) / (0.282095 * math.sqrt(2)))) / 2,
    "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    "linear": lambda x: x,
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": _sigmoid,
    "silu": _silu,
    "sqrtsoftplus": lambda x: np.sqrt(np.logaddexp(0, x)),
    "swish": _silu,
    "tanh": np.tanh,
}
"""Every activation that ``ModelConfig`` takes, written from its definition."""
