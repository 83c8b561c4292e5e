"""A GPT-2 checkpoint as an F32 GGUF file for llama.cpp."""

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


def write_gguf(checkpoint: Path, out: Path, *, words: bool = False) -> Path:
    """Write ``out``; the head stays tied. It has no vocabulary, or with ``words`` one of bytes."""
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
    if words:
        _add_vocabulary(writer, config["vocab_size"])
    else:
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


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """GPT-2's bytes, names that no text spells, and an end of text; llama.cpp asks for a merge."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    alphabet = [chr(byte) for byte in shown] + [chr(256 + place) for place in range(len(hidden))]
    names = [f"token{place}" for place in range(len(alphabet) + 1, size - 1)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*alphabet, "~~", *names, "<|endoftext|>"])
    kinds = [gguf.TokenType.NORMAL] * (size - 1) + [gguf.TokenType.CONTROL]
    writer.add_token_types(kinds)
    writer.add_token_merges(["~ ~"])
    writer.add_bos_token_id(size - 1)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)


def _gguf_name(name: str) -> str:
    module, kind = name.removeprefix("transformer.").rsplit(".", 1)
    if module in _TOP:
        return f"{_TOP[module]}.{kind}"
    _, layer, part = module.split(".", 2)
    return f"blk.{layer}.{_BLOCK[part]}.{kind}"
