"""A GPT-2 checkpoint as an F32 GGUF file for llama.cpp, without a vocabulary."""

import json
from pathlib import Path
from typing import Final

import gguf
import numpy as np
from safetensors.numpy import load_file

_ARCHITECTURE: Final = "gpt2"
_TOP: Final = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
_BLOCK: Final = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def write_gguf(checkpoint: Path, out: Path) -> Path:
    """Write ``out``; the head stays tied."""
    source = checkpoint / "model.safetensors"
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(out, _ARCHITECTURE)
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for name, array in load_file(source).items():
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            array = array.T  # Conv1D holds [in, out]
        writer.add_tensor(_gguf_name(name), np.ascontiguousarray(array, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _gguf_name(name: str) -> str:
    module, kind = name.removeprefix("transformer.").rsplit(".", 1)
    if module in _TOP:
        return f"{_TOP[module]}.{kind}"
    _, layer, part = module.split(".", 2)
    return f"blk.{layer}.{_BLOCK[part]}.{kind}"
