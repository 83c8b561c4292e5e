"""One graph for three engines: Optimum and onnxruntime-genai run the exported file as it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import write_checkpoint
from tests.export.running import greedy, open_session

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

PROMPT = list(range(5, 17))
NEW = 40
KEYS = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 32,
    "n_positions": 128,
    "vocab_size": 97,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@pytest.fixture
def model(tmp_path: Path) -> ModelDir:
    write_checkpoint(tmp_path / "hf", KEYS)
    return export_checkpoint(tmp_path / "hf", tmp_path / "out")


@pytest.mark.parametrize("io_binding", [False, True])
def test_optimum(model: ModelDir, io_binding: bool) -> None:
    torch = pytest.importorskip("torch")
    optimum = pytest.importorskip("optimum.onnxruntime", reason="interop: needs optimum-onnx")
    theirs = optimum.ORTModelForCausalLM.from_pretrained(model.path, use_io_binding=io_binding)
    found = theirs.generate(
        torch.tensor([PROMPT]), max_new_tokens=NEW, do_sample=False, eos_token_id=None
    )
    assert found[0, len(PROMPT) :].tolist() == greedy(open_session(model), PROMPT, NEW)


def test_onnxruntime_genai(model: ModelDir) -> None:
    genai = pytest.importorskip("onnxruntime_genai", reason="interop: needs onnxruntime-genai")
    (model.path / "genai_config.json").write_text(json.dumps(genai_config()))
    theirs = genai.Model(str(model.path))
    parameters = genai.GeneratorParams(theirs)
    length = len(PROMPT) + NEW
    parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
    generator = genai.Generator(theirs, parameters)
    generator.append_tokens(np.array([PROMPT], np.int32))
    found: list[int] = []
    while not generator.is_done():
        generator.generate_next_token()
        found.append(int(generator.get_next_tokens()[0]))
    assert found == greedy(open_session(model), PROMPT, NEW)


def genai_config() -> dict[str, Any]:
    decoder = {
        "session_options": {"provider_options": []},
        "filename": "model.onnx",
        "head_size": KEYS["n_embd"] // KEYS["n_head"],  # type: ignore[operator]
        "hidden_size": KEYS["n_embd"],
        "num_attention_heads": KEYS["n_head"],
        "num_key_value_heads": KEYS["n_head"],
        "num_hidden_layers": KEYS["n_layer"],
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "position_ids": "position_ids",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    return {
        "model": {
            "type": "phi",
            "vocab_size": KEYS["vocab_size"],
            "context_length": KEYS["n_positions"],
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
            "decoder": decoder,
        },
        "search": {"max_length": KEYS["n_positions"], "past_present_share_buffer": True},
    }
