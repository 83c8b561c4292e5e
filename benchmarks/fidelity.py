"""How far a model's predictions are from the float32 reference, whatever system makes them."""

import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from fingerprint import ROOT
from numpy.typing import NDArray

import gpt2edge
from gpt2edge.quant.report import log_softmax

Logits = Callable[[Sequence[int]], NDArray[np.float32]]
"""Logits after every token of a window, [tokens, vocab]."""

_PEERS: Final = Path(__file__).resolve().parent / "peers"
PEERS: Final = {
    "llamacpp-q8_0": ("llamacpp", "logits_llamacpp.py", "q8_0"),
    "llamacpp-q4_0": ("llamacpp", "logits_llamacpp.py", "q4_0"),
    "optimum-int8": ("optimum", "logits_optimum.py", "int8"),
}
"""A peer's environment, its script and variant."""


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
        self, python: Path, script: str, checkpoint: Path, variant: str, work: Path
    ) -> None:
        command = [str(python), str(_PEERS / script), str(checkpoint), variant, str(work)]
        log = (work / f"{variant}.log").open("wb")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT
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
        found, rows = log_softmax(logits), np.arange(len(targets))
        self.reference.append(-expected[rows, targets].astype(np.float64))
        self.found.append(-found[rows, targets].astype(np.float64))
        self.kl.append((np.exp(expected) * (expected - found)).sum(-1, dtype=np.float64))
        self.same.append((expected.argmax(-1) == found.argmax(-1)).astype(np.float64))

    def figures(self) -> dict[str, Any]:
        """Means with their standard errors, over tokens."""
        reference, found = np.concatenate(self.reference), np.concatenate(self.found)
        increase, error = _mean(found - reference)
        ratio = float(np.exp(increase))
        return {
            "tokens": len(found),
            "perplexity_fp32": float(np.exp(reference.mean())),
            "perplexity": float(np.exp(found.mean())),
            "perplexity_se": float(np.exp(found.mean())) * _mean(found)[1],
            "increase": ratio - 1,
            "increase_se": ratio * error,
            "kl": _mean(np.concatenate(self.kl))[0],
            "kl_se": _mean(np.concatenate(self.kl))[1],
            "top1": _mean(np.concatenate(self.same))[0],
        }


def windows(token_ids: Sequence[int], context: int) -> Iterator[list[int]]:
    """Windows of ``context`` tokens side by side; the last may be shorter."""
    for start in range(0, len(token_ids) - 1, context):
        yield list(token_ids[start : start + context])


class Reference:
    """Log-probabilities of the float32 model on a text, kept for all that are compared."""

    def __init__(self, logits: Logits, token_ids: Sequence[int], context: int) -> None:
        self.context = context
        self._windows = [item for item in windows(token_ids, context) if len(item) > 1]
        self._expected = [log_softmax(logits(window[:-1])) for window in self._windows]

    def compare(self, logits: Logits) -> dict[str, Any]:
        """The figures of another model on the same tokens."""
        fidelity = Fidelity()
        for window, expected in zip(self._windows, self._expected, strict=True):
            fidelity.add(expected, logits(window[:-1]), window[1:])
        return fidelity.figures()


def read_blimp(archive: Path, pairs: int) -> list[tuple[str, str]]:
    """The first ``pairs`` (good, bad) sentences of each paradigm of BLiMP's archive."""
    chosen = []
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            if name.endswith(".jsonl") and "__MACOSX" not in name and "/." not in name:
                rows = map(json.loads, file.read(name).splitlines()[:pairs])
                chosen += [(row["sentence_good"], row["sentence_bad"]) for row in rows]
    return chosen


def blimp_accuracy(
    logits: Logits, encode: Callable[[str], Sequence[int]], bos: int, pairs: list[tuple[str, str]]
) -> Mapping[str, float]:
    """How often the good sentence of a pair is the likelier one, with its standard error."""

    def likelihood(text: str) -> float:
        ids = [bos, *encode(text)]
        found = log_softmax(logits(ids[:-1]))
        return float(found[np.arange(len(ids) - 1), ids[1:]].sum())

    right = np.array([likelihood(good) > likelihood(bad) for good, bad in pairs], np.float64)
    mean, error = _mean(right)
    return {"blimp": mean, "blimp_se": error, "blimp_pairs": len(pairs)}


def _mean(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
