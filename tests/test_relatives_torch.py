"""GPT-2's relatives against transformers, live: odd shapes, and drift beside GPT-2's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from gpt2edge import Engine
from gpt2edge.export import export_checkpoint
from gpt2edge.export.tokenizers.tokenizer import write_tokenizer
from gpt2edge.quant import Calibration, quantize
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.data.make_tokenizers import BLANKS, CHINESE, ENGLISH, JAPANESE, KOREAN, UNSEEN

pytestmark = pytest.mark.interop
torch: Any = pytest.importorskip("torch", reason="interop: needs torch")
transformers: Any = pytest.importorskip("transformers", "5", reason="interop: needs transformers 5")

VOCAB: Final = 211
FAMILIES: Final = ("gpt2", "gpt1", "gpt_neo", "gpt_bigcode", "gpt_bigcode-mha", "opt", "biogpt")


def model_of(family: str, *, width: int, heads: int, layers: int, length: int) -> Any:
    """A model of transformers with random weights, scaled by the inputs of each product."""
    t = transformers
    own = {"vocab_size": VOCAB, "n_positions": length, "n_embd": width, "n_layer": layers}
    own |= {"n_head": heads}
    other = {"vocab_size": VOCAB, "hidden_size": width, "max_position_embeddings": length}
    bart = {**other, "num_hidden_layers": layers, "num_attention_heads": heads}
    ends = {"bos_token_id": 2, "eos_token_id": 2}
    kinds = [[["global", "local"], layers // 2]]
    neo = {"num_layers": layers, "num_heads": heads, "attention_types": kinds, "window_size": 7}
    made: Mapping[str, Any] = {
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**own, **ends)),
        "gpt1": lambda: t.OpenAIGPTLMHeadModel(t.OpenAIGPTConfig(**own)),
        "gpt_neo": lambda: t.GPTNeoForCausalLM(t.GPTNeoConfig(**other, **neo, **ends)),
        "gpt_bigcode": lambda: t.GPTBigCodeForCausalLM(t.GPTBigCodeConfig(**own, **ends)),
        "gpt_bigcode-mha": lambda: t.GPTBigCodeForCausalLM(
            t.GPTBigCodeConfig(**own, **ends, multi_query=False)
        ),
        "opt": lambda: t.OPTForCausalLM(
            t.OPTConfig(**bart, **ends, ffn_dim=4 * width, word_embed_proj_dim=width)
        ),
        "biogpt": lambda: t.BioGptForCausalLM(
            t.BioGptConfig(**bart, intermediate_size=4 * width, scale_embedding=family != "gpt2")
        ),
    }
    model = made[family]().eval()
    torch.manual_seed(11)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.randn_like(tensor) * scale_of(name, tensor, family, width // heads))
            if ("ln_" in name or "norm" in name) and name.endswith("weight"):
                tensor.add_(1)
    return model


def scale_of(name: str, tensor: Any, family: str, head_dim: int) -> float:
    """The deviation of a weight: one over the root of a product's inputs, less for the rest."""
    if name.endswith("bias"):
        return 0.1
    if "ln_" in name or "norm" in name:
        return 0.2
    if "wpe" in name or "position" in name:
        return 0.3
    if "wte" in name or "embed" in name:
        width = tensor.shape[1]
        return float(2 / width if family == "biogpt" else 2 / width**0.5)
    inputs = tensor.shape[0] if family in ("gpt2", "gpt1") else tensor.shape[-1]
    unscaled = family == "gpt_neo" and "q_proj" in name  # its scores have no scale
    return float(inputs**-0.5 * (head_dim**-0.5 if unscaled else 1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("width", "heads"), [(36, 3), (48, 2)], ids=["head_dim 12", "24"])
def test_logits_in_every_shape(family: str, width: int, heads: int, tmp_path: Path) -> None:
    """Also where the kernel's heads are padded, in prefill by chunks and in decode."""
    model = model_of(family, width=width, heads=heads, layers=4, length=40)
    model.save_pretrained(tmp_path / "hf")
    ids = np.random.default_rng(3).integers(3, VOCAB, 40)
    with torch.no_grad():
        want = model(torch.tensor(ids[None])).logits[0].numpy()
    allowed = 1e-4 * max(1.0, float(np.abs(want).max()))
    for profile in ("cpu", "portable"):
        out = export_checkpoint(tmp_path / "hf", tmp_path / profile, profile=profile)
        with Engine(out.path) as engine:
            assert np.abs(engine.logits(ids.tolist()) - want).max() < allowed
            decoder = engine.decoder(rows=1, max_length=40)
            for start in range(0, 30, 7):
                stop = min(start + 7, 30)
                found = np.concatenate(list(decoder.prefill_all(0, ids[start:stop].tolist())))
                assert np.abs(found - want[start:stop]).max() < allowed
            for at in range(30, 40):
                assert np.abs(decoder.decode([int(ids[at])])[0] - want[at]).max() < allowed


@pytest.mark.slow
def test_recipes_drift_as_little_as_for_gpt2(tmp_path: Path) -> None:
    """The divergence of each relative is at most twice that of a GPT-2 of its scale."""
    drifts = {family: drift(family, tmp_path / family) for family in FAMILIES}
    for family, found in drifts.items():
        for recipe, value in found.items():
            assert value < 2 * drifts["gpt2"][recipe], (family, recipe, drifts)


def drift(family: str, folder: Path) -> dict[str, float]:
    """Mean KL divergence of each recipe from float32, over random texts."""
    model_of(family, width=64, heads=4, layers=2, length=64).save_pretrained(folder / "hf")
    full = export_checkpoint(folder / "hf", folder / "fp32")
    rng = np.random.default_rng(0)
    texts = rng.integers(3, VOCAB, (8, 64)).tolist()
    calibration = Calibration(token_ids=rng.integers(3, VOCAB, 2000).tolist())
    found = {}
    with Engine(full.path) as engine:
        before = [log_softmax(engine.logits(text)) for text in texts]
    for recipe in ("int8", "int8-block", "int4"):
        smaller = quantize(full, folder / recipe, recipe=recipe, calibration=calibration)
        with Engine(smaller.path) as engine:
            after = [log_softmax(engine.logits(text)) for text in texts]
        pairs = zip(before, after, strict=True)
        found[recipe] = float(np.mean([(np.exp(p) * (p - q)).sum(-1).mean() for p, q in pairs]))
    return found


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("fallback", [False, True], ids=["", "bytes"])
def test_sentencepiece_with_its_own_normalization(
    kind: str, fallback: bool, tmp_path: Path
) -> None:
    """Trained with the package's default rules (nmt_nfkc), as rinna's models are."""
    spm: Any = pytest.importorskip("sentencepiece", reason="interop: needs sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join([JAPANESE, KOREAN, ENGLISH, CHINESE] * 30))
    spm.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=460 if fallback else 230,
        model_type=kind,
        byte_fallback=fallback,
        user_defined_symbols=["[CLS]", "[SEP]"],
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    own = spm.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    (tmp_path / "out").mkdir()
    assert write_tokenizer(tmp_path, tmp_path / "out", vocab_size=own.get_piece_size())
    read = Tokenizer(tmp_path / "out" / "tokenizer.json")
    rng = np.random.default_rng(8)
    letters = list(f"{JAPANESE}{KOREAN}{ENGLISH}{CHINESE} \t[SEP]ﬁⅧ　Ａé")
    made = ["".join(rng.choice(letters, 30)) for _ in range(60)]
    for text in (JAPANESE, KOREAN, ENGLISH, CHINESE, UNSEEN, "a [SEP]b", *BLANKS, *made):
        assert read.encode(text) == own.encode(text), text
