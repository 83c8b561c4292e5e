"""How far a model's predictions are from the float32 reference, whatever system makes them."""

import json
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import gpt2edge
from benchmarks.common.fingerprint import ROOT
from benchmarks.common.systems import installed_environment, worker_command
from gpt2edge.evaluate.divergence import token_divergences
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


@dataclass(slots=True)
class Fidelity:
    """Sums up windows: losses of both models [tokens], KL and agreement."""

    reference: list[NDArray[np.float64]] = field(default_factory=list)
    found: list[NDArray[np.float64]] = field(default_factory=list)
    kl: list[NDArray[np.float64]] = field(default_factory=list)
    same: list[NDArray[np.float64]] = field(default_factory=list)

    def add(
        self, expected: NDArray[np.float32], logits: NDArray[np.float32], targets: Sequence[int]
    ) -> None:
        """One window: log-probabilities of the reference, logits, the tokens that follow."""
        found, rows = log_softmax_float32(logits), np.arange(len(targets))
        self.reference.append(-expected[rows, targets].astype(np.float64))
        self.found.append(-found[rows, targets].astype(np.float64))
        self.kl.append(token_divergences(expected, found))
        self.same.append((expected.argmax(-1) == found.argmax(-1)).astype(np.float64))

    def figures(self) -> dict[str, Any]:
        """Means with their standard errors, over tokens."""
        reference, found = np.concatenate(self.reference), np.concatenate(self.found)
        increase, error = mean_and_error(found - reference)
        ratio = float(np.exp(increase))
        return {
            "tokens": len(found),
            "perplexity_fp32": float(np.exp(reference.mean())),
            "perplexity": float(np.exp(found.mean())),
            "perplexity_se": float(np.exp(found.mean())) * mean_and_error(found)[1],
            "increase": ratio - 1,
            "increase_se": ratio * error,
            "kl": mean_and_error(np.concatenate(self.kl))[0],
            "kl_se": mean_and_error(np.concatenate(self.kl))[1],
            "top1": mean_and_error(np.concatenate(self.same))[0],
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
        fidelity = Fidelity()
        targets = (window[first:] for window, first in self._windows)
        for row in zip(self._expected, self._scored(logits), targets, strict=True):
            fidelity.add(*row)
        return fidelity.figures()

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


def read_blimp(archive: Path, pairs: int) -> list[tuple[str, str]]:
    """The first ``pairs`` (good, bad) sentences of each paradigm of BLiMP's archive."""
    chosen = []
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            if name.endswith(".jsonl") and "__MACOSX" not in name and "/." not in name:
                rows = map(json.loads, file.read(name).splitlines()[:pairs])
                chosen += [(row["sentence_good"], row["sentence_bad"]) for row in rows]
    return chosen


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """A mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
