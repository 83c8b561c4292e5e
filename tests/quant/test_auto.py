"""auto: the rule, by figures that are given; and what it writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gpt2edge.errors import ModelDirError, QuantizationError
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT8, QuantRecipe, quantize
from gpt2edge.quant.auto import MeasuredRecipe, Speed, choose, quantize_auto, speed
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.results import Timing

PLAIN = QuantRecipe(name="plain", bits=4)
FAITHFUL = QuantRecipe(name="faithful", bits=8)


def _candidate(name: str, seconds: float, kl: float) -> MeasuredRecipe:
    return MeasuredRecipe(name, 100, 1000, 100, request_s=seconds, kl=kl)


@pytest.mark.parametrize(
    ("figures", "chosen", "reason"),
    [
        ([("a", 1.0, 0.002), ("b", 0.5, 0.005), ("c", 0.2, 0.2)], "b", "the fastest within"),
        ([("a", 1.02, 0.002), ("b", 1.0, 0.005)], "a", "as fast as b within 3%"),
        ([("a", 1.04, 0.002), ("b", 1.0, 0.005)], "b", "the fastest within"),
        ([("a", 1.0, 0.03), ("b", 0.5, 0.02)], "b", "no recipe stays within 0.01"),
        ([("a", 1.0, 0.01)], "a", "the fastest within 0.01"),
    ],
)
def test_the_rule(figures: list[tuple[str, float, float]], chosen: str, reason: str) -> None:
    choice = choose([_candidate(*each) for each in figures], max_kl=0.01)
    assert choice.recipe == chosen
    assert choice.reason.startswith(reason)
    assert [item.recipe for item in choice.candidates] == [name for name, _, _ in figures]


def test_a_request_is_a_prompt_and_an_answer() -> None:
    assert Speed(prefill_tps=512, decode_tps=64).request_s == 1.5


@pytest.mark.slow
@pytest.mark.parametrize("fastest", ["int8", "faithful"])
def test_writes_what_quantize_would_have(fp32: ModelDir, tmp_path: Path, fastest: str) -> None:
    """The stopwatch decides here, so the same model is chosen each time."""

    def stopwatch(engine: Engine) -> Speed:
        recipe = engine.model.manifest.recipe
        assert recipe is not None
        return Speed(1000, 200 if recipe["name"] == fastest else 100)

    recipes = {recipe.name: recipe for recipe in (INT8, FAITHFUL, PLAIN)}
    candidates = list(recipes.values())
    found = [
        quantize_auto(fp32, tmp_path / name, candidates=candidates, stopwatch=stopwatch)
        for name in "ab"
    ]
    assert found[0][1] == found[1][1]
    model, choice = found[0]
    assert choice.recipe == fastest
    expected = quantize(fp32, tmp_path / "expected", recipe=recipes[fastest])
    assert model.manifest == expected.manifest
    assert not model.damaged_files()


def test_the_clock_gives_speeds(fp32: ModelDir) -> None:
    timed = speed(Engine(fp32.path))
    assert timed.prefill_tps > 0
    assert timed.decode_tps > 0


def test_refuses_before_the_work(fp32: ModelDir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ModelDirError, match="exists"):
        quantize_auto(fp32, tmp_path / "out")


def test_refuses_a_quantized_model(fp32: ModelDir, tmp_path: Path) -> None:
    model = quantize(fp32, tmp_path / "int8", recipe=INT8)
    with pytest.raises(QuantizationError, match="quantized already"):
        quantize_auto(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_speeds_are_medians_without_the_first_request() -> None:
    """Of five after one that is far slower: 256 tokens read, 64 written."""
    times = [(100.0, 100.0), (1.0, 63.0), (2.0, 6.3), (8.0, 0.63), (4.0, 0.063), (16.0, 630.0)]

    class Host:
        config = SimpleNamespace(n_positions=1024, vocab_size=10)

        def generate(self, prompt: list[int], *, max_new_tokens: int, **_: object) -> object:
            assert (len(prompt), max_new_tokens) == (256, 64)
            ttft_s, decode_s = times.pop(0)
            timing = Timing(
                load_s=0,
                prompt_tokens=256,
                completion_tokens=64,
                ttft_s=ttft_s,
                decode_s=decode_s,
            )
            return SimpleNamespace(timing=timing)

    found = speed(cast(Engine, Host()))
    assert found.prefill_tps == 256 / 4
    assert found.decode_tps == pytest.approx(63 / 6.3)
    assert not times
