"""Beam search and processors on the storyteller: transformers' texts, scores and n-best lists."""

from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.export import export_checkpoint
from tests.conftest import ROOT

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

CHECKPOINT = ROOT / "training" / "models" / "storyteller"
PROMPTS = [
    "Once upon a time",
    "The wolf",
    "The king said",
    "In the forest there lived",
    "'Good morning,' said",
    "An old woman",
    "The princess",
    "There was once a poor man",
    "A raven flew",
    "When the sun rose",
    "The youngest brother",
    "Under the tree",
    "The witch looked",
    "He took the golden apple",
    "No one knew",
    "At the bottom of the well",
    "The end of the story",
    "She wept and",
    "A hundred years",
    "The fox and the goose",
]
SETTINGS: list[dict[str, Any]] = [
    {"num_beams": 4},
    {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 2},
    {"num_beams": 5, "length_penalty": 0.3, "early_stopping": "never", "repetition_penalty": 1.2},
    {"num_beams": 2, "length_penalty": -1.0, "bad_words_ids": [[13], [262, 290], [11, 10]]},
]
PROCESSORS: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 1.1},
    {"bad_words_ids": [[13], [11, 10], [262, 290]]},
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Any]:
    model = export_checkpoint(CHECKPOINT, tmp_path_factory.mktemp("story") / "fp32")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(CHECKPOINT, dtype=torch.float32)
    return Engine(model.path), theirs.eval()


def reference(model: Any, prompt: list[int], **settings: Any) -> Any:
    with torch.inference_mode():
        return model.generate(
            torch.tensor([prompt]),
            max_new_tokens=20,
            do_sample=False,
            pad_token_id=0,
            output_scores=True,
            return_dict_in_generate=True,
            **{"repetition_penalty": 1.0, **settings},  # or theirs is the checkpoint's own
        )


def trimmed(token_ids: list[int], eos_ids: frozenset[int]) -> list[int]:
    """Up to the end token, padding away."""
    ends = [at for at, token_id in enumerate(token_ids) if token_id in eos_ids]
    return token_ids[: ends[0] + 1] if ends else token_ids


@pytest.mark.parametrize("settings", SETTINGS)
def test_n_best_of_twenty_prompts(both: tuple[Engine, Any], settings: dict[str, Any]) -> None:
    engine, model = both
    n = settings["num_beams"]
    params = SamplingParams(**settings)
    batch = engine.generate_batch(PROMPTS, n=n, max_new_tokens=20, sampling=params)
    for at, text in enumerate(PROMPTS):
        prompt = engine.encode(text)
        theirs = reference(model, prompt, num_return_sequences=n, **settings)
        found = batch[at * n : at * n + n]
        for rank, completion in enumerate(found):
            expected = theirs.sequences[rank, len(prompt) :].tolist()
            assert list(completion.token_ids) == trimmed(expected, engine.defaults.eos_ids)
            assert completion.score == pytest.approx(float(theirs.sequences_scores[rank]), rel=2e-5)


@pytest.mark.parametrize("settings", PROCESSORS)
def test_greedy_under_processors(both: tuple[Engine, Any], settings: dict[str, Any]) -> None:
    engine, model = both
    params = SamplingParams(temperature=0.0, **settings)
    batch = engine.generate_batch(PROMPTS, max_new_tokens=20, sampling=params)
    for text, done in zip(PROMPTS, batch, strict=True):
        prompt = engine.encode(text)
        expected = reference(model, prompt, **settings).sequences[0, len(prompt) :].tolist()
        assert list(done.token_ids) == trimmed(expected, engine.defaults.eos_ids)


def test_settings_of_a_generation_config_are_transformers_own(
    both: tuple[Engine, Any], tmp_path: Path
) -> None:
    settings = {**SETTINGS[1], "eos_token_id": 0, "max_new_tokens": 20}
    transformers.GenerationConfig(**settings).save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(CHECKPOINT / name)
    engine = Engine(export_checkpoint(tmp_path, tmp_path / "onnx").path)
    done = engine.generate(PROMPTS[0])
    expected = both[0].generate(
        PROMPTS[0], max_new_tokens=20, sampling=SamplingParams(**SETTINGS[1])
    )
    assert done.token_ids == expected.token_ids
