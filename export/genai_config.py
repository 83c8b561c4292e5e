"""``genai_config.json``: the configuration by which onnxruntime-genai runs a folder of profile cpu.

Source: onnxruntime.ai/docs/genai/reference/config. Its type "gpt2" expects a different graph; its
type "phi" is a decoder with position ids and a cache that is updated in place, as ours is.
"""

from typing import Any, Final

from gpt2edge.export.architectures.head_padding import padded_head_dim
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.graph import names
from gpt2edge.model_dir import GRAPH_FILE

GENAI_FILE: Final = "genai_config.json"
_INPUTS: Final = {
    "input_ids": names.INPUT_IDS,
    "attention_mask": names.ATTENTION_MASK,
    "position_ids": names.POSITION_IDS,
    "past_key_names": names.past("%d", names.KEY),
    "past_value_names": names.past("%d", names.VALUE),
}
_OUTPUTS: Final = {
    "logits": names.LOGITS,
    "present_key_names": names.present("%d", names.KEY),
    "present_value_names": names.present("%d", names.VALUE),
}


def genai_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the configuration of a language model."""
    config = checkpoint.config
    ends = list(config.eos_token_ids)
    end = ends[0] if ends else 0  # the format has no value for "none"
    decoder = {
        "session_options": {"provider_options": []},
        "filename": GRAPH_FILE,
        "head_size": padded_head_dim(config),
        "hidden_size": config.n_embd,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "num_hidden_layers": config.n_layer,
        "inputs": _INPUTS,
        "outputs": _OUTPUTS,
    }
    return {
        "model": {
            "type": "phi",
            "vocab_size": config.vocab_size,
            "context_length": config.n_positions,
            "bos_token_id": end if config.bos_token_id is None else config.bos_token_id,
            "eos_token_id": ends if len(ends) > 1 else end,
            "pad_token_id": end,
            "decoder": decoder,
        },
        "search": {"max_length": config.n_positions, "past_present_share_buffer": True},
    }
