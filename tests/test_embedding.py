"""What a program that embeds the engine relies on: errors to catch, reprs, one call to load."""

import inspect
import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir, Overflow, RuntimeOptions, SamplingParams, errors, store
from gpt2edge.runtime.options import RuntimeArguments
from tests.conftest import ROOT
from tests.test_faces import FACES


@pytest.fixture(scope="module")
def engine(tiny_model: ModelDir) -> Engine:
    """The tiny model."""
    return gpt2edge.load(tiny_model.path)


def test_sampling_fields_are_arguments(engine: Engine) -> None:
    fields: dict[str, Any] = {"temperature": 0.5, "seed": 7}
    given = engine.generate("x", max_new_tokens=8, temperature=0.5, seed=7)
    params = engine.generate("x", max_new_tokens=8, sampling=SamplingParams(**fields))
    assert given.token_ids == params.token_ids
    assert given.seed == 7


def test_a_completion_as_a_dictionary_is_json(engine: Engine) -> None:
    done = engine.generate("x", max_new_tokens=3, logprobs=2)
    found = json.loads(json.dumps(done.to_dict()))
    assert found["token_ids"] == list(done.token_ids)
    assert found["timing"]["tpot_ms"] == done.timing.tpot_ms
    assert found["top_logprobs"][0][0]["logprob"] == done.top_logprobs[0][0].logprob
    assert set(found) == set(type(done).__dataclass_fields__)
    assert str(done) == done.text


def test_load_takes_every_option_for_the_bundled_model_too() -> None:
    assert set(get_type_hints(RuntimeArguments)) == set(RuntimeOptions.__dataclass_fields__)
    with gpt2edge.load(threads=1, prompt_cache_bytes=1 << 20, overflow="slide") as bundled:
        assert bundled.options.overflow == "slide"
        first = bundled.generate("Once upon a time there was a king", max_new_tokens=1)
        again = bundled.generate("Once upon a time there was a king", max_new_tokens=1)
    assert first.timing.reused_tokens == 0
    assert again.timing.reused_tokens > 0


def test_the_engines_overflow_holds_for_calls_that_give_none(tiny_model: ModelDir) -> None:
    sliding = gpt2edge.load(tiny_model.path, overflow=Overflow(policy="slide", keep=2))
    stop = gpt2edge.StopParams(ignore_eos=True)
    done = sliding.generate("hello", max_new_tokens=200, stop=stop)
    expected = gpt2edge.load(tiny_model.path).generate(
        "hello", max_new_tokens=200, stop=stop, overflow=Overflow(policy="slide", keep=2)
    )
    assert (len(done.token_ids), done.truncated) == (200, True)
    assert done.token_ids == expected.token_ids
    with pytest.raises(errors.ContextLengthError):
        sliding.generate("hello", max_new_tokens=200, overflow="error")
    with pytest.raises(ValueError, match="overflow is 'sideways'"):
        gpt2edge.load(tiny_model.path, overflow="sideways")  # type: ignore[arg-type]


def test_pull_fetches_only_what_is_not_there(
    tiny_model: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT2EDGE_STORE", str(tmp_path))
    fetched: list[tuple[str, str | None]] = []

    def fetch(name: str, *, recipe: str | None = None) -> ModelDir:
        fetched.append((name, recipe))
        path = store.stored_path(name, recipe or "fp32")
        shutil.copytree(tiny_model.path, path)
        return ModelDir.open(path)

    monkeypatch.setattr("gpt2edge.pull", fetch)
    assert gpt2edge.load(tiny_model.path, pull=True).model.path == tiny_model.path
    for _ in range(2):
        assert gpt2edge.load("me/tiny", pull=True).model.path == tmp_path / "me--tiny" / "fp32"
    assert gpt2edge.load("me/tiny:int8", pull=True).model.path == tmp_path / "me--tiny" / "int8"
    assert fetched == [("me/tiny", None), ("me/tiny", "int8")]
    with pytest.raises(errors.ModelDirError, match="several variants"):
        gpt2edge.load("me/tiny", pull=True)
    with pytest.raises(errors.ModelNotFoundError):
        gpt2edge.load("me/other")
    with pytest.raises(errors.ModelNotFoundError):
        gpt2edge.load("no such/model/at all", pull=True)
    with pytest.raises(ValueError, match="pull is 1"):
        gpt2edge.load("me/tiny", pull=1)  # type: ignore[arg-type]


def test_each_kind_of_failure_has_its_class(
    tiny_model: ModelDir, token_model: ModelDir, engine: Engine, tmp_path: Path
) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        gpt2edge.load(tmp_path / "none")
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_model.path, damaged)
    (damaged / "tokenizer.json").write_text("{}")
    with pytest.raises(errors.ModelDamagedError):
        gpt2edge.load(damaged)
    with pytest.raises(errors.UnsupportedError, match="no tokenizer"):
        gpt2edge.load(token_model.path).generate("hello")
    with pytest.raises(errors.ContextLengthError):
        engine.generate("hello", max_new_tokens=1000)
    closed = gpt2edge.load(tiny_model.path)
    closed.close()
    with pytest.raises(errors.EngineClosedError):
        closed.generate("hello")
    with pytest.raises(errors.ProviderError):
        gpt2edge.load(tiny_model.path, device="cuda")


GUIDE = (ROOT / "docs" / "guides" / "embedding.md").read_text(encoding="utf-8")


def test_every_error_is_drawn_exported_and_derived() -> None:
    drawing = str(errors.__doc__)
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    public = {name for name in classes if name.endswith("Error") and not name.startswith("_")}
    assert public | {"Argument"} == set(errors.__all__)
    for name in public - {"ArgumentError", "Gpt2EdgeError"}:
        assert issubclass(getattr(errors, name), errors.Gpt2EdgeError)
        assert name in drawing
        assert f"`{name}`" in GUIDE


def test_everything_public_has_a_repr_of_its_own(engine: Engine) -> None:
    plain = []
    for face in FACES:
        module = import_module(face)
        for name in module.__all__:
            kind = getattr(module, name)
            abstract = inspect.isabstract(kind) or getattr(kind, "_is_protocol", False)
            if inspect.isclass(kind) and kind.__repr__ is object.__repr__ and not abstract:
                plain.append(name)
    assert not plain
    assert (
        repr(SamplingParams(temperature=0.5, seed=7)) == "SamplingParams(temperature=0.5, seed=7)"
    )
    assert repr(RuntimeOptions()) == "RuntimeOptions()"
    assert repr(engine.generate("x", max_new_tokens=2)).startswith("Completion('")
    decoder = engine.decoder(rows=1, max_length=8)
    assert repr(decoder).startswith("Decoder(KVCache(rows=1, max_length=8, dtype=float32, nbytes=")
    made = [engine, engine.model, engine.tokenizer, engine.scheduler(rows=2), engine.defaults]
    assert all(len(repr(value)) < 300 and " at 0x" not in repr(value) for value in made)


def test_a_stream_is_cancelled_at_the_end_of_its_block(engine: Engine) -> None:
    with engine.stream("hello", max_new_tokens=50) as stream:
        next(stream)
    assert stream.completion.finish_reason == "cancelled"


def test_until_the_end(engine: Engine) -> None:
    stop = gpt2edge.StopParams(ignore_eos=True)
    done = engine.generate("hello", max_new_tokens=-1, stop=stop)
    assert done.timing.prompt_tokens + len(done.token_ids) == engine.config.n_positions + 1
    assert done.finish_reason == "length"
    for wrong in (0, -2, -1.0):
        with pytest.raises(ValueError, match="a whole number from"):
            engine.generate("hello", max_new_tokens=wrong)  # type: ignore[arg-type]
