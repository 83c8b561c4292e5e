"""Added tokens whose letters are those of the byte alphabet, in what an engine writes."""

import pytest
from tokenizers import Tokenizer

from gpt2edge import Engine, SamplingParams
from gpt2edge.export import export_checkpoint
from tests.checkpoints import write_checkpoint
from tests.runtime.models import KEYS, write_tokenizer


@pytest.fixture(scope="module")
def spanish(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A model that knows the words "jardín" and "año" as tokens of their own."""
    folder = tmp_path_factory.mktemp("spanish")
    write_checkpoint(folder / "hf", {**KEYS, "vocab_size": 262}, seed=5)
    write_tokenizer(folder / "hf" / "tokenizer.json")
    library = Tokenizer.from_file(str(folder / "hf" / "tokenizer.json"))
    library.add_tokens(["jardín", "año"])
    library.save(str(folder / "hf" / "tokenizer.json"))
    return Engine(export_checkpoint(folder / "hf", folder / "onnx").path)


def test_text_stop_strings_and_logprobs_show_the_word(spanish: Engine) -> None:
    (garden,) = spanish.encode("jardín")
    always = SamplingParams(logit_bias={garden: 1e4}, temperature=0.0)
    done = spanish.generate("el ", max_new_tokens=3, sampling=always, logprobs=262)
    assert done.text == "jardín" * 3
    assert {top.token_id: top.text for top in done.top_logprobs[0]}[garden] == "jardín"
    stopped = spanish.generate("el ", max_new_tokens=9, sampling=always, stop="ínjar")
    assert (stopped.text, stopped.finish_reason, len(stopped.token_ids)) == ("jard", "stop", 2)
    assert spanish.score("el ", [[garden]])[0].text == "jardín"
