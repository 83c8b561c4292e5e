"""Make ``tests/data/relatives``: tiny checkpoints of GPT-2's relatives, with transformers' logits.

python -m tests.data.make_relatives          (needs torch and transformers)
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers as t
from numpy.typing import NDArray

FOLDER: Final = Path(__file__).parent / "relatives"
VOCAB: Final = 61
LENGTH: Final = 24
"""Tokens of the expected logits: more than GPT-Neo's window."""
SIZES: Final = {"vocab_size": VOCAB, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
OTHER_SIZES: Final = {
    "vocab_size": VOCAB,
    "max_position_embeddings": 32,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
ENDS: Final = {"bos_token_id": 60, "eos_token_id": 60}


def models() -> Iterator[tuple[str, Any]]:
    """Yield each relative with random weights, by its folder's name."""
    gpt1 = t.OpenAIGPTConfig(**SIZES)
    yield "gpt1", t.OpenAIGPTLMHeadModel(gpt1)
    labels = {"num_labels": 3, "pad_token_id": 0}
    yield "gpt1-labels", t.OpenAIGPTForSequenceClassification(t.OpenAIGPTConfig(**SIZES, **labels))
    yield "gpt1-choices", t.OpenAIGPTDoubleHeadsModel(t.OpenAIGPTConfig(**SIZES, num_labels=1))
    yield "gpt2-choices", t.GPT2DoubleHeadsModel(t.GPT2Config(**SIZES, **ENDS, num_labels=1))
    yield "gpt_neo", t.GPTNeoForCausalLM(neo_config())
    for name, is_multi_query in (("gpt_bigcode", True), ("gpt_bigcode-mha", False)):
        config = t.GPTBigCodeConfig(**SIZES, **ENDS, multi_query=is_multi_query)
        yield name, t.GPTBigCodeForCausalLM(config)
    opt = {"ffn_dim": 64, "word_embed_proj_dim": 16, "pad_token_id": 1}
    yield "opt", t.OPTForCausalLM(t.OPTConfig(**OTHER_SIZES, **opt, bos_token_id=2, eos_token_id=2))
    biogpt = t.BioGptConfig(**OTHER_SIZES, intermediate_size=64, pad_token_id=1)
    yield "biogpt", t.BioGptForCausalLM(biogpt)


def neo_config() -> Any:
    """GPT-Neo with one layer that sees all tokens, and one that sees five."""
    return t.GPTNeoConfig(
        vocab_size=VOCAB,
        max_position_embeddings=32,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        window_size=5,
        **ENDS,
    )


def randomize(model: Any) -> Any:
    """Give every parameter values of the scale of a trained model, so that no mistake is small."""
    torch.manual_seed(11)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn_like(tensor)
            if name.endswith("bias"):
                tensor.copy_(0.1 * noise)
            elif "ln_" in name or "norm" in name:
                tensor.copy_(1 + 0.2 * noise)
            elif "wpe" in name or "position" in name:
                tensor.copy_(noise)
            else:
                tensor.copy_(2 * noise / tensor.shape[-1] ** 0.5)
    return model.eval()


def main() -> None:
    """Write the folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    ids = np.random.default_rng(7).integers(3, VOCAB - 1, LENGTH)
    for name, model in models():
        randomize(model).save_pretrained(FOLDER / name)
        with torch.no_grad():
            found = {"logits": model(torch.tensor(ids[None])).logits[0].numpy()}
            if name.endswith("choices"):
                found |= choices(model, ids)
        np.savez(FOLDER / name / "expected.npz", input_ids=ids, **found)


def choices(model: Any, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Return the score of ``ids`` as a choice that ends at each of its tokens."""
    one = torch.tensor(ids[None, None])  # [batch, choices, tokens]
    ends = (torch.tensor([[end]]) for end in range(len(ids)))
    scores = [model(one, mc_token_ids=end).mc_logits.item() for end in ends]
    return {"choices": np.array(scores, np.float32)}


if __name__ == "__main__":
    main()
