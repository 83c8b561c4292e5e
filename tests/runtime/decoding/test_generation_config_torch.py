"""Generation settings in a checkpoint's files: the same greedy tokens as transformers' generate."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine
from gpt2edge.export import export_checkpoint
from tests.checkpoints import write_checkpoint
from tests.runtime.models import KEYS, write_tokenizer

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

torch.set_num_threads(1)  # the model is tiny

PROMPTS = [[64, 64, 24, 246, 77, 81, 1], [42]]
END = 254
"""A token that ends both greedy texts after a few others."""

GENERATION: dict[str, dict[str, Any]] = {
    "nothing": {},
    "new tokens": {"max_new_tokens": 7},
    "length": {"max_length": 10, "max_new_tokens": None},
    "length and new tokens": {"max_length": 9, "max_new_tokens": 10},
    "least new tokens": {"min_new_tokens": 40},
    "least length": {"min_length": 40},
    "least length that the prompt has": {"min_length": 3},
    "both least": {"min_length": 50, "min_new_tokens": 20},
    "least of none": {"min_length": 50, "min_new_tokens": 0},
    "suppressed": {"suppress_tokens": [59, 131, 5]},
    "end suppressed": {"suppress_tokens": [END]},
    "suppressed beyond the vocabulary": {"suppress_tokens": [59, 50256, -1]},
    "suppressed at the beginning": {"begin_suppress_tokens": [232, 100, 5]},
    "bias": {"sequence_bias": [[[59], -20.0], [[131], -20.0], [[9], 1.5]]},
    "bias of sequences": {"sequence_bias": [[[1, 6], 30.0], [[42, 6, 8], 30.0], [[42, 6], 30.0]]},
    "forced end": {"forced_eos_token_id": 33, "max_new_tokens": 25, "eos_token_id": None},
    "forced ends": {"forced_eos_token_id": [33, 34], "eos_token_id": None},
    "forced end before the least length": {
        "forced_eos_token_id": END,
        "max_new_tokens": 12,
        "min_new_tokens": 40,
    },
    "forced beginning": {"forced_bos_token_id": 44},
    "stop string": {"stop_strings": "gr", "eos_token_id": None},
    "stop strings": {"stop_strings": ['"t', "he"], "eos_token_id": None},
    "end growing likelier": {"exponential_decay_length_penalty": [5, 1.3], "eos_token_id": 17},
    "end growing likelier later": {
        "exponential_decay_length_penalty": [3, 1.5],
        "min_new_tokens": 20,
        "eos_token_id": [17, 18],
    },
    "tokens of the prompt": {"encoder_repetition_penalty": 2.0, "eos_token_id": None},
    "no tokens of the prompt": {"encoder_repetition_penalty": 0.5, "eos_token_id": None},
    "n-grams of the prompt": {"encoder_no_repeat_ngram_size": 2, "eos_token_id": None},
    "repetition": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3},
    "bad words": {"bad_words_ids": [[59], [100, 131]]},
    "no end": {"eos_token_id": None},
    "two ends": {"eos_token_id": [END, 70, 246]},
    "end beyond the vocabulary": {"eos_token_id": 50256},
    "cuts without sampling": {"temperature": 0.2, "top_k": 2, "top_p": 0.1, "epsilon_cutoff": 0.1},
    "beams": {"num_beams": 3, "length_penalty": 0.5, "early_stopping": True},
    "beams and rules": {
        "num_beams": 3,
        "min_length": 20,
        "begin_suppress_tokens": [5],
        "sequence_bias": [[[232, 6], 3.0]],
        "forced_eos_token_id": 33,
    },
    "without effect": {"output_scores": True, "use_cache": False, "pad_token_id": 3},
    "everything": {
        "min_length": 12,
        "suppress_tokens": [59],
        "begin_suppress_tokens": [232],
        "sequence_bias": [[[81, 5], 3.0]],
        "repetition_penalty": 1.2,
        "encoder_repetition_penalty": 1.1,
        "no_repeat_ngram_size": 4,
        "forced_eos_token_id": 33,
        "exponential_decay_length_penalty": [15, 1.01],
    },
}
SAME = {
    "nothing",
    "least length that the prompt has",
    "least of none",
    "cuts without sampling",
    "without effect",
}
"""Those that change nothing."""
FIXED = {"eos_token_id": END, "pad_token_id": END, "max_new_tokens": 60}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings") / "hf"
    write_checkpoint(folder, KEYS, seed=5)
    write_tokenizer(folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    return load(checkpoint)


@pytest.fixture(scope="module")
def plain(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """The texts without any of the settings."""
    (checkpoint / "generation_config.json").write_text(json.dumps(FIXED))
    return ours(checkpoint, tmp_path_factory.mktemp("plain") / "out")


def load(folder: Path) -> Any:
    return transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()


def theirs(model: Any, folder: Path) -> list[list[int]]:
    stops = model.generation_config.stop_strings
    given = {"tokenizer": transformers.AutoTokenizer.from_pretrained(folder)} if stops else {}
    texts = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        text = model.generate(ids, attention_mask=torch.ones_like(ids), **given)
        text = text if torch.is_tensor(text) else text.sequences
        texts.append(text[0, len(prompt) :].tolist())
    return texts


def ours(folder: Path, out: Path) -> list[list[int]]:
    with Engine(export_checkpoint(folder, out).path) as engine:
        return [list(engine.generate(prompt).token_ids) for prompt in PROMPTS]


@pytest.mark.parametrize("name", GENERATION)
def test_generation_config(
    name: str, model: Any, plain: list[list[int]], checkpoint: Path, tmp_path: Path
) -> None:
    settings = {**FIXED, **GENERATION[name]}
    (checkpoint / "generation_config.json").write_text(json.dumps(settings))
    model.generation_config = transformers.GenerationConfig.from_pretrained(checkpoint)
    found = ours(checkpoint, tmp_path / "out")
    assert found == theirs(model, checkpoint)
    assert (found == plain) == (name in SAME)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    "keys",
    [
        {"min_length": 30},
        {"max_length": 12, "max_new_tokens": None},
        {"suppress_tokens": [59, 131, 5]},
        {"num_beams": 3},
        {"repetition_penalty": 1.4},
        {"bad_words_ids": [[59]], "do_sample": False, "temperature": 0.5},
        {"forced_eos_token_id": 33, "max_new_tokens": 9},
    ],
)
def test_settings_in_config(
    keys: dict[str, Any], beside: bool, plain: list[list[int]], checkpoint: Path, tmp_path: Path
) -> None:
    """They count where there is no generation_config.json, and only there."""
    path = checkpoint / "generation_config.json"
    path.unlink(missing_ok=True)
    if beside:
        path.write_text(json.dumps(FIXED))
    before = (checkpoint / "config.json").read_text()
    (checkpoint / "config.json").write_text(json.dumps({**KEYS, **FIXED, **keys}))
    try:
        found, expected = ours(checkpoint, tmp_path / "out"), theirs(load(checkpoint), checkpoint)
    finally:
        (checkpoint / "config.json").write_text(before)
    assert found == expected
    assert (found == plain) == beside
