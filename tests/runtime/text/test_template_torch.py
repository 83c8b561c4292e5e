"""Templates and stop strings with special tokens as transformers has them."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from gpt2edge import Engine
from gpt2edge.export.tokenizers.tokenizer import write_tokenizer as export
from gpt2edge.runtime.text.stopping import StopMatcher
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.runtime.models import write_tokenizer
from tests.runtime.text.test_template import BEGIN, END, TEMPLATES, write_folder

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

CONFIGS = [
    None,
    {},
    {"bos_token": "<s>", "add_bos_token": True},
    {"bos_token": "<s>", "add_bos_token": False},
    {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True, "add_eos_token": True},
    {"bos_token": {"content": "<s>", "__type": "AddedToken"}, "add_bos_token": True},
]
TEXTS = ["he", " hello world", "<s>he", "he</s>", "naïve <|endoftext|> café"]


def compared(source: Path, out: Path) -> tuple[list[list[int]], list[list[int]]]:
    """Ids of ``TEXTS`` by us, what stands behind included, and by transformers."""
    out.mkdir()
    assert export(source, out, vocab_size=262)
    ours, theirs = (
        Tokenizer(out / "tokenizer.json"),
        transformers.AutoTokenizer.from_pretrained(source),
    )
    found = [[*ours.begin_ids, *ours.encode(text), *ours.end_ids] for text in TEXTS]
    return found, [theirs(text)["input_ids"] for text in TEXTS]


def write_config(source: Path, config: dict[str, Any] | None) -> None:
    (source / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    if config is not None:
        (source / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", [None, *TEMPLATES])
def test_ids_are_those_of_auto_tokenizer(
    name: str | None, config: dict[str, Any] | None, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_config(source, config)
    write_tokenizer(source / "tokenizer.json")
    library = Library.from_file(str(source / "tokenizer.json"))
    library.add_special_tokens(["<s>", "</s>"])
    if name is not None:
        library.post_processor = TEMPLATES[name]
    library.save(str(source / "tokenizer.json"))
    found, expected = compared(source, tmp_path / "out")
    assert found == expected


@pytest.mark.parametrize("config", CONFIGS)
def test_so_are_those_of_a_vocabulary_and_merges(
    config: dict[str, Any] | None, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_config(source, config)
    write_tokenizer(tmp_path / "tokenizer.json")
    library = json.loads((tmp_path / "tokenizer.json").read_text())
    vocab = {**library["model"]["vocab"], "<|endoftext|>": 259, "<s>": BEGIN, "</s>": END}
    (source / "vocab.json").write_text(json.dumps(vocab))
    merges = [" ".join(pair) for pair in library["model"]["merges"]]
    (source / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    special = {"additional_special_tokens": ["<s>", "</s>"]}
    (source / "special_tokens_map.json").write_text(json.dumps(special))
    found, expected = compared(source, tmp_path / "out")
    assert found == expected


def test_completions_are_those_of_transformers(tmp_path: Path) -> None:
    engine = Engine(write_folder(tmp_path))
    shutil.copyfile(tmp_path / "onnx" / "tokenizer.json", tmp_path / "hf" / "tokenizer.json")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    inputs = tokenizer("hello", return_tensors="pt")
    assert inputs["input_ids"][0, 0] == BEGIN
    wanted = model.generate(**inputs, max_new_tokens=12, do_sample=False, pad_token_id=END)
    prompt = inputs["input_ids"].shape[1]
    assert (
        list(engine.generate("hello", max_new_tokens=12).token_ids) == wanted[0, prompt:].tolist()
    )


STOPS = ["\n<s>", "<s>he", "<s></s>", "s>\n", "he</s>h", "h<|endoftext|>"]


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_string_fires_where_transformers_criterion_does(stop: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_config(folder, {"tokenizer_class": "PreTrainedTokenizerFast"})
    write_tokenizer(folder / "tokenizer.json")
    library = Library.from_file(str(folder / "tokenizer.json"))
    library.add_special_tokens(["<s>", "</s>"])
    library.save(str(folder / "tokenizer.json"))
    ours = Tokenizer(folder / "tokenizer.json")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    criterion = transformers.StopStringCriteria(theirs, [stop])
    pool = [ours.encode(text)[0] for text in ("\n", "h", "he", "s", ">")] + [BEGIN, END, 259]
    fired = 0
    for token_ids in itertools.product(pool, repeat=3):
        matcher = StopMatcher([stop])
        for token_id in token_ids:
            matcher.push(ours.piece(token_id), shown=token_id not in ours.special_ids)
        ends = [bool(criterion(torch.tensor([token_ids[:at]]), None)[0]) for at in range(1, 4)]
        assert (matcher.matched is not None) == any(ends), token_ids
        fired += any(ends)
    assert fired
