"""quantize_auto: quantize by several recipes, measure speed and loss, and keep the best model."""

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from gpt2edge._checks import check_callable, check_float, check_list
from gpt2edge._progress import Progress, silent, under
from gpt2edge.errors import QuantizationError
from gpt2edge.evaluate.divergence import kl_divergence
from gpt2edge.model_dir import ModelDir, staged_folder
from gpt2edge.quant.calibration.calibration import Calibration, own_text
from gpt2edge.quant.quantizer import opened, quantize
from gpt2edge.quant.recipes import INT4, INT8, INT8_BLOCK, QuantRecipe, recipe_of
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import GREEDY
from gpt2edge.runtime.text.stopping import StopParams

CANDIDATES: Final = (INT8, INT8_BLOCK, INT4)
MAX_KL: Final = 0.01
"""Nats per token; on text that the model writes, perplexity then grows by 1 % on average."""
_LEVEL: Final = 0.03  # relative to the fastest time: smaller differences are noise
_PREFILLED: Final = 256
_DECODED: Final = 64
_REPEATS: Final = 5
_JUDGED_TOKENS: Final = 1024
_JUDGED_ROWS: Final = 8
_JUDGE_SEED: Final = 20190215  # other than the seed of calibration texts


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second in prefill and in decode."""

    prefill_tps: float
    decode_tps: float

    @property
    def request_s(self) -> float:
        """Return the seconds for a prefill of 256 tokens and a decode of 64."""
        return _PREFILLED / self.prefill_tps + _DECODED / self.decode_tps


Stopwatch = Callable[[Engine], Speed]
"""Times a loaded model."""


@dataclass(frozen=True, slots=True)
class MeasuredRecipe:
    """A recipe and its measurements; ``kl`` in nats per token."""

    recipe: str
    bytes: int
    prefill_tps: float
    decode_tps: float
    request_s: float
    kl: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The name of the chosen recipe, the reason, and all candidates."""

    recipe: str
    reason: str
    candidates: tuple[MeasuredRecipe, ...]


def quantize_auto(
    model: ModelDir | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    candidates: Sequence[QuantRecipe | str] = CANDIDATES,
    calibration: Calibration | None = None,
    max_kl: float = MAX_KL,
    stopwatch: Stopwatch | None = None,
    check: Callable[[ModelDir], None] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[ModelDir, Choice]:
    """Quantize by every candidate, and write the one that ``choose`` selects.

    Each is timed by ``stopwatch`` (None: ``speed``), and its KL divergence is measured on a text
    that ``model`` writes, other than a calibration text. ``progress`` is called at every stage.
    Raises the errors of ``quantize``.
    """
    model = opened("model", model)
    items = check_list("candidates", candidates, "a list of recipes, or of their names")
    recipes = [recipe_of(recipe) for recipe in items]
    check_float("max_kl", max_kl, 0, math.inf)
    check_callable("stopwatch", stopwatch)
    check_callable("check", check)
    check_callable("progress", progress)
    tell = progress or silent
    if model.manifest.task != "text-generation":
        raise QuantizationError(
            f"{str(model.path)!r} writes no text to compare recipes on: choose a recipe yourself"
        )
    with staged_folder(out, overwrite=overwrite) as folder, TemporaryDirectory() as work:
        models = {
            recipe.name: quantize(
                model,
                Path(work) / recipe.name,
                recipe=recipe,
                calibration=calibration,
                progress=under(recipe.name, tell),
            )
            for recipe in recipes
        }
        tell("having the model write a text", 0, 0)
        windows = own_text(model, _JUDGED_TOKENS, rows=_JUDGED_ROWS, seed=_JUDGE_SEED)
        reference = Engine(model.path)
        choice = choose(
            [
                _measured(name, each, reference, windows, stopwatch or speed, tell)
                for name, each in models.items()
            ],
            max_kl=max_kl,
        )
        for path in models[choice.recipe].path.iterdir():
            shutil.copyfile(path, folder / path.name)
        if check:
            check(ModelDir.open(folder))
    return ModelDir.open(out), choice


def choose(candidates: Sequence[MeasuredRecipe], *, max_kl: float) -> Choice:
    """Choose the fastest candidate whose divergence is within ``max_kl``.

    Among candidates within 3 % of its time, the one of least divergence wins; if none is within
    ``max_kl``, the one of least divergence of all.
    """
    allowed = [item for item in candidates if item.kl <= max_kl]
    if not allowed:
        best = min(candidates, key=lambda item: item.kl)
        reason = f"no recipe stays within {max_kl:g} nats of KL divergence; this one is nearest"
        return Choice(best.recipe, reason, tuple(candidates))
    fastest = min(allowed, key=lambda item: item.request_s)
    level = [item for item in allowed if item.request_s <= (1 + _LEVEL) * fastest.request_s]
    best = min(level, key=lambda item: item.kl)
    reason = f"the fastest within {max_kl:g} nats of KL divergence"
    if best is not fastest:
        reason = f"as fast as {fastest.recipe} within {_LEVEL:.0%}, and more faithful"
    return Choice(best.recipe, reason, tuple(candidates))


def speed(engine: Engine) -> Speed:
    """Measure medians over five requests, after one warm-up."""
    length = max(1, min(_PREFILLED, engine.config.n_positions - _DECODED))
    prompt = np.random.default_rng(0).integers(0, engine.config.vocab_size, length).tolist()
    runs = [
        engine.generate(
            prompt,
            max_new_tokens=min(_DECODED, engine.config.n_positions - length + 1),
            sampling=GREEDY,
            stop=StopParams(ignore_eos=True),
        ).timing
        for _ in range(_REPEATS + 1)
    ][1:]
    prefill = float(np.median([length / run.ttft_s for run in runs]))
    return Speed(prefill, float(np.median([run.decode_tps for run in runs])))


def _measured(
    name: str,
    model: ModelDir,
    reference: Engine,
    windows: Sequence[Sequence[int]],
    stopwatch: Stopwatch,
    tell: Progress,
) -> MeasuredRecipe:
    tell(f"{name}: measuring its speed", 0, 0)
    engine = Engine(model.path)
    timed = stopwatch(engine)
    tell(f"{name}: measuring its loss", 0, 0)
    return MeasuredRecipe(
        recipe=name,
        bytes=model.nbytes,
        prefill_tps=timed.prefill_tps,
        decode_tps=timed.decode_tps,
        request_s=timed.request_s,
        kl=kl_divergence(reference, engine, windows),
    )
