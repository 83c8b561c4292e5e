"""Engine: invariants that hold whatever the weights are."""

import dataclasses
import inspect
import itertools
import pydoc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gpt2edge
from gpt2edge import GREEDY, Chunk, Engine, SamplingParams
from gpt2edge.config import ModelConfig
from gpt2edge.errors import ContextLengthError, Gpt2EdgeError, ModelDirError, ProviderError
from gpt2edge.runtime.arguments import GenerateArguments
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.defaults import GenerationDefaults
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.text.stopping import StopParams
from tests.runtime.models import EOS, KEYS, make_engine

WARM = SamplingParams(temperature=0.9, top_k=40, top_p=0.95, seed=11)
PROMPTS = ["Once upon a time", "he", "", "Ünïcödé 😀 and more than a few tokens", "hello hello"]


def joined(chunks: Iterator[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_decoding_with_the_cache_is_the_full_forward(engine: Engine) -> None:
    token_ids = np.random.default_rng(0).integers(0, 260, 300).tolist()
    full = engine.logits(token_ids)
    decoder = engine.decoder(rows=1, max_length=300)
    rows = [decoder.prefill(0, token_ids[:1])]
    rows += [decoder.decode([token_id])[0].copy() for token_id in token_ids[1:]]
    assert np.abs(np.array(rows) - full).max() < 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_any_lengths_equal_solo_rows_to_the_bit(engine: Engine, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = [1, 1019, *rng.integers(1, 1020, 4)]
    prompts = [rng.integers(0, 260, length).tolist() for length in lengths]
    tokens = rng.integers(0, 260, (5, len(prompts)))
    decoder = engine.decoder(rows=len(prompts), max_length=1024)
    together = [[decoder.prefill(row, prompt) for row, prompt in enumerate(prompts)]]
    together += [list(decoder.decode(step).copy()) for step in tokens]
    for row, prompt in enumerate(prompts):
        solo = engine.decoder(rows=1, max_length=1024)
        alone = [solo.prefill(0, prompt)]
        alone += [solo.decode([step[row]])[0].copy() for step in tokens]
        for step, logits in zip(together, alone, strict=True):
            assert np.array_equal(step[row], logits)


def test_fork_truncate_and_go_on_equals_from_scratch(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    prompt, other = rng.integers(0, 260, 50).tolist(), rng.integers(0, 260, 20).tolist()
    decoder = engine.decoder(rows=3, max_length=100)
    decoder.prefill(0, prompt)
    for token_id in other:
        decoder.decode([token_id])
    decoder.cache.fork(0, [1, 2])
    decoder.cache.truncate(1, 40)
    logits = decoder.prefill(1, other)
    scratch = engine.decoder(rows=1, max_length=100)
    scratch.prefill(0, prompt[:40])
    assert np.array_equal(logits, scratch.prefill(0, other))
    decoder.cache.select([2, 1, 1])
    step = decoder.decode([7, 8, 9])
    assert np.array_equal(step[1], scratch.decode([8])[0])
    scratch.cache.truncate(0, 60)
    assert np.array_equal(step[2], scratch.decode([9])[0])


@pytest.mark.parametrize("sampling", [GREEDY, WARM, SamplingParams(seed=3)])
def test_a_batch_holds_the_solo_texts(engine: Engine, sampling: SamplingParams) -> None:
    solo = [engine.generate(p, max_new_tokens=30, sampling=sampling).token_ids for p in PROMPTS]
    batch = engine.generate_batch(PROMPTS, max_new_tokens=30, sampling=sampling)
    assert [completion.token_ids for completion in batch] == solo
    assert [completion.prompt for completion in batch] == PROMPTS


def test_a_small_cache_gives_the_same_texts_in_turns(engine: Engine) -> None:
    tight = Engine(engine.model.path, RuntimeOptions(cache_bytes=40_000))
    wide = engine.generate_batch(PROMPTS, n=4, max_new_tokens=20, sampling=WARM)
    narrow = tight.generate_batch(PROMPTS, n=4, max_new_tokens=20, sampling=WARM)
    assert [c.token_ids for c in narrow] == [c.token_ids for c in wide]
    assert [(c.prompt, c.index) for c in narrow] == [(p, i) for p in PROMPTS for i in range(4)]


def test_samples_of_a_prompt_share_one_prefill(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefilled = []
    original = Decoder.prefill_by_chunks

    def counted(self: Decoder, row: int, token_ids: list[int]) -> Any:
        prefilled.append(len(token_ids))
        return original(self, row, token_ids)

    monkeypatch.setattr(Decoder, "prefill_by_chunks", counted)
    samples = engine.generate_batch(["Once upon"], n=8, max_new_tokens=12, sampling=WARM)
    assert prefilled == [len(engine.encode("Once upon"))]
    assert len({sample.token_ids for sample in samples}) > 4
    assert (
        samples[0].token_ids
        == engine.generate("Once upon", max_new_tokens=12, sampling=WARM).token_ids
    )
    again = engine.generate_batch(["he", "Once upon"], n=3, max_new_tokens=12, sampling=WARM)
    assert [c.token_ids for c in again[3:]] == [c.token_ids for c in samples[:3]]


@pytest.mark.parametrize("stop", [None, "e", ["zz", "\x00"], StopParams(ignore_eos=True)])
@pytest.mark.parametrize("seed", range(5))
def test_streamed_pieces_join_to_the_text(engine: Engine, stop: object, seed: int) -> None:
    sampling = SamplingParams(seed=seed)
    whole = engine.generate("he", max_new_tokens=60, sampling=sampling, stop=stop)  # type: ignore[arg-type]
    stream = engine.stream("he", max_new_tokens=60, sampling=sampling, stop=stop)  # type: ignore[arg-type]
    chunks = list(stream)
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert tuple(chunk.token_id for chunk in chunks) == whole.token_ids
    assert chunks[-1].finish_reason == whole.finish_reason == stream.completion.finish_reason
    assert all(chunk.finish_reason is None for chunk in chunks[:-1])


def test_reading_the_completions_of_a_running_batch_ends_it(engine: Engine) -> None:
    stream = engine.stream_batch(PROMPTS, max_new_tokens=20, sampling=WARM)
    for _ in range(7):
        next(stream)
    before = [completion.token_ids for completion in stream.completions]
    assert list(stream) == []
    assert [completion.token_ids for completion in stream.completions] == before


def test_a_stop_string_that_is_a_special_token(engine: Engine) -> None:
    always = SamplingParams(temperature=0.0, logit_bias={EOS: 1000.0})
    stop = StopParams(strings=("<|endoftext|>",))
    done = engine.generate([5], max_new_tokens=4, sampling=always, stop=stop)
    assert len(done.token_ids) == 1


def test_each_end_has_its_reason(engine: Engine) -> None:
    def bias(token_id: int) -> SamplingParams:
        return SamplingParams(temperature=0.0, logit_bias={token_id: 1000.0})

    ended = engine.generate("he", max_new_tokens=9, sampling=bias(EOS))
    assert (ended.finish_reason, ended.token_ids, ended.text) == ("eos", (EOS,), "")
    later = StopParams(min_new_tokens=4)
    assert (
        len(engine.generate("he", max_new_tokens=9, sampling=bias(EOS), stop=later).token_ids) == 5
    )
    ignored = StopParams(ignore_eos=True)
    full = engine.generate("he", max_new_tokens=9, sampling=bias(EOS), stop=ignored)
    assert (full.finish_reason, len(full.token_ids)) == ("length", 9)
    (letter,) = engine.encode("a")
    stopped = engine.generate("he", max_new_tokens=9, sampling=bias(letter), stop="aaa")
    assert (stopped.finish_reason, stopped.text, len(stopped.token_ids)) == ("stop", "", 3)
    by_id = StopParams(token_ids=(letter,))
    assert engine.generate("he", max_new_tokens=9, sampling=bias(letter), stop=by_id).text == ""


def test_a_cancelled_stream_keeps_what_it_has(engine: Engine) -> None:
    stream = engine.stream("he", max_new_tokens=50, sampling=SamplingParams(seed=1))
    chunks = []
    for chunk in stream:
        chunks.append(chunk)
        if len(chunks) == 3:
            stream.cancel()
    assert len(chunks) == 3
    assert stream.completion.finish_reason == "cancelled"
    assert next(stream, None) is None
    assert stream.completion.token_ids == tuple(chunk.token_id for chunk in chunks)


def test_the_first_token_after_the_deadline_is_the_last(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("gpt2edge.runtime.decoding.generation.perf_counter", lambda: next(seconds))
    whole = engine.generate("he", max_new_tokens=40, sampling=WARM)
    stop = StopParams(max_time=30)
    done = engine.generate("he", max_new_tokens=40, sampling=WARM, stop=stop)
    assert done.finish_reason == "time"
    assert 1 < len(done.token_ids) < 40
    assert done.token_ids == whole.token_ids[: len(done.token_ids)]
    narrow = Engine(engine.model.path, RuntimeOptions(cache_bytes=1))
    batch = narrow.generate_batch(["he"] * 5, max_new_tokens=40, sampling=WARM, stop=stop)
    assert {c.finish_reason for c in batch} == {"time"}
    assert [len(c.token_ids) for c in batch[2:]] == [0, 0, 0]  # never begun
    beams = SamplingParams(num_beams=2)
    found = engine.generate("he", max_new_tokens=40, sampling=beams, stop=stop)
    assert (found.finish_reason, len(found.token_ids) < 40) == ("time", True)


def test_a_batch_streams_and_can_be_left(engine: Engine) -> None:
    whole = engine.generate_batch(PROMPTS, n=2, max_new_tokens=20, sampling=WARM)
    stream = engine.stream_batch(PROMPTS, n=2, max_new_tokens=20, sampling=WARM)
    texts = [""] * 10
    for chunk in stream:
        texts[chunk.index] += chunk.text
    assert texts == [completion.text for completion in whole]
    assert [c.token_ids for c in stream.completions] == [c.token_ids for c in whole]

    narrow = Engine(engine.model.path, RuntimeOptions(cache_bytes=1))
    stream = narrow.stream_batch(PROMPTS, max_new_tokens=20, sampling=WARM)
    next(stream)
    stream.cancel()
    assert list(stream) == []
    assert {c.finish_reason for c in stream.completions} == {"cancelled"}
    assert [len(c.token_ids) for c in stream.completions] == [1, 0, 0, 0, 0]


def test_processors_steer(engine: Engine) -> None:
    def only_a(token_ids: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        logits[:] = -np.inf
        logits[engine.encode("ab"[len(token_ids) % 2])] = 0
        return logits

    assert engine.generate("zz", max_new_tokens=4, processors=[only_a]).text == "abab"


def test_the_context_is_an_error_before_any_work(engine: Engine) -> None:
    prompt = [1] * 1000
    assert len(engine.generate(prompt, max_new_tokens=25, sampling=GREEDY).token_ids) == 25
    with pytest.raises(ContextLengthError, match=r"1000 tokens and 26 to come do not fit .* 1024"):
        engine.generate(prompt, max_new_tokens=26)
    assert (
        len(engine.generate(prompt, sampling=GREEDY, stop=StopParams(ignore_eos=True)).token_ids)
        == 25
    )
    with pytest.raises(ContextLengthError):
        engine.score([1] * 1020, [[2] * 6])


def test_four_threads_share_one_engine(engine: Engine) -> None:
    def text(seed: int) -> str:
        return engine.generate("he", max_new_tokens=40, sampling=SamplingParams(seed=seed)).text

    expected = [text(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(text, range(8))) == expected


def test_defaults_come_from_the_model(tmp_path: Path) -> None:
    keys = {"do_sample": True, "temperature": 0.7, "top_k": 9, "max_new_tokens": 5}
    engine = make_engine(tmp_path, generation_config={**keys, "eos_token_id": [3, EOS]})
    assert engine.defaults.sampling == SamplingParams(temperature=0.7, top_k=9)
    assert engine.defaults.eos_ids == {3, EOS}
    done = engine.generate("he")
    assert len(done.token_ids) <= 5
    assert done.seed is not None
    again = engine.generate("he", sampling=SamplingParams(temperature=0.7, top_k=9, seed=done.seed))
    assert again.token_ids == done.token_ids


def test_a_model_that_saturates_here_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Engine(engine.model.path)
    assert not caplog.records
    monkeypatch.setattr("gpt2edge.runtime.system.cpu.saturation_warning", lambda _: "it saturates")
    Engine(engine.model.path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{engine.model.path}: it saturates"
    ]


def test_end_tokens_outside_the_vocabulary_do_not_count(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "a", generation_config={"eos_token_id": [50256, -1, 7]})
    assert engine.defaults.eos_ids == {7}
    stop = StopParams(min_new_tokens=3)
    assert len(engine.generate("he", max_new_tokens=3, stop=stop).token_ids) == 3
    listed = make_engine(tmp_path / "b", {**KEYS, "eos_token_id": [5, 6]})
    assert listed.defaults.eos_ids == {5, 6}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"do_sample": True, "top_p": 2}, "top_p is 2"),
        ({"do_sample": True, "top_k": 5.0}, "top_k is 5.0"),
        ({"eos_token_id": "a"}, "eos_token_id is 'a'"),
        ({"max_new_tokens": -5}, "max_new_tokens is -5"),
        ({"max_new_tokens": "x"}, "max_new_tokens is 'x'"),
    ],
)
def test_defaults_out_of_range_are_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelDirError, match=f"generation_config.json: {message}"):
        GenerationDefaults.from_dict(keys, ModelConfig())


def test_token_ids_without_a_tokenizer(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, {**KEYS, "bos_token_id": None}, tokenizer=False)
    done = engine.generate([1, 2, 3], max_new_tokens=4)
    assert (len(done.token_ids), done.text, done.prompt) == (4, "", "")
    with pytest.raises(ValueError, match="no tokenizer"):
        engine.generate("text")
    with pytest.raises(ValueError, match="no begin-of-text token"):
        engine.generate([])


def test_a_classifier_scores_every_token_and_cannot_generate(tmp_path: Path) -> None:
    head = {"architectures": ["GPT2ForTokenClassification"], "id2label": {"0": "value"}}
    engine = make_engine(tmp_path, {**KEYS, **head})
    assert engine.logits("hello").shape == (len(engine.encode("hello")), 1)
    with pytest.raises(Gpt2EdgeError, match="token-classification"):
        engine.generate("hello")
    with pytest.raises(Gpt2EdgeError, match="token-classification"):
        engine.score("hello", ["h"])
    with pytest.raises(Gpt2EdgeError, match="token-classification"):
        engine.perplexity("hello")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"max_new_tokens": 1.5}, "max_new_tokens is 1.5"),
        ({"logprobs": "2"}, "logprobs is '2'"),
        ({"logprobs": 261}, "logprobs is 261"),
        ({"stop": ""}, "a string of stop is ''"),
        ({"sampling": SamplingParams(logit_bias={260: 1.0})}, "token id 260 is outside"),
        ({"stop": StopParams(token_ids=(260,))}, "token id 260 is outside"),
    ],
)
def test_bad_arguments_are_one_line(
    engine: Engine, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.generate("he", **arguments)


def test_bad_prompts_and_devices(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token id 260 is outside the vocabulary of 260"):
        engine.generate([260])
    with pytest.raises(ValueError, match="n is 0"):
        engine.generate_batch(["he"], n=0)
    with pytest.raises(ValueError, match="stride is 1025"):
        engine.perplexity("he", stride=1025)
    with pytest.raises(ValueError, match="stride is 0"):
        engine.perplexity("he", stride=0)
    with pytest.raises(ValueError, match="prompts is 'hello'; it must be a list"):
        engine.generate_batch("hello")
    with pytest.raises(ValueError, match="completions is 'llo'; it must be a list"):
        engine.score("he", "llo")
    with pytest.raises(ValueError, match=r"a token id in prompt is 1\.7"):
        engine.generate([1.7])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="not valid Unicode"):
        engine.generate("\ud800")
    with pytest.raises(ModelDirError, match="no model folder at"):
        gpt2edge.load(tmp_path / "none")
    with pytest.raises(ValueError, match="context is 0"):
        engine.perplexity("he", context=0)
    with pytest.raises(ValueError, match="text is empty"):
        engine.score("he", [""])
    with pytest.raises(ProviderError, match="device is 'tpu'; it must be one of cpu, cuda"):
        gpt2edge.load(engine.model.path, device="tpu")
    assert engine.generate_batch([]) == []


def test_a_failed_call_leaves_the_cache_as_it_was(engine: Engine) -> None:
    decoder = engine.decoder(rows=2, max_length=8)
    decoder.prefill(0, [1, 2])
    decoder.prefill(1, [3])
    with pytest.raises(Exception, match="indices"):
        decoder.decode([5, 10_000])
    assert decoder.cache.lengths.tolist() == [2, 1]
    with pytest.raises(ValueError, match="9 tokens do not fit a cache of 8"):
        decoder.prefill(0, [4] * 7)
    with pytest.raises(ValueError, match="3 token ids for a cache of 2 rows"):
        decoder.decode([1, 2, 3])
    with pytest.raises(ValueError, match="cannot read tokens 0 to 3: row 0 holds 2"):
        decoder.cache.read(0, 0, 3)
    assert decoder.cache.lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 1.5}, "threads is 1.5"),
        ({"threads": True}, "threads is True"),
        ({"threads": 10**10}, "threads is 10000000000"),
        ({"prefill_chunk": None}, "prefill_chunk is None"),
        ({"cache_bytes": float("nan")}, "cache_bytes is nan"),
        ({"spinning": "no"}, "spinning is 'no'"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RuntimeOptions(**options)


def test_sampling_fields_are_arguments(engine: Engine) -> None:
    cases: list[dict[str, Any]] = [
        {"temperature": 0.7, "seed": 3},
        {"top_k": 5, "seed": 1},
        {"num_beams": 3},
    ]
    for given in cases:
        plain = engine.generate("he", max_new_tokens=12, **given)
        params = SamplingParams(**given)
        if given.get("num_beams"):
            params = SamplingParams(num_beams=3, temperature=0.0)
        assert (
            plain.token_ids == engine.generate("he", max_new_tokens=12, sampling=params).token_ids
        )
    over = engine.generate("he", max_new_tokens=12, sampling=WARM, seed=99)
    same = engine.generate("he", max_new_tokens=12, sampling=replace(WARM, seed=99))
    assert over.token_ids == same.token_ids
    with pytest.raises(ValueError, match="temperature is -1"):
        engine.generate("he", temperature=-1)


@pytest.mark.parametrize("method", ["generate", "stream", "generate_batch", "request"])
def test_an_unknown_argument_is_named_with_the_one_meant(engine: Engine, method: str) -> None:
    prompt = ["he"] if "batch" in method else "he"
    with pytest.raises(
        TypeError, match=rf"{method}\(\) has no argument 'temprature'; did you mean"
    ):
        getattr(engine, method)(prompt, temprature=0.5)


def test_load_takes_every_option(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {
        "device": "cpu",
        "providers": ["cpu"],
        "threads": 2,
        "spinning": False,
        "prefill_chunk": 7,
        "cache_bytes": 1 << 20,
        "kv_cache": "float32",
        "huge_pages": False,
        "verify": False,
        "prompt_cache_bytes": 1 << 16,
        "speculation": gpt2edge.PromptLookup(max_tokens=3),
        "overflow": "truncate-left",
        "add_special_tokens": False,
        "tensors": {},
    }
    assert set(given) == {field.name for field in dataclasses.fields(RuntimeOptions)}
    assert set(given) == set(gpt2edge.RuntimeArguments.__annotations__)
    with gpt2edge.load(engine.model.path, **given) as loaded:
        assert loaded.options == RuntimeOptions(**given)
        assert loaded.prompt_cache is not None
        found = loaded.generate("he", max_new_tokens=4).token_ids
    assert found == engine.generate("he", max_new_tokens=4).token_ids
    monkeypatch.setattr("gpt2edge.runtime.engine.BUNDLED_MODEL", engine.model.path)
    with gpt2edge.load(threads=1, prefill_chunk=5) as bundled:
        assert bundled.options == RuntimeOptions(threads=1, prefill_chunk=5)
        assert bundled.model.path == engine.model.path


def test_an_unknown_option_is_named_with_the_one_meant(engine: Engine) -> None:
    with pytest.raises(
        TypeError, match=r"^load\(\) has no argument 'thread'; did you mean threads"
    ):
        gpt2edge.load(engine.model.path, thread=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no argument 'qqq'; see gpt2edge.RuntimeArguments$"):
        gpt2edge.load(engine.model.path, qqq=1)  # type: ignore[call-arg]


def test_arguments_of_load_have_the_types_and_defaults_of_the_options() -> None:
    fields = {field.name: field for field in dataclasses.fields(RuntimeOptions)}
    types = {name: field.type for name, field in fields.items()}
    assert types == gpt2edge.RuntimeArguments.__annotations__
    shown = inspect.signature(gpt2edge.load).parameters
    assert list(shown) == ["model", "pull", *fields]
    assert all(shown[name].default == field.default for name, field in fields.items())
    assert "prompt_cache_bytes: int = 0" in pydoc.render_doc(gpt2edge.load)


def test_decode_is_the_inverse_of_encode(engine: Engine, tmp_path: Path) -> None:
    text = "Ünïcödé 😀 hello"
    token_ids = engine.encode(text)
    assert engine.decode(token_ids) == text
    assert engine.decode(np.array(token_ids)) == text  # type: ignore[arg-type]
    assert engine.decode([]) == ""
    assert engine.decode(token_ids[:1]) == "\ufffd"
    ended = [*token_ids, EOS]
    assert engine.decode(ended) == text
    assert engine.decode(ended, skip_special_tokens=False) == f"{text}<|endoftext|>"
    completion = engine.generate(text, max_new_tokens=5)
    assert engine.decode(completion.token_ids) == completion.text
    with pytest.raises(ValueError, match="outside the vocabulary"):
        engine.decode([10**6])
    with pytest.raises(ValueError, match="has no tokenizer"):
        make_engine(tmp_path, tokenizer=False).decode([1])


def test_an_engine_shows_what_it_is(engine: Engine) -> None:
    path = str(engine.model.path)
    assert repr(engine) == f"Engine({path!r}, recipe='fp32', n_positions=1024, vocab_size=260)"


def test_help_shows_every_argument(engine: Engine) -> None:
    shown = inspect.signature(engine.generate)
    assert next(iter(shown.parameters)) == "prompt"
    assert set(shown.parameters) == {"prompt", *GenerateArguments.__annotations__}
    fields = {field.name for field in dataclasses.fields(SamplingParams)}
    assert fields <= set(shown.parameters)


def test_a_stream_in_a_block_ends_with_it(engine: Engine) -> None:
    with engine.stream("he", max_new_tokens=30, sampling=GREEDY) as stream:
        next(stream)
    assert list(stream) == []
    assert stream.result.finish_reason == "cancelled"
    whole = engine.stream("he", max_new_tokens=5, sampling=GREEDY)
    assert whole.finish() == whole.result == whole.completion
    both = engine.stream_batch(["he", "x"], max_new_tokens=5, sampling=GREEDY)
    assert both.finish() == both.result == both.completions
