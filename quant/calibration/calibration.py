"""Calibration: the inputs of every product of a float32 model, measured over a text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx

from gpt2edge._checks import check_int, check_list
from gpt2edge._progress import Progress, silent
from gpt2edge.errors import QuantizationError
from gpt2edge.evaluate.probe import Probe
from gpt2edge.graph.products import find_products
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.text.stopping import StopParams

_WINDOW: Final = 256  # tokens
_PASS: Final = 512  # tokens per forward pass: with fewer rows the moments take twice the time
_SAMPLE: Final = 256  # rows sampled from every product's input
_OWN_ROWS: Final = 32
_OWN_SEED: Final = 20190214


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """A product's input over a text: ``absmax`` [k] per channel, and a ``sample`` [rows, k]."""

    absmax: FloatArray
    sample: FloatArray


@dataclass(frozen=True, slots=True)
class InputMoments:
    """A product's input x over a text: ``second`` [k, k], the mean of x^T x, and its ``spread``.

    The spread is the largest ratio, in a pass of up to 512 rows, between the largest magnitude of
    all rows and the median of the rows' largest magnitudes: the loss per row under a shared scale.
    """

    second: FloatArray
    spread: float


class Observer:
    """Runs a float32 model over windows of tokens and measures its products' inputs."""

    def __init__(self, model: ModelDir, windows: Sequence[Sequence[int]]) -> None:
        graph = onnx.load(model.graph_path, load_external_data=False).graph
        products = find_products(graph.node, TensorReader(graph.initializer, model.path))
        self.products = {item.weight: item for item in products.values() if not item.is_head}
        inputs = {node.name: node.input[0] for node in graph.node if node.input}
        self._inputs = {name: inputs[item.node] for name, item in self.products.items()}
        self._probe = Probe(model, list(self._inputs.values()))
        self._passes = _passes(windows)

    def statistics(self, progress: Progress = silent) -> dict[str, InputStatistics]:
        """Measure statistics of every product's input, by the name of its weight."""
        absmax = {name: np.zeros(item.k, np.float32) for name, item in self.products.items()}
        samples: dict[str, list[FloatArray]] = {name: [] for name in self.products}
        share = -(-_SAMPLE // len(self._passes))
        for inputs in self._inputs_by_pass(list(self.products), "reading the text", progress):
            for name, rows in inputs.items():  # [tokens, k]
                np.maximum(absmax[name], np.abs(rows).max(axis=0), out=absmax[name])
                step = max(1, len(rows) // share)
                samples[name].append(rows[step // 2 :: step].copy())  # [about share, k]
        return {
            name: InputStatistics(absmax[name], np.concatenate(samples[name]))
            for name in self.products
        }

    def moments(
        self,
        names: Sequence[str],
        factors: Mapping[str, FloatArray],
        progress: Progress = silent,
    ) -> dict[str, InputMoments]:
        """Measure moments of each product's input, divided by its ``factors`` [k] if it has any."""
        second = {name: np.zeros((self.products[name].k,) * 2, np.float32) for name in names}
        spreads: dict[str, list[float]] = {name: [] for name in names}
        count = 0
        for by_name in self._inputs_by_pass(names, "measuring inputs", progress):
            for name, inputs in by_name.items():  # [tokens, k]
                rows = inputs / factors[name] if name in factors else inputs
                second[name] += rows.T @ rows  # [k, k]
                magnitudes = np.abs(rows).max(axis=1)  # [tokens]
                spreads[name].append(float(magnitudes.max() / (np.median(magnitudes) or 1)))
            count += len(rows)
        for moment in second.values():
            moment /= count
        return {name: InputMoments(second[name], max(spreads[name])) for name in names}

    def _inputs_by_pass(
        self, names: Sequence[str], stage: str, progress: Progress
    ) -> Iterator[Mapping[str, FloatArray]]:
        for done, windows in enumerate(self._passes):
            progress(stage, done, len(self._passes))
            inputs = self._probe.run_batch(windows, [self._inputs[name] for name in names])
            yield dict(zip(names, inputs, strict=True))
        progress(stage, len(self._passes), len(self._passes))


def _passes(windows: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Group neighbouring windows of one length into passes of up to 512 tokens."""
    passes: list[list[Sequence[int]]] = []
    for window in windows:
        last = passes[-1] if passes else []
        if last and len(last[0]) == len(window) and (len(last) + 1) * len(window) <= _PASS:
            last.append(window)
        else:
            passes.append([window])
    return passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The text that a model reads while its inputs are measured.

    ``token_ids`` are those of a text like the model's later inputs; with None the model writes a
    text itself. About ``tokens`` of them are used.
    """

    token_ids: Sequence[int] | None = None
    tokens: int = 4096

    def __post_init__(self) -> None:
        if self.token_ids is not None:
            check_list("token_ids", self.token_ids, "a list of token ids, or None")
        check_int("tokens", self.tokens, 1, 2**31)

    def windows(self, model: ModelDir, progress: Progress = silent) -> list[list[int]]:
        """Return the windows to read. Raises QuantizationError for a text of under 32 tokens."""
        if self.token_ids is None:
            progress("having the model write a text", 0, 0)
            return own_text(model, self.tokens)
        return cut_windows(self.token_ids, model, self.tokens)


def cut_windows(token_ids: Sequence[int], model: ModelDir, tokens: int) -> list[list[int]]:
    """Cut windows of about ``tokens`` tokens in all, spread over the text.

    Raises QuantizationError where the text has fewer than 32 tokens.
    """
    length = min(_WINDOW, model.config.n_positions)
    least = min(32, length)
    if len(token_ids) < least:
        raise QuantizationError(
            f"the calibration text has {len(token_ids)} tokens; at least {least} are needed: "
            "give a longer text"
        )
    count = max(1, min(tokens, len(token_ids)) // length)
    starts = np.linspace(0, max(0, len(token_ids) - length), count)
    return [list(token_ids[round(start) : round(start) + length]) for start in starts]


def own_text(
    model: ModelDir, tokens: int, *, rows: int = _OWN_ROWS, seed: int = _OWN_SEED
) -> list[list[int]]:
    """Let the model write ``rows`` windows of about ``tokens`` tokens in all."""
    length = min(max(2, tokens // rows), model.config.n_positions - 1)
    if length < 1:
        raise QuantizationError(
            f"{str(model.path)!r} has a context of 1 token: it writes no text to calibrate on; "
            "give a calibration text"
        )
    engine = Engine(model.path, RuntimeOptions(spinning=False))
    first = np.random.default_rng(seed).integers(0, model.config.vocab_size, rows)
    written = engine.generate_batch(
        [[int(token_id)] for token_id in first],
        max_new_tokens=length,
        sampling=SamplingParams(temperature=1.0, seed=seed),
        stop=StopParams(ignore_eos=True),
    )
    return [[int(start), *done.token_ids] for start, done in zip(first, written, strict=True)]
