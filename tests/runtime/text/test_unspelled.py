"""Ids that no token stands for, such as those that pad a vocabulary: they are never drawn."""

import logging
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge import GREEDY, SamplingParams
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.sampling.processors import Ids, Scope
from gpt2edge.runtime.sampling.sampler import Sampler, choose
from tests.checkpoints import SMALL, random_tensors, save_tensors, write_checkpoint

SPELLED = 512
"""Tokens of the tiny tokenizer."""


def _engine(
    folder: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture, **changes: Any
) -> gpt2edge.Engine:
    """A model of 8 ids more than its tokenizer has, which are far likelier than all others."""
    keys = {**SMALL, "vocab_size": SPELLED + 8, "tie_word_embeddings": False, **changes}
    keys["lm_head_bias"] = True
    write_checkpoint(folder / "hf", keys)
    tensors = random_tensors(keys)
    tensors["lm_head.bias"][SPELLED:] += 100
    save_tensors(folder / "hf", tensors)
    copyfile(checkpoint / "tokenizer.json", folder / "hf" / "tokenizer.json")
    with caplog.at_level(logging.WARNING, "gpt2edge"):
        model = export_checkpoint(folder / "hf", folder / "model")
    return gpt2edge.load(model.path)


def test_they_are_never_drawn(
    tmp_path: Path, tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = _engine(tmp_path, tiny_checkpoint, caplog)
    assert "no token of the tokenizer has the id 512 (nor 7 more)" in caplog.text
    ways = [
        GREEDY,
        SamplingParams(seed=1),
        SamplingParams(seed=1, top_k=5, repetition_penalty=1.2),
        SamplingParams(num_beams=3),
        SamplingParams(temperature=0, logit_bias={SPELLED + 1: 50.0}),
    ]
    for sampling in ways:
        beams = sampling.num_beams
        done = engine.generate_batch(
            ["a", "the sea"], n=min(2, beams), sampling=sampling, max_new_tokens=12, logprobs=1
        )
        assert max(token_id for item in done for token_id in item.token_ids) < SPELLED
    one = engine.generate("a", sampling=GREEDY, max_new_tokens=3, logprobs=1)
    logits = engine.logits("a")[-1]
    assert one.token_ids[0] == logits[:SPELLED].argmax()
    own = log_softmax(logits)[one.token_ids[0]]  # the model's own, of all ids
    assert one.logprobs[0] == pytest.approx(own, abs=1e-4)
    assert one.top_logprobs[0][0].token_id >= SPELLED


def test_an_end_of_text_need_not_be_spelled(
    tmp_path: Path, tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = _engine(tmp_path, tiny_checkpoint, caplog, eos_token_id=SPELLED + 3)
    done = engine.generate("a", sampling=GREEDY, max_new_tokens=3)
    assert (done.token_ids, done.finish_reason) == ((SPELLED + 3,), "eos")


@pytest.mark.parametrize("ids", [[3, 4], [1, 4]])
@pytest.mark.parametrize("params", [GREEDY, SamplingParams(seed=3)])
def test_in_a_batch_they_are_left_as_they_are(ids: list[int], params: SamplingParams) -> None:
    scope = Scope(unspelled=Ids.of(ids))
    samplers = [Sampler(params, stream_key=(0, at), scope=scope) for at in range(64)]
    logits = np.tile(np.array([1, 2, 3, 2, 9], np.float32), (64, 1))
    before = logits.copy()
    chosen = choose(samplers, logits, [[]] * 64, [[2]] * 64)
    assert not {2, *ids} & set(chosen)
    assert (logits == before).all()
    assert all(sampler(before[0], [], []) not in ids for sampler in samplers)


def test_a_vocabulary_that_fits_has_none(tiny_model: gpt2edge.ModelDir) -> None:
    engine = gpt2edge.load(tiny_model.path)
    assert engine.tokenizer is not None
    assert engine.tokenizer.unspelled(SPELLED, ()) is None
    assert engine.tokenizer.unspelled(SPELLED + 2, ()) == Ids.of([SPELLED, SPELLED + 1])
