"""The begin-of-text token of a tokenizer's template: where it is put, and where not.

``tests/runtime/text/test_template_torch.py`` compares with transformers' ``AutoTokenizer``.
"""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library
from tokenizers import processors

from gpt2edge import Engine
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search import LikelihoodVerifier, Loom
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.checkpoints import write_checkpoint
from tests.cli.running import error, output_json
from tests.runtime.models import EOS, KEYS, write_tokenizer

BEGIN, END, HE = 260, 261, 256


def write_folder(folder: Path, single: str = "<s> $A", **keys: object) -> Path:
    """An exported model with a template."""
    write_checkpoint(folder / "hf", {**KEYS, "vocab_size": 262, **keys}, seed=5)
    write_tokenizer(folder / "hf" / "tokenizer.json")
    library = Library.from_file(str(folder / "hf" / "tokenizer.json"))
    library.add_special_tokens(["<s>", "</s>"])
    library.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    library.save(str(folder / "hf" / "tokenizer.json"))
    return export_checkpoint(folder / "hf", folder / "onnx").path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder)


@pytest.fixture(scope="module")
def bare(folder: Path) -> Engine:
    return Engine(folder, RuntimeOptions(add_special_tokens=False))


def test_a_prompt_begins_as_the_template_says(engine: Engine, bare: Engine) -> None:
    assert engine.encode("he") == [BEGIN, HE]
    assert engine.encode("<s>he") == [BEGIN, BEGIN, HE]  # as transformers
    assert engine.encode("") == [BEGIN]
    assert engine.encode([HE]) == [HE]
    assert engine.encode("he", add_special_tokens=False) == [HE]
    assert bare.encode("he") == [HE]
    assert bare.encode("") == [EOS]
    assert pickle.loads(pickle.dumps(bare)).encode("he") == [HE]


def test_without_a_template_the_model_s_own_may_be_added(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json")
    path = tmp_path / "tokenizer.json"
    assert Tokenizer(path).begin_ids == ()
    assert Tokenizer(path, add_special_tokens=True, bos_token_id=EOS).begin_ids == (EOS,)
    with pytest.raises(ValueError, match="no begin-of-text token that could be added"):
        Tokenizer(path, add_special_tokens=True)


TEMPLATES = {
    "bert": processors.BertProcessing(("</s>", END), ("<s>", BEGIN)),
    "roberta": processors.RobertaProcessing(("</s>", END), ("<s>", BEGIN)),
    "sequence": processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<s> <s> $A </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
            ),
        ]
    ),
    "bytes": processors.ByteLevel(trim_offsets=False),
    "end": processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)]),
}
AROUND = {
    "bert": ((BEGIN,), (END,)),
    "roberta": ((BEGIN,), (END,)),
    "sequence": ((BEGIN, BEGIN), (END,)),
    "bytes": ((), ()),
    "end": ((), (END,)),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_kind_of_template_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    library = Library.from_file(str(path))
    library.add_special_tokens(["<s>", "</s>"])
    library.post_processor = TEMPLATES[name]
    library.save(str(path))
    found = Tokenizer(path)
    assert (found.begin_ids, found.end_ids) == AROUND[name]
    assert found.encode("he") == [HE]
    assert [*found.begin_ids, HE, *found.end_ids] == library.encode("he").ids


def test_text_is_completed_as_its_ids_are(engine: Engine) -> None:
    ids = [BEGIN, *engine.encode(" hello", add_special_tokens=False)]
    expected = engine.generate(ids, max_new_tokens=8)
    other = engine.generate(ids[1:], max_new_tokens=8)
    assert expected.token_ids != other.token_ids
    assert engine.generate(" hello", max_new_tokens=8).token_ids == expected.token_ids
    stream = engine.stream(" hello", max_new_tokens=8)
    assert "".join(chunk.text for chunk in stream) == expected.text
    assert stream.completion.timing.prompt_tokens == len(ids)
    assert stream.completion.prompt == " hello"
    drawn = SamplingParams(temperature=1.0, seed=3)
    for group in ([" hello"] * 2, [ids] * 2):
        batch = engine.generate_batch(group, max_new_tokens=8, sampling=drawn)
        assert batch[0].token_ids == batch[1].token_ids


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    result: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    return result


def test_a_score_has_no_begin_in_its_middle(engine: Engine, bare: Engine) -> None:
    for each, begin in ((engine, [BEGIN]), (bare, [])):
        prompt = each.encode("hello", add_special_tokens=False)
        own = each.encode(" hell", add_special_tokens=False)
        logprobs = log_softmax(each.logits([*begin, *prompt, *own]))
        at = len(begin) + len(prompt) - 1
        expected = [logprobs[at + place, token_id] for place, token_id in enumerate(own)]
        (score,) = each.score("hello", [" hell"])
        assert score.token_ids == tuple(own)
        np.testing.assert_allclose(score.logprobs, expected, atol=1e-4)


def test_perplexity_begins_with_it_once(engine: Engine, bare: Engine) -> None:
    text = "hello he hell"
    own = engine.encode(text, add_special_tokens=False)
    for each, ids, scored in ((engine, [BEGIN, *own], len(own)), (bare, own, len(own) - 1)):
        logprobs = log_softmax(each.logits(ids))[:-1]
        expected = -logprobs[np.arange(len(ids) - 1), ids[1:]].mean()
        found = each.perplexity(text)
        assert found.tokens == scored
        assert found.mean_nll == pytest.approx(expected, abs=1e-4)


def test_verifiers_and_trees_read_it_before_the_prompt_alone(engine: Engine) -> None:
    (score,) = engine.score("hello", [" hell"])
    (likelihood,) = LikelihoodVerifier(engine).score("hello", [" hell"])
    assert likelihood == pytest.approx(np.exp(np.mean(score.logprobs)), rel=1e-4)
    loom = Loom(engine, "hello", tokens=2, sampling=SamplingParams(temperature=1.0, seed=1))
    loom.grow(loom.tree.root, n=2, depth=1)
    assert loom.tree.root.token_ids[0] == BEGIN
    assert all(node.state.startswith("hello") for node in loom.tree.nodes)
    assert Loom(engine, tree=loom.tree, sampling=SamplingParams(temperature=1.0)).tree is loom.tree


def test_it_stays_where_the_oldest_tokens_go(engine: Engine) -> None:
    prompt = "x" * 1100
    cut = engine.generate(prompt, max_new_tokens=24, overflow="truncate-left")
    assert cut.truncated
    kept = [BEGIN, *engine.encode("x" * 1000, add_special_tokens=False)]
    assert cut.token_ids == engine.generate(kept, max_new_tokens=24).token_ids
    assert cut.timing.prompt_tokens == 1001


def test_what_a_template_puts_behind_is_for_classifiers(tmp_path: Path) -> None:
    language = Engine(write_folder(tmp_path / "a", "<s> $A </s>"))
    assert language.encode("he") == [BEGIN, HE]
    assert language.logits("he").shape[0] == 2
    keys = {"architectures": ["GPT2ForSequenceClassification"], "num_labels": 2}
    classifier = Engine(write_folder(tmp_path / "b", "<s> $A </s>", **keys, pad_token_id=END))
    logits = classifier.logits("he")
    assert logits.shape == (3, 2)
    np.testing.assert_array_equal(logits, classifier.logits([BEGIN, HE, END]))


def test_commands_have_the_option(folder: Path, tmp_path: Path) -> None:
    def ids(*flags: str) -> list[int]:
        found: list[int] = output_json("tokenize", "-m", folder, *flags, "he")["token_ids"]
        return found

    assert ids() == ids("--add-bos") == [BEGIN, HE]
    assert ids("--no-add-bos") == [HE]
    shown = {}
    for flag in ("--add-bos", "--no-add-bos"):
        value = output_json("generate", "-m", folder, flag, "-n", 4, "--bad-word", "he", "hello")
        assert value["settings"]["bad_words_ids"] == [[HE]]
        shown[flag] = value["timing"]["prompt_tokens"]
    assert shown["--add-bos"] == shown["--no-add-bos"] + 1
    scores = [
        output_json("score", "-m", folder, *flags, "hello", " hell")["scores"][0]["logprob"]
        for flags in ([], ["--add-bos"], ["--no-add-bos"])
    ]
    assert scores[0] == scores[1] != scores[2]
    write_checkpoint(tmp_path / "hf", {**KEYS, "bos_token_id": None}, seed=5)
    write_tokenizer(tmp_path / "hf" / "tokenizer.json")
    path = export_checkpoint(tmp_path / "hf", tmp_path / "onnx").path
    for command in (["tokenize"], ["generate"]):
        message = error(*command, "-m", path, "--add-bos", "he")
        assert "no begin-of-text token" in message


def test_special_tokens_show_where_asked(folder: Path) -> None:
    biased = ["-m", folder, "-n", 3, "-l", f"{BEGIN}+1000", "--no-echo", "he"]
    hidden = output_json("generate", *biased)
    assert (hidden["text"], set(hidden["token_ids"])) == ("", {BEGIN})
    assert output_json("generate", "--special", *biased)["text"] == "<s><s><s>"


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ({}, [10]),
        ({"add_bos_token": False}, [10]),
        ({"add_bos_token": True}, [14, 10]),
        ({"add_bos_token": True, "bos_token": {"content": "<s>"}}, [15, 10]),
        ({"add_eos_token": True}, [10, 14]),
        ({"add_bos_token": True, "add_eos_token": True, "bos_token": "<s>"}, [15, 10, 14]),
    ],
)
def test_a_config_s_tokens_count_without_a_tokenizer_json(
    config: dict[str, object], ids: list[int], tmp_path: Path
) -> None:
    from gpt2edge.export.tokenizers.tokenizer import write_tokenizer as export
    from tests.export.test_tokenizer import write_source

    source = write_source(tmp_path / "in")
    (source / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<|endoftext|>", **config})
    )
    if "<s>" in json.dumps(config):
        (source / "added_tokens.json").write_text(json.dumps({"<s>": 15}))
    (tmp_path / "out").mkdir()
    assert export(source, tmp_path / "out", vocab_size=20)
    assert Library.from_file(str(tmp_path / "out" / "tokenizer.json")).encode("he").ids == ids
