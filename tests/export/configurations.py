"""Every switch of GPT-2's configuration that changes the arithmetic, one case each."""

from collections.abc import Mapping
from typing import Any, Final

from gpt2edge.config import ACTIVATIONS
from tests.checkpoints import SMALL

Case = tuple[Mapping[str, Any], Mapping[str, Any]]  # configuration, options of write_checkpoint

_SWITCHES: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    "one_layer": {"n_layer": 1},
    "one_head": {"n_head": 1},
    "n_inner": {"n_inner": 40},
    "odd_vocabulary": {"vocab_size": 131},
    "unscaled": {"scale_attn_weights": False},
    "inverse_layer": {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3},
    "unscaled_inverse_layer": {
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
    },
    "upcast": {"reorder_and_upcast_attn": True},
    "untied": {"tie_word_embeddings": False},
    "untied_bias": {"tie_word_embeddings": False, "lm_head_bias": True},
    "tied_bias": {"lm_head_bias": True},
    "head_dim_5": {"n_embd": 20},
    "head_dim_12": {"n_embd": 48},
    "head_dim_12_unscaled": {"n_embd": 48, "scale_attn_weights": False},
    "head_dim_80": {"n_embd": 80, "n_head": 1},
    "epsilon": {"layer_norm_epsilon": 0.1},
    "bare_model": {"architectures": ["GPT2Model"]},
    "no_architecture": {"architectures": None},
    "double_heads": {"architectures": ["GPT2DoubleHeadsModel"]},
    "sequence_labels": {
        "architectures": ["GPT2ForSequenceClassification"],
        "id2label": {"0": "a", "1": "b", "2": "c"},
        "pad_token_id": 0,
    },
    "token_labels": {
        "architectures": ["GPT2ForTokenClassification"],
        "id2label": {"0": "a", "1": "b", "2": "c"},
    },
    "token_scalar": {"architectures": ["GPT2ForTokenClassification"], "id2label": {"0": "value"}},
}
_WRITING: Final[Mapping[str, Mapping[str, Any]]] = {
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
    "no_prefix": {"prefix": ""},
    "sharded": {"shards": 3},
}

CASES: Final[Mapping[str, Case]] = {
    **{name: ({**SMALL, **keys}, {}) for name, keys in _SWITCHES.items()},
    **{name: (SMALL, options) for name, options in _WRITING.items()},
    **{kind: ({**SMALL, "activation_function": kind}, {}) for kind in ACTIVATIONS},
}
