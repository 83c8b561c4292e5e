"""How far a model's predictions are from the float32 reference, whatever system makes them."""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import gpt2edge
from benchmarks.common.fingerprint import ROOT
from benchmarks.common.systems import installed_environment, worker_command
from gpt2edge.evaluate.estimates import mean_of
from gpt2edge.evaluate.predictions import Predictions
from gpt2edge.runtime.sampling.log_probs import log_softmax_float32

Logits = Callable[[Sequence[int]], NDArray[np.float32]]
"""Logits after every token of a window, [tokens, vocab]."""

Window = tuple[list[int], int]
"""Tokens, and the place of the first that is scored."""

PEERS: Final = {
    "llamacpp-q8_0": ("llamacpp", "logits_llamacpp", "q8_0"),
    "llamacpp-q4_0": ("llamacpp", "logits_llamacpp", "q4_0"),
    "optimum-int8": ("optimum", "logits_optimum", "int8"),
}
"""A peer's environment, its module and variant."""


def engine_logits(engine: gpt2edge.Engine) -> Logits:
    """Logits of one of our engines, with its cache between its chunks."""
    decoder = engine.decoder(rows=1, max_length=engine.config.n_positions)

    def logits(token_ids: Sequence[int]) -> NDArray[np.float32]:
        decoder.cache.truncate(0, 0)
        return np.concatenate(list(decoder.prefill_all(0, token_ids)))

    return logits


class Peer:
    """A worker of ``peers/logits.py``; a context manager."""

    def __init__(
        self, python: Path, module: str, checkpoint: Path, variant: str, work: Path
    ) -> None:
        command = worker_command(python, module, str(checkpoint), variant, str(work))
        log = (work / f"{variant}.log").open("wb")
        self._process = subprocess.Popen(
            command,
            env=installed_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
        )
        line = self._output.readline()
        if not line:
            raise SystemExit(f"{' '.join(command)} ended early: see {log.name}")
        self.facts: dict[str, Any] = json.loads(line)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    @property
    def _output(self) -> Any:
        return self._process.stdout

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after every token [tokens, vocab]."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(token_ids)).encode() + b"\n")
        self._process.stdin.flush()
        size = 4 * len(token_ids) * int(self.facts["n_vocab"])
        data = self._output.read(size)
        if len(data) != size:
            raise SystemExit(f"{self.facts['system']} ended in the middle of an answer")
        return np.frombuffer(data, "<f4").reshape(len(token_ids), -1)


def figures(found: Predictions) -> dict[str, Any]:
    """Means with their standard errors, over tokens."""
    perplexity, increase = found.perplexity, found.perplexity_increase
    return {
        "tokens": len(found.losses),
        "perplexity_fp32": found.reference_perplexity.value,
        "perplexity": perplexity.value,
        "perplexity_se": perplexity.standard_error,
        "increase": increase.value,
        "increase_se": increase.standard_error,
        "kl": found.kl.value,
        "kl_se": found.kl.standard_error,
        "top1": found.top1_agreement.value,
    }


def windows(token_ids: Sequence[int], context: int) -> Iterator[Window]:
    """Windows of ``context`` tokens side by side, all but their first scored; the last is short."""
    for start in range(0, len(token_ids) - 1, context):
        yield list(token_ids[start : start + context]), 1


class Reference:
    """Log-probabilities of the float32 model on windows, kept for all that are compared."""

    def __init__(self, logits: Logits, windows: Iterable[Window]) -> None:
        self._windows = list(windows)
        self._expected = [log_softmax_float32(found) for found in self._scored(logits)]

    def compare(self, logits: Logits) -> dict[str, Any]:
        """The figures of another model on the same tokens."""
        found = Predictions()
        targets = (window[first:] for window, first in self._windows)
        for expected, own, tokens in zip(
            self._expected, self._scored(logits), targets, strict=True
        ):
            found.add(expected, log_softmax_float32(own), tokens)
        return figures(found)

    def _scored(self, logits: Logits) -> Iterator[NDArray[np.float32]]:
        for window, first in self._windows:
            yield logits(window[:-1])[first - 1 :]


class MinimalPairs:
    """(good, bad) sentences, and where the float32 model finds the good one likelier."""

    def __init__(
        self,
        logits: Logits,
        encode: Callable[[str], Sequence[int]],
        bos: int,
        pairs: Sequence[tuple[str, str]],
    ) -> None:
        self._pairs = [[[bos, *encode(text)] for text in pair] for pair in pairs]
        self._expected = self._right(logits)

    def compare(self, logits: Logits) -> dict[str, Any]:
        """How often another model does, and the paired difference."""
        right = self._right(logits)
        share, error = mean_and_error(right)
        change, change_error = mean_and_error(right - self._expected)
        return {
            "blimp": share,
            "blimp_se": error,
            "blimp_fp32": float(self._expected.mean()),
            "blimp_change": change,
            "blimp_change_se": change_error,
            "blimp_pairs": len(right),
        }

    def _right(self, logits: Logits) -> NDArray[np.float64]:
        def likelihood(ids: list[int]) -> float:
            found = log_softmax_float32(logits(ids[:-1]))
            return float(found[np.arange(len(ids) - 1), ids[1:]].sum())

        found = [[likelihood(ids) for ids in pair] for pair in self._pairs]
        return np.array([good > bad for good, bad in found], np.float64)


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """A mean and its standard error."""
    found = mean_of(values)
    return found.value, found.standard_error
