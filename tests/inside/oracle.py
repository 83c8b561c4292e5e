"""GPT-2's forward pass in plain numpy and float64, with TransformerLens' names of its values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge.config import ModelConfig
from gpt2edge.export.verify.reference import ACTIVATIONS
from tests.checkpoints import Tensors

Values = dict[str, NDArray[np.float64]]


def values_inside(config: ModelConfig, tensors: Tensors, ids: list[int]) -> Values:
    """All values of one prompt; "logits" are [pos, vocab_size]."""
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    found: Values = {"hook_embed": w["wte.weight"][ids]}
    found["hook_pos_embed"] = w["wpe.weight"][: len(ids)]
    x = found["hook_embed"] + found["hook_pos_embed"]
    for layer in range(config.n_layer):
        x = _block(config, w, found, x, layer)
    x = _norm(config, w, found, x, ("ln_f", "ln_final"))
    head = w.get("lm_head.weight", w["wte.weight"])
    found["logits"] = x @ head.T + w.get("lm_head.bias", 0)
    return found


def _block(config: ModelConfig, w: Any, found: Values, x: Any, layer: int) -> Any:
    h, b = f"h.{layer}", f"blocks.{layer}"
    found[f"{b}.hook_resid_pre"] = x
    n, heads = len(x), config.n_head
    y = _norm(config, w, found, x, (f"{h}.ln_1", f"{b}.ln1"))
    y = y @ w[f"{h}.attn.c_attn.weight"] + w[f"{h}.attn.c_attn.bias"]
    q, k, v = (part.reshape(n, heads, -1) for part in np.split(y, 3, axis=1))
    found |= {f"{b}.attn.hook_q": q, f"{b}.attn.hook_k": k, f"{b}.attn.hook_v": v}
    scores = np.einsum("qhd,khd->hqk", q, k)
    if config.scale_attn_weights:
        scores /= np.sqrt(q.shape[-1])
    if config.scale_attn_by_inverse_layer_idx:
        scores /= layer + 1
    scores[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
    found[f"{b}.attn.hook_attn_scores"] = scores
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    pattern = powers / powers.sum(-1, keepdims=True)
    z = np.einsum("hqk,khd->qhd", pattern, v)
    weight = w[f"{h}.attn.c_proj.weight"]
    found |= {f"{b}.attn.hook_pattern": pattern, f"{b}.attn.hook_z": z}
    found[f"{b}.attn.hook_result"] = np.einsum(
        "qhd,hdm->qhm", z, weight.reshape(heads, -1, config.n_embd)
    )
    out = z.reshape(n, -1) @ weight + w[f"{h}.attn.c_proj.bias"]
    x = x + out
    found |= {f"{b}.hook_attn_out": out, f"{b}.hook_resid_mid": x}
    y = _norm(config, w, found, x, (f"{h}.ln_2", f"{b}.ln2"))
    pre = y @ w[f"{h}.mlp.c_fc.weight"] + w[f"{h}.mlp.c_fc.bias"]
    post = ACTIVATIONS[config.activation_function](pre)
    out = post @ w[f"{h}.mlp.c_proj.weight"] + w[f"{h}.mlp.c_proj.bias"]
    x = x + out
    found |= {f"{b}.mlp.hook_pre": pre, f"{b}.mlp.hook_post": np.asarray(post, np.float64)}
    found |= {f"{b}.hook_mlp_out": out, f"{b}.hook_resid_post": x}
    return x


def _norm(config: ModelConfig, w: Any, found: Values, x: Any, names: tuple[str, str]) -> Any:
    ours, theirs = names
    scale = np.sqrt(x.var(-1, keepdims=True) + config.layer_norm_epsilon)
    normalized = (x - x.mean(-1, keepdims=True)) / scale
    found |= {f"{theirs}.hook_scale": scale, f"{theirs}.hook_normalized": normalized}
    return normalized * w[f"{ours}.weight"] + w[f"{ours}.bias"]
