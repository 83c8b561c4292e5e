"""What activates each neuron: the excerpts of a corpus on which it fires most.

One pass over a text, in windows; of each window a neuron keeps its largest activation as a
candidate, so that an excerpt appears once. All is held in flat arrays of [layer, neuron, k].
Records have the fields of OpenAI's ``NeuronRecord`` (automated-interpretability).
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from errno import EEXIST
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_callable, check_int, check_path
from gpt2edge.errors import FileFormatError, InsideError
from gpt2edge.graph import names
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt

_FORMAT: Final = "gpt2edge neurons 1"
_STATE: Final = ("values", "places", "sums", "squares", "fired")
_SAMPLES: Final = 10
_TOKENS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRecord:
    """An excerpt, and the neuron's activation at each of its tokens."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronRecord:
    """A neuron: the excerpts that activate it most, the most active first, and some others.

    ``mean`` and ``variance`` are over every token; ``fired`` is the share above 0.
    """

    layer_index: int
    neuron_index: int
    most_positive_activation_records: tuple[ActivationRecord, ...]
    random_sample: tuple[ActivationRecord, ...]
    mean: float
    variance: float
    fired: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronWeights:
    """Tokens that a neuron's weights read and write most, by their own measure.

    Inputs: rows of wte times the norm's gain times c_fc. Outputs: c_proj times the last gain times
    the output projection.
    """

    positive_inputs: tuple[tuple[str, float], ...]
    negative_inputs: tuple[tuple[str, float], ...]
    positive_outputs: tuple[tuple[str, float], ...]
    negative_outputs: tuple[tuple[str, float], ...]


class NeuronIndex:
    """Top activations of every neuron over a corpus; ``build`` makes one and ``open`` reads one."""

    def __init__(
        self, scope: Inside, about: dict[str, Any], ids: NDArray[np.int32], state: dict[str, Any]
    ) -> None:
        self._scope = scope
        self.about = about
        """Model, window, k, the number of tokens and the hash of the corpus."""
        self._ids = ids
        self._state = state

    def __repr__(self) -> str:
        return f"NeuronIndex({len(self._ids)} tokens, {self._scope!r})"

    @classmethod
    def build(
        cls,
        scope: Inside,
        texts: Sequence[Prompt],
        *,
        k: int = 20,
        window: int = 128,
        resume: "NeuronIndex | None" = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "NeuronIndex":
        """Read ``texts`` in windows of ``window`` tokens, and keep ``k`` excerpts of each neuron.

        ``resume`` goes on from an index over the first of the same texts: the result is the same
        as of one run. Tokens after the last whole window are left out. Raises ValueError where no
        window is whole, InsideError where ``resume`` is of another model or corpus.
        """
        check_int("k", k, 1, 1000)
        check_int("window", window, 2, scope.config.n_positions)
        check_callable("progress", progress)
        ids = np.array([each for text in texts for each in scope.encode_text(text)], np.int32)
        ids = ids[: len(ids) // window * window]
        if not len(ids):
            raise ValueError(f"the texts have fewer tokens than one window of {window}")
        about = _about(scope, ids, k, window)
        state, done = _fresh(scope, k), 0
        if resume is not None:
            done = _checked(resume.about, about, ids)
            state = {name: resume._state[name].copy() for name in _STATE}
        for start in range(done, len(ids), window):
            _add(scope, state, ids[start : start + window], start)
            if progress is not None:
                progress(start + window, len(ids))
        return cls(scope, about, ids, state)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to an ``.npz`` file of numpy, whole or not at all.

        Raises FileExistsError where it exists, unless ``overwrite``.
        """
        check_path("path", path)
        target = Path(path)
        if target.exists() and not overwrite:
            raise FileExistsError(EEXIST, "exists: choose another name", str(target))
        about = np.array(json.dumps(self.about, sort_keys=True))
        part = target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as file:
                np.savez(file, about=about, ids=self._ids, **self._state)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: str | os.PathLike[str], scope: Inside) -> "NeuronIndex":
        """Read what ``save`` wrote.

        Raises FileFormatError for another file, InsideError for an index of another model.
        """
        check_path("path", path)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["format"] != _FORMAT:
                    raise ValueError(f"its format is {about['format']!r}")
                state = {name: file[name] for name in _STATE}
                ids = file["ids"]
        except FileNotFoundError:
            raise
        except Exception as error:  # numpy and zipfile raise whatever a damaged file leads to
            raise FileFormatError(f"{path} is no index of neurons: {error}") from None
        if about["model"] != scope.checksum:
            raise InsideError(
                f"{path} is of another model than {scope.model.path}: run 'gpt2edge neurons build'"
            )
        return cls(scope, about, ids, state)

    def top(self, layer: int, neuron: int) -> list[tuple[float, int]]:
        """Return activations and places (the number of the token in the corpus), largest first."""
        self._check(layer, neuron)
        values, places = self._state["values"][layer, neuron], self._state["places"][layer, neuron]
        order = np.lexsort((places, -values))
        return [(float(values[at]), int(places[at])) for at in order if places[at] >= 0]

    def moments(self, layer: int, neuron: int) -> tuple[float, float, float]:
        """Return mean, variance, and the share of tokens on which the neuron is above 0."""
        self._check(layer, neuron)
        count = len(self._ids)
        mean = self._state["sums"][layer, neuron] / count
        variance = self._state["squares"][layer, neuron] / count - mean**2
        return float(mean), float(variance), float(self._state["fired"][layer, neuron] / count)

    def record(self, layer: int, neuron: int, *, count: int = 10, seed: int = 0) -> NeuronRecord:
        """Return the neuron's record, its activations computed again on the excerpts."""
        check_int("count", count, 1, 1000)
        mean, variance, fired = self.moments(layer, neuron)
        window = int(self.about["window"])
        best = [place // window for _, place in self.top(layer, neuron)[:count]]
        rng = np.random.default_rng((seed, layer, neuron))
        windows = len(self._ids) // window
        drawn = rng.choice(windows, min(_SAMPLES, windows), replace=False)
        return NeuronRecord(
            layer_index=layer,
            neuron_index=neuron,
            most_positive_activation_records=tuple(self._excerpt(layer, neuron, at) for at in best),
            random_sample=tuple(self._excerpt(layer, neuron, int(at)) for at in drawn),
            mean=mean,
            variance=variance,
            fired=fired,
        )

    def find(self, word: str, *, count: int = 20) -> list[tuple[int, int, float, int]]:
        """Return layer, neuron, activation and place of neurons that fire most on ``word``.

        Those whose top activations fall on this token most often, in that order. Raises ValueError
        for a text that is not one token.
        """
        token = self._scope.token_id(word)
        places = self._state["places"]
        on_it = (self._ids[np.maximum(places, 0)] == token) & (places >= 0)
        share = on_it.sum(axis=-1)  # [layer, neuron]
        flat = np.argsort(-share, axis=None, kind="stable")[:count]
        found = []
        for layer, neuron in zip(*np.unravel_index(flat, share.shape), strict=True):
            if not share[layer, neuron]:
                break
            values = np.where(on_it[layer, neuron], self._state["values"][layer, neuron], -np.inf)
            best = int(values.argmax())
            found.append(
                (int(layer), int(neuron), float(values[best]), int(places[layer, neuron, best]))
            )
        return found

    def weights(self, layer: int, neuron: int) -> NeuronWeights:
        """Return the tokens that the neuron's weights read and write most."""
        self._check(layer, neuron)
        tensors, block = self._scope.tensors, f"h.{layer}"
        gain = tensors.read(names.weight(f"{block}.{names.LN_2}"))
        reads = gain * tensors.read(names.weight(f"{block}.{names.C_FC}"))[:, neuron]
        writes = tensors.read(names.weight(f"{block}.{names.MLP_C_PROJ}"))[neuron]
        writes = writes * tensors.read(names.weight(names.LN_F))
        inputs = tensors.read(names.weight(names.WTE)) @ reads
        outputs = tensors.unembedding() @ writes
        return NeuronWeights(
            positive_inputs=self._likeliest(inputs),
            negative_inputs=self._likeliest(-inputs, -1),
            positive_outputs=self._likeliest(outputs),
            negative_outputs=self._likeliest(-outputs, -1),
        )

    def _likeliest(self, values: FloatArray, sign: int = 1) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-values, kind="stable")[:_TOKENS]
        return tuple((self._scope.token(int(at)), sign * float(values[at])) for at in order)

    def _excerpt(self, layer: int, neuron: int, window: int) -> ActivationRecord:
        size = int(self.about["window"])
        ids = self._ids[window * size : (window + 1) * size].tolist()
        found = self._scope.read(ids, [("post", layer)])["post", layer][:, neuron]
        return ActivationRecord(
            tokens=tuple(map(self._scope.token, ids)),
            activations=tuple(float(value) for value in found),
        )

    def _check(self, layer: int, neuron: int) -> None:
        check_int("layer", layer, 0, self._scope.config.n_layer - 1)
        check_int("neuron", neuron, 0, self._scope.config.n_inner - 1)


def _fresh(scope: Inside, k: int) -> dict[str, NDArray[Any]]:
    shape = (scope.config.n_layer, scope.config.n_inner)
    return {
        "values": np.full((*shape, k), -np.inf, np.float32),
        "places": np.full((*shape, k), -1, np.int64),
        "sums": np.zeros(shape),
        "squares": np.zeros(shape),
        "fired": np.zeros(shape, np.int64),
    }


def _add(scope: Inside, state: dict[str, NDArray[Any]], ids: NDArray[np.int32], first: int) -> None:
    """Add one window: of each neuron its largest activation, and the sums."""
    cache = scope.read(ids.tolist(), ["post"])
    for layer in range(scope.config.n_layer):
        acts = cache["post", layer]  # [tokens, neuron]
        best = acts.argmax(axis=0)
        value = acts[best, np.arange(acts.shape[1])]
        values, places = state["values"][layer], state["places"][layer]
        hit = np.flatnonzero(value > values.min(axis=1))
        slot = values[hit].argmin(axis=1)
        values[hit, slot], places[hit, slot] = value[hit], first + best[hit]
        state["sums"][layer] += acts.sum(axis=0, dtype=np.float64)
        state["squares"][layer] += np.einsum("tn,tn->n", acts, acts)
        state["fired"][layer] += (acts > 0).sum(axis=0)


def _about(scope: Inside, ids: NDArray[np.int32], k: int, window: int) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "model": scope.checksum,
        "k": k,
        "window": window,
        "tokens": len(ids),
        "corpus_sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
    }


def _checked(before: dict[str, Any], about: dict[str, Any], ids: NDArray[np.int32]) -> int:
    """Return how many tokens are done already. Raises InsideError where they are others."""
    done = int(before["tokens"])
    same = all(before[key] == about[key] for key in ("model", "k", "window"))
    if not same or before["corpus_sha256"] != hashlib.sha256(ids[:done].tobytes()).hexdigest():
        raise InsideError("the index to resume is of another model, window, k or corpus")
    return done
