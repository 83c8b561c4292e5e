"""A model's own generation settings: what of ``generation_config.json`` becomes of a call."""

from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.config import ModelConfig
from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.decoding.defaults import GenerationDefaults
from gpt2edge.runtime.text.stopping import StopParams
from tests.runtime.models import EOS, KEYS, make_engine

PROMPT = [10, 200, 31]


def defaults(**keys: Any) -> GenerationDefaults:
    return GenerationDefaults.from_dict(keys, ModelConfig(vocab_size=260))


def test_rules_become_sampling_parameters() -> None:
    rules: dict[str, Any] = {
        "sequence_bias": [[[5], 1.0]],
        "suppress_tokens": [3, 4],
        "begin_suppress_tokens": [5],
        "forced_bos_token_id": 6,
        "forced_eos_token_id": [7, 8],
        "exponential_decay_length_penalty": [3, 1.1],
        "encoder_repetition_penalty": 1.2,
        "encoder_no_repeat_ngram_size": 4,
    }
    assert defaults(**rules).sampling == SamplingParams(temperature=0.0, **rules)


def test_ends_become_stop_parameters() -> None:
    found = defaults(min_new_tokens=3, max_time=2.5, stop_strings=["a", "b"])
    assert found.stop == StopParams(strings=("a", "b"), min_new_tokens=3, max_time=2.5)
    assert defaults(stop_strings="ab").stop.strings == ("ab",)
    assert defaults(min_length=9).stop == StopParams(min_length=9)
    assert defaults(min_length=9, min_new_tokens=0).stop == StopParams()


@pytest.mark.parametrize(
    ("keys", "new", "longest"),
    [
        ({}, 128, None),
        ({"max_length": 20}, 128, 20),
        ({"max_length": 20, "max_new_tokens": 7}, 7, None),
        ({"max_length": None, "max_new_tokens": None}, 128, None),
    ],
)
def test_limits(keys: dict[str, Any], new: int, longest: int | None) -> None:
    found = defaults(**keys)
    assert (found.max_new_tokens, found.max_length) == (new, longest)


def test_what_is_outside_the_vocabulary() -> None:
    found = defaults(suppress_tokens=[1, 260, 50256, -1], begin_suppress_tokens=[50256]).sampling
    assert (list(found.suppress_tokens), list(found.begin_suppress_tokens)) == ([1], [])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"forced_eos_token_id": 50256}, "forced_eos_token_id names token 50256; it must be below"),
        ({"bad_words_ids": [[1, 300]]}, "bad_words_ids names token 300; it must be below"),
        ({"sequence_bias": [[[260], 1.0]]}, "sequence_bias names token 260; it must be below"),
        ({"min_length": -1}, "min_length is -1"),
        ({"min_new_tokens": "x"}, "min_new_tokens is 'x'"),
        ({"max_length": 0}, "max_length is 0"),
        ({"max_time": "soon"}, "max_time is 'soon'"),
        ({"stop_strings": [""]}, "a string of stop is ''"),
        ({"stop_strings": 5}, "stop is 5"),
        ({"suppress_tokens": 5}, "suppress_tokens is 5"),
    ],
)
def test_values_out_of_range_are_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelDirError, match=rf"generation_config\.json: {message}"):
        defaults(**keys)


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    settings = {"max_length": 12, "min_length": 8, "stop_strings": ["zzz"]}
    ends = {**settings, "eos_token_id": list(range(0, 260, 2))}
    return make_engine(tmp_path_factory.mktemp("bounded"), KEYS, generation_config=ends)


def test_lengths_count_the_prompt(bounded: Engine) -> None:
    for prompt in (PROMPT, [*PROMPT, 5, 6]):
        for completion in bounded.generate_batch([prompt, [1]]):
            length = completion.timing.prompt_tokens + len(completion.token_ids)
            assert 8 <= length <= 12
            assert all(token_id % 2 for token_id in completion.token_ids[:-1])
    assert len(bounded.generate([1], max_new_tokens=11).token_ids) >= 7


def test_a_prompt_as_long_as_the_limit(bounded: Engine) -> None:
    with pytest.raises(ValueError, match=r"prompt has 12 tokens.*max_length 12: give max_new"):
        bounded.generate(list(range(1, 13)))
    assert bounded.generate(list(range(1, 13)), max_new_tokens=1).finish_reason in ("eos", "length")


def test_stop_strings_of_a_call_keep_the_other_conditions(bounded: Engine) -> None:
    for stop in ("yyy", ["yyy", "xxx"], []):
        given = bounded.request(PROMPT, stop=stop).generations[0]._arguments.stop
        assert given.min_new_tokens == 8 - len(PROMPT)
        assert given.strings == ((stop,) if isinstance(stop, str) else tuple(stop))
    plain = bounded.request(PROMPT, stop=StopParams()).generations[0]._arguments.stop
    assert plain == StopParams()
    assert bounded.request(PROMPT).generations[0]._arguments.stop.strings == ("zzz",)


def test_without_end_tokens_those_of_the_configuration_hold(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "a", KEYS, generation_config={"temperature": 0.5})
    assert engine.defaults.eos_ids == {EOS}
    engine = make_engine(tmp_path / "b", KEYS, generation_config={"eos_token_id": None})
    assert not engine.defaults.eos_ids


def test_a_rule_of_a_token_that_does_not_exist(bounded: Engine) -> None:
    for rule in (
        SamplingParams(forced_bos_token_id=260),
        SamplingParams(forced_eos_token_id=260),
    ):
        with pytest.raises(ValueError, match="token id 260 is outside the vocabulary"):
            bounded.generate(PROMPT, sampling=rule)
