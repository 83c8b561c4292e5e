"""The exported graph against PyTorch: the same logits, the same greedy tokens."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.tokenizers.tokenizer import write_tokenizer
from tests.checkpoints import write_checkpoint
from tests.export.configurations import CASES
from tests.export.running import SORTER, TOY_CHAT, greedy, open_session, run

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

torch.set_num_threads(1)  # the models are tiny

TOLERANCE = 1e-4
PROMPT = 24
GREEDY = 200


@pytest.mark.parametrize("name", CASES)
def test_same_as_torch(name: str, tmp_path: Path) -> None:
    keys, options = CASES[name]
    keys = {**keys, "n_positions": 256}
    tensors = write_checkpoint(tmp_path / "hf", keys, **options)
    session = open_session(export_checkpoint(tmp_path / "hf", tmp_path / "onnx"))
    model = _torch_model(tmp_path / "hf", keys)
    bias = tensors.get("lm_head.bias", np.float32(0))
    ids = np.random.default_rng(1).integers(0, keys["vocab_size"], PROMPT + 4).tolist()
    expected = _torch_logits(model, ids) + bias
    logits, cache = run(session, ids[:PROMPT])
    worst = np.abs(logits - expected[:PROMPT]).max()
    for position in range(PROMPT, len(ids)):
        logits, cache = run(session, ids[position : position + 1], cache)
        worst = max(worst, np.abs(logits[0] - expected[position]).max())
    print(f"{name}: {worst:.2e} where the largest logit is {np.abs(expected).max():.1f}")
    assert worst <= TOLERANCE
    if "LMHead" in type(model).__name__:
        assert greedy(session, ids[:8], GREEDY) == _torch_greedy(model, ids[:8], GREEDY, bias)


SAVED = [
    ("GPT2LMHeadModel", {}, {}),
    ("GPT2LMHeadModel", {"tie_word_embeddings": False}, {"max_shard_size": "40KB"}),
    ("GPT2Model", {}, {}),
    ("GPT2DoubleHeadsModel", {"num_labels": 1}, {}),
    ("GPT2ForSequenceClassification", {"num_labels": 2}, {}),
    ("GPT2ForSequenceClassification", {"num_labels": 3}, {}),
    ("GPT2ForTokenClassification", {"num_labels": 1}, {}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("name", "changes", "saving"), SAVED)
def test_what_transformers_saves(
    name: str, changes: Any, saving: Any, dtype: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=2, n_head=4, n_embd=32, n_positions=64, vocab_size=97, **changes
    )
    model = getattr(transformers, name)(config).to(dtype).eval()
    model.save_pretrained(tmp_path / "hf", **saving)
    session = open_session(export_checkpoint(tmp_path / "hf", tmp_path / "onnx"))
    ids = list(range(40))
    with torch.no_grad():
        hidden = getattr(model.float(), "transformer", model)(torch.tensor([ids]))[0]
        tied = model.get_input_embeddings().weight.T
        expected = hidden @ tied if name == "GPT2Model" else _head(model)(hidden)
    assert np.abs(run(session, ids)[0] - expected[0].numpy()).max() <= TOLERANCE


def test_sorter_is_torch_on_every_input(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / SORTER
    session = open_session(export_checkpoint(source, tmp_path / "onnx"))
    model = _torch_model(source, json.loads((source / "config.json").read_text()))
    rows = torch.tensor(list(product(range(3), repeat=6)))  # [729, 6]
    for _ in range(6):
        with torch.no_grad():
            logits = _head(model)(model.transformer(rows).last_hidden_state)
        rows = torch.cat([rows, logits[:, -1:].argmax(-1)], dim=1)
    logits = logits.numpy()  # [729, 11, 3], of all letters but the last sorted one
    for row, expected in zip(rows.tolist(), logits, strict=True):
        assert np.abs(run(session, row[:-1])[0] - expected).max() <= TOLERANCE
        assert greedy(session, row[:6], 6) == row[6:]


def test_toy_chat_is_torch(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / TOY_CHAT
    session = open_session(export_checkpoint(source, tmp_path / "onnx"))
    model = _torch_model(source, json.loads((source / "config.json").read_text()))
    bias = Checkpoint.open(source).tensor("lm_head.bias")
    ids = np.random.default_rng(2).integers(0, 4096, 100).tolist()
    expected = _torch_logits(model, ids) + bias
    found, _ = run(session, ids)
    assert np.abs(found - expected).max() <= TOLERANCE * max(1, np.abs(expected).max() / 10)
    assert greedy(session, ids[:16], 150) == _torch_greedy(model, ids[:16], 150, bias)


TEXTS = [
    "Hello world,  it's   3.14!\n\tdef f(x):\r\n",
    "naïve café Übung 東京 \u0627\u0644\u0644\u063a\u0629 🎉👩‍👩‍👧 \u00a0\u2028x",
    "a<|endoftext|>b <|endoftext|> <|endoftex|>",
    "".join(map(chr, range(0x2100))),
]


def test_tokenizer_from_openais_files_is_transformers(shared_data: Path, tmp_path: Path) -> None:
    files = shared_data / "data" / "tokenizer"
    assert write_tokenizer(files, tmp_path, vocab_size=50257)
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs = transformers.GPT2Tokenizer(
        vocab=str(files / "encoder.json"), merges=str(files / "vocab.bpe")
    )
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"]
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text


def _torch_model(source: Path, keys: Any) -> Any:
    name = (keys["architectures"] or ["GPT2Model"])[0].replace("GPT2Model", "GPT2LMHeadModel")
    model_class = getattr(transformers, name)
    return model_class.from_pretrained(
        source, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def _head(model: Any) -> Any:
    return next(getattr(model, n) for n in ("lm_head", "score", "classifier") if hasattr(model, n))


def _torch_logits(model: Any, ids: list[int]) -> Any:
    """[n, size] for every position, whatever the head makes of them afterwards."""
    with torch.no_grad():
        hidden = model.transformer(torch.tensor([ids])).last_hidden_state
        return _head(model)(hidden)[0].numpy()


def _torch_greedy(model: Any, prompt: list[int], count: int, bias: Any = 0.0) -> list[int]:
    tokens: list[int] = []
    ids, past = prompt, None
    with torch.no_grad():
        while len(tokens) < count:
            output = model.transformer(torch.tensor([ids]), past_key_values=past, use_cache=True)
            past = output.past_key_values
            logits = _head(model)(output.last_hidden_state)[0, -1].numpy() + bias
            ids = [int(logits.argmax())]
            tokens += ids
    return tokens
