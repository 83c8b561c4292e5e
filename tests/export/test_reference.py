"""The oracle itself: worked by hand where it can be, consistent where it cannot."""

from pathlib import Path

import numpy as np

from gpt2edge.config import ModelConfig
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.verify import reference
from tests.checkpoints import write_checkpoint


def test_decoding_with_the_cache_is_the_full_forward(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    ids = [5, 1, 7, 7, 0, 96]
    full, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids)
    first, cache = reference.forward(checkpoint.config, checkpoint.tensor, ids[:4])
    fifth, cache = reference.forward(checkpoint.config, checkpoint.tensor, ids[4:5], cache)
    sixth, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids[5:], cache)
    assert np.abs(np.concatenate([first, fifth, sixth]) - full).max() < 1e-5


def test_one_block_by_hand() -> None:
    """Zero products leave the embedding; ln_f makes (1, 3) into (-1, 1)."""
    config = ModelConfig(
        n_layer=1, n_head=1, n_embd=2, n_inner=2, vocab_size=2, layer_norm_epsilon=0.0
    )
    tensors = {
        "wte.weight": np.array([[1.0, 2.0], [0.0, 5.0]]),
        "wpe.weight": np.array([[0.0, 1.0]]),
        "ln_f.weight": np.array([1.0, 1.0]),
        "ln_f.bias": np.array([0.0, 0.5]),
    }
    for name, size in {"ln_1": 2, "ln_2": 2}.items():
        tensors[f"h.0.{name}.weight"] = tensors[f"h.0.{name}.bias"] = np.ones(size)
    for name, shape in {"attn.c_attn": (2, 6), "attn.c_proj": (2, 2)}.items():
        tensors[f"h.0.{name}.weight"] = np.zeros(shape)
        tensors[f"h.0.{name}.bias"] = np.zeros(shape[1])
    for name in ("mlp.c_fc", "mlp.c_proj"):
        tensors[f"h.0.{name}.weight"], tensors[f"h.0.{name}.bias"] = np.zeros((2, 2)), np.zeros(2)
    hidden, cache = reference.forward(config, tensors.__getitem__, [0])
    assert hidden.tolist() == [[-1.0, 1.5]]
    assert reference.logits(hidden, tensors.__getitem__, "wte.weight").tolist() == [[2.0, 7.5]]
    assert cache[0][0].shape == (1, 1, 2)


def test_attention_by_hand() -> None:
    """Queries and keys of zero attend evenly to the past, never to the future."""
    config = ModelConfig(n_layer=1, n_head=2, n_embd=4)
    value_only = np.concatenate([np.zeros((4, 8)), np.eye(4)], axis=1)  # [n_embd, 3 * n_embd]
    tensors = {
        "h.0.attn.c_attn.weight": value_only,
        "h.0.attn.c_attn.bias": np.zeros(12),
        "h.0.attn.c_proj.weight": np.eye(4),
        "h.0.attn.c_proj.bias": np.zeros(4),
    }
    x = np.array([[2.0, 0, 0, 4], [4.0, 2, 0, 0]])
    mixed, _ = reference._attention(config, tensors.__getitem__, x, 0, None)
    assert mixed.tolist() == [[2, 0, 0, 4], [3, 1, 0, 2]]
